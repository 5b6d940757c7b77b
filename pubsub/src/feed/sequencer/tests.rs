#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn epoch(generation: u64) -> Epoch {
    Epoch::new(generation, "r")
}

fn event(generation: u64, seq: Seq) -> Bytes {
    Bytes::from(format!("event {seq} of {generation}"))
}

fn events(generation: u64, range: std::ops::Range<Seq>) -> Vec<Bytes> {
    range.map(|seq| event(generation, seq)).collect()
}

fn log(generation: u64, range: std::ops::Range<Seq>) -> Log {
    Log {
        epoch: epoch(generation),
        first: range.start,
        events: events(generation, range),
    }
}

fn reset(generation: u64, end: Seq) -> FeedItem {
    FeedItem::Reset {
        epoch: epoch(generation),
        events: events(generation, 0..end),
    }
}

fn given(generation: u64, range: std::ops::Range<Seq>) -> FeedItem {
    FeedItem::Events {
        first: range.start,
        events: events(generation, range),
    }
}

fn all(sequencer: &mut Sequencer) -> Vec<FeedItem> {
    std::iter::from_fn(|| sequencer.pop()).collect()
}

/// Answers what is wanted from this log, once.
fn read(sequencer: &mut Sequencer, log: Option<&Log>) -> Option<Read> {
    let read = sequencer.wants()?;
    sequencer.begin();
    sequencer.answer(read, log.map(|log| since(log, read.from)));
    Some(read)
}

fn since(log: &Log, from: Seq) -> Log {
    let index = usize::try_from(from).unwrap().min(log.events.len());
    Log {
        epoch: log.epoch.clone(),
        first: from,
        events: log.events[index..].to_vec(),
    }
}

/// One that has read a log of this length.
fn at(generation: u64, end: Seq) -> Sequencer {
    let mut sequencer = Sequencer::default();
    sequencer.resync();
    read(&mut sequencer, Some(&log(generation, 0..end)));
    assert_eq!(all(&mut sequencer), [reset(generation, end)]);
    sequencer
}

#[test]
fn events_in_order_come_at_once_and_nothing_is_read() {
    let mut sequencer = at(1, 3);
    sequencer.heard(log(1, 3..4));
    sequencer.heard(log(1, 4..6));
    assert_eq!(all(&mut sequencer), [given(1, 3..4), given(1, 4..6)]);
    assert_eq!(sequencer.position(), Some((epoch(1), 6)));
    assert_eq!(sequencer.wants(), None);
}

#[test]
fn repeats_are_dropped_also_in_part() {
    let mut sequencer = at(1, 3);
    sequencer.appended(epoch(1), 3, events(1, 3..5));
    sequencer.heard(log(1, 3..5));
    sequencer.heard(log(1, 4..6));
    sequencer.heard(log(1, 0..2));
    assert_eq!(all(&mut sequencer), [given(1, 3..5), given(1, 5..6)]);
    assert_eq!(sequencer.wants(), None);
}

#[test]
fn a_gap_is_read_with_one_event_of_overlap() {
    let mut sequencer = at(1, 3);
    sequencer.heard(log(1, 5..6));
    assert_eq!(all(&mut sequencer), []);
    let read = read(&mut sequencer, Some(&log(1, 0..6)));
    assert_eq!(read.unwrap().from, 2);
    assert_eq!(all(&mut sequencer), [given(1, 3..6)]);
    assert_eq!(sequencer.wants(), None);
}

#[test]
fn a_late_signal_fills_the_gap_without_the_reading() {
    let mut sequencer = at(1, 3);
    sequencer.heard(log(1, 4..5));
    sequencer.heard(log(1, 5..6));
    let reading = sequencer.wants().unwrap();
    sequencer.begin();
    sequencer.heard(log(1, 3..4));
    assert_eq!(
        all(&mut sequencer),
        [given(1, 3..4), given(1, 4..5), given(1, 5..6)]
    );
    sequencer.answer(reading, Some(since(&log(1, 0..5), reading.from)));
    assert_eq!(all(&mut sequencer), []);
    assert_eq!(sequencer.wants(), None);
}

