#![allow(clippy::unwrap_used)]
use super::*;
use pubsub::embedded::Options;
use std::{fmt::Debug, future::Future};
use tokio::time::{Instant, sleep_until, timeout};

/// Events each of three nodes appends.
const SHARE: usize = 12;

/// What one node saw, did and knows.
struct Player {
    who: u64,
    node: Arc<Faulty<Embedded>>,
    truth: Embedded,
    room: Room,
    random: StdRng,
    epoch: Option<Epoch>,
    events: Vec<Bytes>,
    acknowledged: Vec<(Seq, Bytes)>,
    trace: Vec<String>,
    started: Instant,
}

impl Player {
    fn note(&mut self, what: impl Debug) {
        let at = self.started.elapsed().as_millis();
        self.trace.push(format!("{at} {} {what:?}", self.who));
    }

    /// Takes what the feed gives, as a room does, and checks it: dense, once, and true.
    async fn take(&mut self, item: FeedItem) {
        self.note(&item);
        match item {
            FeedItem::Reset { epoch, events } => (self.epoch, self.events) = (Some(epoch), events),
            FeedItem::Events { first, events } => {
                assert_eq!(first, self.events.len() as Seq, "a gap or a repeat");
                self.events.extend(events);
            }
            FeedItem::Missing => assert!(self.epoch.is_none(), "no log was ever lost"),
            FeedItem::Message(_) | FeedItem::Attendance(_) | FeedItem::Short => {}
        }
        let truth = self.truth.read(&self.room, 0).await.unwrap();
        let truth = truth.map(|log| log.events).unwrap_or_default();
        assert!(truth.starts_with(&self.events), "not the log");
    }

    /// Appends its share, at its own pace, and follows; then waits until it knows all there is.
    async fn play(mut self) -> Player {
        let mut feed = Feed::new(self.node.clone(), self.room.clone());
        let mut done = 0;
        let mut act_at = Instant::now();
        while done < SHARE {
            let item = tokio::select! {
                biased;
                item = feed.next() => item,
                () = sleep_until(act_at) => {
                    done += usize::from(self.act(&mut feed, done).await);
                    act_at = Instant::now() + Duration::from_millis(self.random.random_range(0..2_000));
                    continue;
                }
            };
            self.take(item).await;
        }
        self.note(self.node.faults());
        self.node.make_peace();
        let total = 3 * SHARE;
        while self.events.len() < total {
            let item = timeout(Duration::from_secs(3_600), feed.next())
                .await
                .unwrap();
            self.take(item).await;
        }
        self
    }

    /// Tries to append one event; true once it is acknowledged, or seen.
    async fn act(&mut self, feed: &mut Feed, number: usize) -> bool {
        let event = Bytes::from(format!("event {number} of {}", self.who));
        if let Some(seq) = self.events.iter().position(|known| *known == event) {
            self.acknowledged.push((seq as Seq, event));
            return true;
        }
        let expected = self.events.len() as Seq;
        let append = Append {
            epoch: self.epoch.clone(),
            expected,
            events: vec![event.clone()],
            at: self.node.now(),
            deadline: None,
        };
        let answer = self.node.append(&self.room, append).await;
        self.note(&answer);
        match answer {
            Ok(Appended::Appended { epoch, .. } | Appended::AlreadyAppended { epoch }) => {
                feed.appended(epoch, expected, vec![event.clone()]);
                self.acknowledged.push((expected, event));
                return true;
            }
            Ok(Appended::Conflict { epoch, missed }) => feed.appended(epoch, expected, missed),
            Ok(Appended::BadTime { .. }) => {
                assert!(
                    (self.node.now() - self.truth.now()).abs() < 1_000,
                    "corrected"
                );
            }
            Ok(other) => panic!("{other:?}"),
            // Whether it happened is unknown: catches up, and asks again if it is not there.
            Err(_) => {
                let _ = feed.catch_up().await;
            }
        }
        false
    }
}

