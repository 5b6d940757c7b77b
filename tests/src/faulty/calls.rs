//! What becomes of a call.

use super::{Chance, State};
use pubsub::{Answer, CALL_TIMEOUT, Unavailable};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long after it was given up a late call may take effect.
const LATE_MAX: Duration = Duration::from_secs(3);

struct Fate {
    before: Duration,
    after: Duration,
    way: Way,
}

#[derive(Clone, Copy)]
enum Way {
    Well,
    SentTwice,
    CallLost,
    AnswerLost,
    Late(Duration),
}

impl State {
    /// Sends a call, perhaps. Like a real one, it ends within [`CALL_TIMEOUT`], and takes all of it to fail.
    pub async fn call<T, F>(&self, send: impl Fn() -> F) -> Answer<T>
    where
        T: Send,
        F: Future<Output = Answer<T>> + Send + 'static,
    {
        let fate = self.chance().fate();
        let attempt = async {
            pause(fate.before).await;
            self.connected().await;
            let answer = match fate.way {
                Way::Well => send().await,
                Way::SentTwice => {
                    let _ = send().await;
                    pause(fate.after).await;
                    self.connected().await;
                    send().await
                }
                Way::AnswerLost => {
                    let _ = send().await;
                    std::future::pending().await
                }
                Way::CallLost => std::future::pending().await,
                Way::Late(late) => {
                    let call = send();
                    tokio::spawn(async move {
                        sleep(CALL_TIMEOUT + late).await;
                        let _ = call.await;
                    });
                    std::future::pending().await
                }
            };
            pause(fate.after).await;
            self.connected().await;
            answer
        };
        let answer = timeout(CALL_TIMEOUT, attempt).await;
        answer.unwrap_or_else(|_| {
            self.count(|faults| faults.timed_out += 1);
            Err(Unavailable("the network ate it".into()))
        })
    }
}

impl Chance {
    fn fate(&mut self) -> Fate {
        let plan = self.plan;
        let ways = [
            (plan.lost_calls, Way::CallLost),
            (plan.lost_answers, Way::AnswerLost),
            (plan.sent_twice, Way::SentTwice),
            (plan.late_calls, Way::Late(self.delay(LATE_MAX))),
        ];
        let mut way = Way::Well;
        for (share, other) in ways {
            if self.happens(share) {
                way = other;
            }
        }
        self.faults.calls += 1;
        match way {
            Way::Well => {}
            Way::SentTwice => self.faults.sent_twice += 1,
            Way::CallLost => self.faults.lost_calls += 1,
            Way::AnswerLost => self.faults.lost_answers += 1,
            Way::Late(_) => self.faults.late_calls += 1,
        }
        Fate {
            before: self.delay(plan.call_delay),
            after: self.delay(plan.call_delay),
            way,
        }
    }
}

/// Sleeps; not even for a turn if it is for no time.
async fn pause(duration: Duration) {
    if !duration.is_zero() {
        sleep(duration).await;
    }
}