#[test]
fn what_is_heard_during_a_reading_that_misses_it_is_read_again() {
    let mut sequencer = at(1, 3);
    sequencer.resync();
    let reading = sequencer.wants().unwrap();
    sequencer.begin();
    sequencer.heard(log(1, 5..6));
    sequencer.answer(reading, Some(since(&log(1, 0..4), reading.from)));
    assert_eq!(all(&mut sequencer), [given(1, 3..4)]);
    assert!(read(&mut sequencer, Some(&log(1, 0..6))).is_some());
    assert_eq!(all(&mut sequencer), [given(1, 4..6)]);
    assert_eq!(sequencer.wants(), None);
}

#[test]
fn a_wish_during_a_reading_is_a_wish_for_another() {
    let mut sequencer = at(1, 3);
    sequencer.resync();
    let reading = sequencer.wants().unwrap();
    sequencer.begin();
    let wish = sequencer.resync();
    sequencer.answer(reading, Some(since(&log(1, 0..3), reading.from)));
    assert!(!sequencer.has_read(wish));
    read(&mut sequencer, Some(&log(1, 0..4)));
    assert!(sequencer.has_read(wish));
    assert_eq!(all(&mut sequencer), [given(1, 3..4)]);
}

#[test]
fn what_found_no_room_is_read_though_the_gap_closes() {
    let mut sequencer = at(1, 1);
    let end = 2 + AHEAD_LEN_MAX as Seq;
    for seq in 2..end + 10 {
        sequencer.heard(log(1, seq..seq + 1));
    }
    sequencer.heard(log(1, 1..2));
    assert_eq!(sequencer.next(), end);
    read(&mut sequencer, Some(&log(1, 0..end + 10)));
    assert_eq!(sequencer.next(), end + 10);
    assert_eq!(sequencer.wants(), None);
}

#[test]
fn a_reading_that_failed_is_still_wanted() {
    let mut sequencer = at(1, 3);
    sequencer.heard(log(1, 4..5));
    sequencer.begin();
    assert!(sequencer.wants().is_some());
}

#[test]
fn a_signal_of_what_is_not_in_the_log_does_not_make_it_read_for_ever() {
    let mut sequencer = at(1, 3);
    sequencer.heard(log(1, 7..8));
    read(&mut sequencer, Some(&log(1, 0..3)));
    assert_eq!(sequencer.wants(), None);
    assert_eq!(all(&mut sequencer), []);
}