/// Three nodes play in one room; answers what each saw and did, and what went wrong.
async fn game(plan: Plan) -> (Vec<String>, Faults) {
    let options = Options {
        start: Some(1_000_000_000),
        seed: Some(plan.seed),
        ..Options::default()
    };
    let truth = Embedded::new(options).unwrap();
    let room = Room::parse("room").unwrap();
    let nodes = [0, 1, 2].map(|who| Arc::new(Faulty::new(Arc::new(truth.clone()), plan, who)));
    let storms: Vec<_> = nodes
        .iter()
        .map(|node| tokio::spawn(node.weather()))
        .collect();
    let players = [0, 1, 2].map(|who| {
        let player = Player {
            who,
            node: nodes[who as usize].clone(),
            truth: truth.clone(),
            room: room.clone(),
            random: StdRng::seed_from_u64(plan.seed + who),
            epoch: None,
            events: Vec::new(),
            acknowledged: Vec::new(),
            trace: Vec::new(),
            started: Instant::now(),
        };
        tokio::spawn(player.play())
    });
    let mut log = vec![None; 3 * SHARE];
    let mut trace = Vec::new();
    for player in players {
        let player = player.await.unwrap();
        for (seq, event) in player.acknowledged {
            let before = log[seq as usize].replace(event);
            assert_eq!(before, None, "acknowledged twice");
        }
        trace.extend(player.trace);
    }
    storms.into_iter().for_each(|storm| storm.abort());
    let log: Vec<Bytes> = log.into_iter().map(Option::unwrap).collect();
    let truth = truth.read(&room, 0).await.unwrap().unwrap();
    assert_eq!(
        truth.events, log,
        "all that was acknowledged, once, in its place"
    );
    let faults = nodes
        .iter()
        .map(|node| node.faults())
        .fold(Faults::default(), add);
    (trace, faults)
}

fn add(a: Faults, b: Faults) -> Faults {
    Faults {
        calls: a.calls + b.calls,
        lost_signals: a.lost_signals + b.lost_signals,
        repeated_signals: a.repeated_signals + b.repeated_signals,
        stray_resyncs: a.stray_resyncs + b.stray_resyncs,
        lost_calls: a.lost_calls + b.lost_calls,
        lost_answers: a.lost_answers + b.lost_answers,
        sent_twice: a.sent_twice + b.sent_twice,
        late_calls: a.late_calls + b.late_calls,
        timed_out: a.timed_out + b.timed_out,
        deafened: a.deafened + b.deafened,
        cut: a.cut + b.cut,
    }
}

/// Runs a simulation in virtual time, the same way each time.
fn simulate<T>(simulation: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(simulation)
}

#[test]
fn rooms_agree_whatever_the_network_does() {
    let first: u64 = std::env::var("SEED").map_or(0, |seed| seed.parse().unwrap());
    let count: u64 = std::env::var("SEEDS").map_or(150, |seeds| seeds.parse().unwrap());
    let mut all = Faults::default();
    for seed in first..first + count {
        let plan = if seed % 3 == 0 {
            Plan::rough(seed)
        } else {
            Plan::any(seed)
        };
        println!("SEED={seed} SEEDS=1 replays this");
        let (_, faults) = simulate(game(plan));
        all = add(all, faults);
    }
    println!("{all:?}");
    if count >= 100 {
        let Faults {
            lost_signals,
            repeated_signals,
            stray_resyncs,
            lost_calls,
            lost_answers,
            ..
        } = all;
        let Faults {
            sent_twice,
            late_calls,
            timed_out,
            deafened,
            cut,
            ..
        } = all;
        let one = [
            lost_signals,
            repeated_signals,
            stray_resyncs,
            lost_calls,
            lost_answers,
        ];
        let other = [sent_twice, late_calls, timed_out, deafened, cut];
        assert!(
            one.iter().chain(&other).all(|count| *count > 10),
            "each fault was met"
        );
    }
}

#[test]
fn the_same_seed_is_the_same_game() {
    for seed in [1, 2, 3] {
        let runs = [(); 2].map(|()| simulate(game(Plan::rough(seed))));
        assert_eq!(runs[0].0, runs[1].0);
        assert_eq!(runs[0].1, runs[1].1);
    }
    let (one, other) = (
        simulate(game(Plan::rough(1))),
        simulate(game(Plan::rough(2))),
    );
    assert_ne!(one.0, other.0);
}

#[tokio::test(start_paused = true)]
async fn a_node_cut_off_is_unavailable_and_hears_of_it_when_back() {
    let backplane = Embedded::new(Options::default()).unwrap();
    let node = Faulty::new(Arc::new(backplane.clone()), Plan::calm(0), 0);
    let room = Room::parse("room").unwrap();
    let mut ear = node.subscribe(&room);
    assert_eq!(ear.recv().await, Some(Signal::Resync));
    for link in [Link::Cut, Link::Deaf] {
        node.set_link(link);
        assert!(!node.health().hears);
        let before = Instant::now();
        let read = node.read(&room, 0).await;
        assert_eq!(read.is_err(), link == Link::Cut);
        assert_eq!(before.elapsed() >= CALL_TIMEOUT, link == Link::Cut);
        let message = Message {
            topic: "lost".into(),
            body: Bytes::new(),
        };
        backplane.publish(&room, message).await.unwrap();
        assert!(timeout(Duration::from_secs(60), ear.recv()).await.is_err());
        node.set_link(Link::Whole);
        assert_eq!(ear.recv().await, Some(Signal::Resync));
    }
    assert!(node.health().hears && node.health().reachable);
}
