//! What becomes of signals.

use super::{Link, State};
use pubsub::{Signal, SignalSender, Subscription};
use std::{sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::sleep};

/// Passes on what a subscription hears, as well as the network lets it, until it is dropped.
pub fn subscribe(inner: Subscription, state: Arc<State>) -> Subscription {
    let (here, gone) = oneshot::channel::<()>();
    let (sender, subscription) = Subscription::new(here);
    let ear = Ear {
        inner,
        sender,
        state,
    };
    tokio::spawn(async move {
        tokio::select! {
            biased;
            _ = gone => {}
            () = ear.listen() => {}
        }
    });
    subscription
}

struct Ear {
    inner: Subscription,
    sender: SignalSender,
    state: Arc<State>,
}

impl Ear {
    async fn listen(mut self) {
        // The first is a resynchronisation, however late, and nothing comes before it.
        if self.inner.recv().await.is_none() {
            return;
        }
        let late = self.delay();
        sleep(late).await;
        let state = self.state.clone();
        state.link.wait_for(|link| link == Link::Whole).await;
        let (_, mut changes) = state.link.get();
        self.sender.send(Signal::Resync);
        loop {
            tokio::select! {
                biased;
                (link, now) = state.link.changed_since(changes) => {
                    changes = now;
                    // The node notices what it may have missed once it hears again.
                    if link == Link::Whole {
                        self.ring(Signal::Resync);
                    }
                }
                signal = self.inner.recv() => match signal {
                    Some(Signal::Resync) => self.ring(Signal::Resync),
                    Some(signal) => self.pass(signal),
                    None => return,
                },
            }
        }
    }

    /// Loses, repeats, or passes a signal on.
    fn pass(&self, signal: Signal) {
        let is_whole = self.state.link.get().0 == Link::Whole;
        let (lost, repeated, stray) = {
            let mut chance = self.state.chance();
            let plan = chance.plan;
            let lost = chance.happens(plan.lost_signals) || !is_whole;
            let repeated = chance.happens(plan.repeated_signals) && !lost;
            let stray = chance.happens(plan.stray_resyncs) && is_whole;
            chance.faults.lost_signals += u64::from(lost);
            chance.faults.repeated_signals += u64::from(repeated);
            chance.faults.stray_resyncs += u64::from(stray);
            (lost, repeated, stray)
        };
        if stray {
            self.ring(Signal::Resync);
        }
        if repeated {
            self.ring(signal.clone());
        }
        if !lost {
            self.ring(signal);
        }
    }

    /// Hands a signal over, later.
    fn ring(&self, signal: Signal) {
        let late = self.delay();
        if late.is_zero() {
            self.sender.send(signal);
            return;
        }
        let sender = self.sender.clone();
        tokio::spawn(async move {
            sleep(late).await;
            sender.send(signal);
        });
    }

    fn delay(&self) -> Duration {
        let mut chance = self.state.chance();
        let longest = chance.plan.signal_delay;
        chance.delay(longest)
    }
}