#[test]
fn more_than_can_be_kept_ahead_is_read() {
    let mut sequencer = at(1, 1);
    for seq in 2..1_000 {
        sequencer.heard(log(1, seq..seq + 1));
    }
    assert!(sequencer.ahead.len <= AHEAD_LEN_MAX);
    sequencer.heard(log(1, 1_000..2_000));
    read(&mut sequencer, Some(&log(1, 0..2_000)));
    assert_eq!(sequencer.wants(), None);
    let events: usize = all(&mut sequencer)
        .iter()
        .map(|item| match item {
            FeedItem::Events { events, .. } => events.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(events, 1_999);
}

#[test]
fn a_higher_generation_is_read_anew_and_a_lower_one_ignored() {
    let mut sequencer = at(2, 3);
    sequencer.heard(log(1, 3..4));
    assert_eq!(sequencer.wants(), None);
    sequencer.heard(log(3, 3..4));
    assert_eq!(
        all(&mut sequencer),
        [],
        "nothing of another life without a reset"
    );
    assert_eq!(read(&mut sequencer, Some(&log(3, 0..4))).unwrap().from, 0);
    assert_eq!(all(&mut sequencer), [reset(3, 4)]);
    assert_eq!(sequencer.wants(), None);
}

#[test]
fn a_reading_that_meets_another_life_gives_nothing_of_it_before_all_is_read() {
    let mut sequencer = at(1, 3);
    sequencer.resync();
    read(&mut sequencer, Some(&log(2, 0..5)));
    assert_eq!(all(&mut sequencer), []);
    read(&mut sequencer, Some(&log(2, 0..5)));
    assert_eq!(all(&mut sequencer), [reset(2, 5)]);
}

#[test]
fn another_event_under_a_known_number_is_noticed() {
    let mut sequencer = at(1, 3);
    let mut fork = log(1, 2..3);
    fork.events[0] = Bytes::from_static(b"other");
    sequencer.heard(fork.clone());
    let mut whole = log(1, 0..2);
    whole.events.append(&mut fork.events);
    assert_eq!(read(&mut sequencer, Some(&whole)).unwrap().from, 0);
    let Some(FeedItem::Reset { events, .. }) = sequencer.pop() else {
        panic!("no reset");
    };
    assert_eq!(events, whole.events);
}

#[test]
fn a_late_signal_from_a_dead_branch_changes_nothing() {
    let mut sequencer = at(1, 3);
    let mut fork = log(1, 2..3);
    fork.events[0] = Bytes::from_static(b"other");
    sequencer.heard(fork);
    read(&mut sequencer, Some(&log(1, 0..4)));
    assert_eq!(all(&mut sequencer), [given(1, 3..4)]);
    assert_eq!(sequencer.wants(), None);
}

#[test]
fn a_log_that_went_on_from_another_branch_is_a_reset() {
    let mut sequencer = at(1, 3);
    let mut fork = log(1, 0..5);
    fork.events[2] = Bytes::from_static(b"other");
    sequencer.heard(log(1, 4..5));
    read(&mut sequencer, Some(&fork));
    assert_eq!(all(&mut sequencer), []);
    read(&mut sequencer, Some(&fork));
    let events = fork.events;
    let epoch = epoch(1);
    assert_eq!(all(&mut sequencer), [FeedItem::Reset { epoch, events }]);
}

#[test]
fn a_log_not_there_is_missing_once_until_it_is_created() {
    let mut sequencer = Sequencer::default();
    for _ in 0..3 {
        sequencer.resync();
        read(&mut sequencer, None);
    }
    assert_eq!(all(&mut sequencer), [FeedItem::Missing]);
    sequencer.heard(log(1, 0..1));
    read(&mut sequencer, Some(&log(1, 0..1)));
    assert_eq!(all(&mut sequencer), [reset(1, 1)]);
}

#[test]
fn a_log_of_ones_own_making_needs_no_reading() {
    let mut sequencer = Sequencer::default();
    sequencer.resync();
    let reading = sequencer.wants().unwrap();
    sequencer.begin();
    sequencer.appended(epoch(1), 0, events(1, 0..2));
    sequencer.answer(reading, None);
    assert_eq!(all(&mut sequencer), [reset(1, 2)]);
    assert_eq!(sequencer.wants(), None);
}

#[test]
fn a_log_found_shorter_is_believed_when_it_stays_so() {
    let mut sequencer = at(1, 5);
    sequencer.resync();
    let mut looks = 0;
    while read(&mut sequencer, Some(&log(1, 0..3))).is_some() {
        looks += 1;
    }
    // The first look saw only the end.
    assert_eq!(looks, 1 + DOUBTS_MAX);
    assert_eq!(all(&mut sequencer), [reset(1, 3)]);
}

#[test]
fn a_log_that_is_restored_in_time_is_a_reset_and_never_shorter() {
    for lost in [None, Some(log(1, 0..3)), Some(log(1, 0..5))] {
        let mut sequencer = at(2, 5);
        sequencer.resync();
        for _ in 0..2 {
            read(&mut sequencer, lost.as_ref());
        }
        assert!(sequencer.doubts());
        sequencer.heard(log(2, 5..6));
        assert_eq!(all(&mut sequencer), []);
        read(&mut sequencer, Some(&log(2, 0..6)));
        assert_eq!(all(&mut sequencer), [reset(2, 6)]);
        assert!(!sequencer.doubts());
    }
}

#[test]
fn a_log_that_stays_gone_is_missing() {
    let mut sequencer = at(1, 5);
    sequencer.resync();
    while read(&mut sequencer, None).is_some() {}
    assert_eq!(all(&mut sequencer), [FeedItem::Missing]);
    assert_eq!(sequencer.position(), None);
}

/// What may happen to a room and to one who listens to it.
#[derive(Debug, Clone)]
enum Step {
    /// Events are appended, and their signal is sent.
    Append(Seq),
    /// The same by the listener's own node, which also knows.
    AppendHere(Seq),
    /// The log begins another life, with some events of its own.
    Recreate(Seq),
    /// Some signal ever sent arrives, for the first time or again.
    Hear(prop::sample::Index),
    /// A reading begins, if one is wanted.
    Begin,
    /// It sees the log as it is now.
    See,
    /// Its answer comes.
    Answer,
    /// It fails.
    Fail,
    Resync,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..4u64).prop_map(Step::Append),
        2 => (1..4u64).prop_map(Step::AppendHere),
        1 => (0..4u64).prop_map(Step::Recreate),
        8 => any::<prop::sample::Index>().prop_map(Step::Hear),
        4 => Just(Step::Begin),
        4 => Just(Step::See),
        4 => Just(Step::Answer),
        1 => Just(Step::Fail),
        1 => Just(Step::Resync),
    ]
}

/// The truth, the listener, and all that is under way between them.
#[derive(Default)]
struct World {
    generation: u64,
    end: Seq,
    signals: Vec<Log>,
    sequencer: Sequencer,
    reading: Option<(Read, Option<Log>)>,
    // What a client of the listener believes.
    epoch: Option<Epoch>,
    seen: Vec<Bytes>,
}

impl World {
    fn truth(&self) -> Option<Log> {
        (self.generation > 0).then(|| log(self.generation, 0..self.end))
    }

    fn append(&mut self, count: Seq) -> Log {
        self.generation = self.generation.max(1);
        let signal = log(self.generation, self.end..self.end + count);
        self.end += count;
        self.signals.push(signal.clone());
        signal
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(count) => {
                self.append(count);
            }
            Step::AppendHere(count) => {
                let Log {
                    epoch,
                    first,
                    events,
                } = self.append(count);
                self.sequencer.appended(epoch, first, events);
            }
            Step::Recreate(end) => {
                self.generation += 1;
                self.end = end;
            }
            Step::Hear(index) if !self.signals.is_empty() => {
                self.sequencer.heard(index.get(&self.signals).clone());
            }
            Step::Begin if self.reading.is_none() => {
                if let Some(read) = self.sequencer.wants() {
                    self.sequencer.begin();
                    let seen = self.truth().map(|log| since(&log, read.from));
                    self.reading = Some((read, seen));
                }
            }
            Step::See => {
                let truth = self.truth();
                if let Some((read, seen)) = &mut self.reading {
                    *seen = truth.map(|log| since(&log, read.from));
                }
            }
            Step::Answer => {
                if let Some((read, seen)) = self.reading.take() {
                    self.sequencer.answer(read, seen);
                }
            }
            Step::Fail => self.reading = None,
            Step::Resync => {
                self.sequencer.resync();
            }
            Step::Hear(_) | Step::Begin => {}
        }
        self.look();
    }

    /// Takes what is given as a client does, and checks it: dense, once, of one life, and true.
    fn look(&mut self) {
        while let Some(item) = self.sequencer.pop() {
            match item {
                FeedItem::Reset { epoch, events } => {
                    let before = self.epoch.as_ref().map_or(0, Epoch::generation);
                    assert!(epoch.generation() >= before, "back to an older life");
                    (self.epoch, self.seen) = (Some(epoch), events);
                }
                FeedItem::Events { first, events } => {
                    assert_eq!(first, self.seen.len() as Seq, "a gap or a repeat");
                    assert!(!events.is_empty());
                    self.seen.extend(events);
                }
                FeedItem::Missing => assert!(self.epoch.is_none(), "no log was ever lost"),
                other => panic!("{other:?}"),
            }
            let position = self
                .epoch
                .clone()
                .map(|epoch| (epoch, self.seen.len() as Seq));
            assert_eq!(self.sequencer.position(), position);
        }
        if let Some(epoch) = &self.epoch {
            let known = events(epoch.generation(), 0..self.seen.len() as Seq);
            assert_eq!(self.seen, known, "not the log of {epoch}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_delivery_gives_the_log_dense_and_once(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::default();
        for step in steps {
            world.step(step);
        }
        // Peace: one resynchronisation, and readings that succeed.
        world.step(Step::Fail);
        world.step(Step::Resync);
        let mut readings = 0;
        while world.sequencer.wants().is_some() {
            world.step(Step::Begin);
            world.step(Step::Answer);
            readings += 1;
            assert!(readings < 10, "reads for ever");
        }
        let truth = world.truth();
        assert_eq!(world.epoch, truth.as_ref().map(|log| log.epoch.clone()));
        assert_eq!(world.seen, truth.map(|log| log.events).unwrap_or_default());
    }
}
