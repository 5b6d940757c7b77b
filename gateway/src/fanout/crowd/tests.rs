//! The crowd driven by hand: every moment is given, every frame is counted.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A crowd so large that its window is the longest.
const MANY: usize = 10_000;

fn frame(number: u64) -> Frame {
    Frame::text(&format!("{number};"))
}

/// The numbers in a piece of frames.
fn numbers(mut piece: &[u8]) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let [0x81, len, rest @ ..] = piece {
        let (payload, rest) = rest.split_at(usize::from(*len));
        let text = std::str::from_utf8(payload).unwrap();
        numbers.push(text.trim_end_matches(';').parse().unwrap());
        piece = rest;
    }
    numbers
}

struct Rig {
    crowd: Crowd,
    spectators: usize,
    begin: Instant,
    pushed: u64,
    got: BTreeMap<u32, Vec<Vec<u64>>>,
}

impl Rig {
    fn new(spectators: usize) -> Rig {
        let mut crowd = Crowd::default();
        for slot in 0..4 {
            crowd.enter(slot);
        }
        Rig {
            crowd,
            spectators,
            begin: Instant::now(),
            pushed: 0,
            got: BTreeMap::new(),
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.begin + Duration::from_millis(ms)
    }

    fn push(&mut self, ms: u64) -> Start {
        let frame = frame(self.pushed);
        self.pushed += 1;
        self.crowd.push(frame, None, self.spectators, self.at(ms))
    }

    fn step(&mut self) -> bool {
        match self.crowd.step() {
            Some(Step::Give {
                slot,
                frame,
                messages,
            }) => {
                let numbers = numbers(frame.as_bytes());
                assert_eq!(numbers.len() as u64, messages);
                self.got.entry(slot).or_default().push(numbers);
                true
            }
            Some(Step::Missed(slot)) => {
                self.got.entry(slot).or_default().push(Vec::new());
                true
            }
            None => false,
        }
    }

    fn walk(&mut self, ms: u64) -> Option<Start> {
        assert!(self.crowd.begin(self.at(ms)));
        while self.step() {}
        self.crowd.end_walk(self.spectators, self.at(ms))
    }

    fn all_got(&mut self, wanted: &[&[u64]]) {
        let wanted: Vec<Vec<u64>> = wanted.iter().map(|writes| writes.to_vec()).collect();
        for slot in 0..4 {
            assert_eq!(self.got[&slot], wanted, "{slot}");
        }
        self.got.clear();
    }
}

#[test]
fn the_window_grows_with_the_crowd_and_no_further() {
    let table = [
        (0, 0),
        (2, 50),
        (400, 10_000),
        (4_000, 100_000),
        (MANY, 100_000),
    ];
    for (spectators, micros) in table {
        assert_eq!(window(spectators), Duration::from_micros(micros));
    }
}

#[test]
fn players_have_a_head_start_before_a_crowd() {
    for (spectators, ms) in [(0, 0), (999, 0), (1_000, 1), (4_999, 4), (MANY, 5)] {
        assert_eq!(head_start(spectators), Duration::from_millis(ms));
    }
}

#[test]
fn while_it_is_quiet_each_frame_goes_out_at_once() {
    let mut rig = Rig::new(MANY);
    for ms in [0, 200, 400, 600] {
        assert_eq!(rig.push(ms), Start::At(rig.at(ms + 5)));
        assert_eq!(rig.walk(ms + 5), None);
    }
    rig.all_got(&[&[0], &[1], &[2], &[3]]);
}

#[test]
fn what_comes_thick_is_gathered_into_one_write_a_window() {
    let mut rig = Rig::new(MANY);
    assert_eq!(rig.push(0), Start::At(rig.at(5)));
    assert_eq!(rig.walk(0), None);
    assert_eq!(rig.push(20), Start::At(rig.at(100)));
    for ms in [40, 60, 80] {
        assert_eq!(rig.push(ms), Start::Known);
    }
    assert_eq!(rig.walk(100), None);
    // The window is counted from the walk's beginning.
    assert_eq!(rig.push(120), Start::At(rig.at(200)));
    assert_eq!(rig.walk(200), None);
    rig.all_got(&[&[0], &[1, 2, 3, 4], &[5]]);
    assert_eq!(rig.push(350), Start::At(rig.at(355)));
    // It is no addition to the window.
    let mut rig = Rig::new(MANY);
    rig.walk(0);
    assert_eq!(rig.push(98), Start::At(rig.at(103)));
    assert_eq!(rig.push(99), Start::Known);
}

#[test]
fn what_comes_during_a_walk_goes_out_with_the_next() {
    let mut rig = Rig::new(MANY);
    rig.push(0);
    assert!(rig.crowd.begin(rig.at(0)));
    assert!(rig.step());
    assert_eq!(rig.push(10), Start::Known);
    assert!(!rig.crowd.begin(rig.at(10)), "one walk at a time");
    while rig.step() {}
    assert_eq!(
        rig.crowd.end_walk(MANY, rig.at(20)),
        Some(Start::At(rig.at(100)))
    );
    assert_eq!(rig.walk(130), None);
    rig.all_got(&[&[0], &[1]]);
}

#[test]
fn nobody_in_a_small_room_waits() {
    let mut rig = Rig::new(4);
    for ms in 0..5 {
        assert_eq!(rig.push(ms), Start::Now);
        assert_eq!(rig.walk(ms), None);
    }
    rig.all_got(&[&[0], &[1], &[2], &[3], &[4]]);
}

#[test]
fn newcomers_get_what_comes_after_them() {
    let mut rig = Rig::new(MANY);
    rig.push(0);
    assert!(rig.crowd.begin(rig.at(0)));
    rig.step();
    rig.crowd.enter(9);
    rig.push(1);
    while rig.step() {}
    rig.crowd.end_walk(MANY, rig.at(1));
    rig.walk(100);
    assert_eq!(rig.got.remove(&9).unwrap(), [[1]]);
    rig.all_got(&[&[0], &[1]]);
}

#[test]
fn what_is_said_to_one_comes_after_what_was_said_to_all() {
    let mut rig = Rig::new(MANY);
    rig.push(0);
    rig.walk(0);
    rig.push(10);
    rig.push(20);
    let Some(Step::Give { slot: 2, frame, .. }) = rig.crowd.catch_up(2) else {
        panic!("two frames wait for him");
    };
    assert_eq!(numbers(frame.as_bytes()), [1, 2]);
    assert_eq!(rig.crowd.catch_up(2), None);
    rig.walk(100);
    assert_eq!(rig.got.remove(&2).unwrap(), [[0]]);
    assert_eq!(rig.got[&1], [vec![0], vec![1, 2]]);
}

#[test]
fn too_much_is_dropped_and_all_are_told() {
    let mut rig = Rig::new(MANY);
    rig.push(0);
    assert!(rig.crowd.begin(rig.at(0)));
    rig.step();
    let large = Frame::text(&"x".repeat(100_000));
    for _ in 0..3 {
        rig.crowd.push(large.clone(), None, MANY, rig.at(1));
    }
    while rig.step() {}
    let next = rig.crowd.end_walk(MANY, rig.at(2));
    assert_eq!(next, Some(Start::At(rig.at(100))));
    rig.walk(100);
    // The first one was reached before, and is told in the next round; the others at once.
    assert_eq!(rig.got[&0], [vec![0], vec![]]);
    for slot in 1..4 {
        assert_eq!(rig.got[&slot], [Vec::<u64>::new()]);
    }
    // From then on all is as before.
    rig.got.clear();
    rig.push(300);
    rig.walk(300);
    rig.all_got(&[&[1]]);
}

#[derive(Debug, Clone)]
enum Deed {
    Push,
    Begin,
    Steps(usize),
    Enter,
    Leave(usize),
    Say(usize),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        3 => Just(Deed::Push),
        2 => Just(Deed::Begin),
        4 => (1..4usize).prop_map(Deed::Steps),
        2 => Just(Deed::Enter),
        2 => (0..20usize).prop_map(Deed::Leave),
        1 => (0..20usize).prop_map(Deed::Say),
    ];
    prop::collection::vec(deed, 1..120)
}

proptest! {
    /// Whoever comes, goes, or is spoken to between any two steps: everybody gets all that came after him, in order, once.
    #[test]
    fn nobody_misses_or_repeats_anything(deeds in deeds()) {
        let mut crowd = Crowd::default();
        let now = Instant::now();
        // By slot: place, what he is to get first, and what he got.
        let mut here: BTreeMap<u32, (u32, u64, Vec<u64>)> = BTreeMap::new();
        let (mut pushed, mut next_slot, mut walks) = (0, 0, false);
        let check = |got: &(u32, u64, Vec<u64>), end: u64, whole: bool| {
            let wanted: Vec<u64> = (got.1..end).collect();
            if whole { got.2 == wanted } else { wanted.starts_with(&got.2) }
        };
        for deed in deeds.into_iter().chain([Deed::Steps(1000), Deed::Begin, Deed::Steps(1000)]) {
            match deed {
                Deed::Push => {
                    // Nothing is kept for nobody.
                    if !here.is_empty() {
                        crowd.push(frame(pushed), None, 0, now);
                        pushed += 1;
                    }
                }
                Deed::Begin => {
                    walks |= crowd.begin(now);
                }
                Deed::Steps(steps) => {
                    for _ in 0..steps {
                        match crowd.step() {
                            Some(Step::Give { slot, frame: piece, .. }) => {
                                let got = here.get_mut(&slot).unwrap();
                                got.2.extend(numbers(piece.as_bytes()));
                            }
                            Some(Step::Missed(_)) => panic!("nothing was dropped"),
                            None => {
                                if std::mem::take(&mut walks) {
                                    crowd.end_walk(0, now);
                                }
                                break;
                            }
                        }
                    }
                }
                Deed::Enter => {
                    let place = crowd.enter(next_slot);
                    here.insert(next_slot, (place, pushed, Vec::new()));
                    next_slot += 1;
                }
                Deed::Leave(which) => {
                    let Some(slot) = here.keys().nth(which).copied() else { continue };
                    let got = here.remove(&slot).unwrap();
                    prop_assert!(check(&got, pushed, false), "{got:?}");
                    for moved in crowd.leave(got.0) {
                        here.get_mut(&moved.slot).unwrap().0 = moved.place;
                    }
                }
                Deed::Say(which) => {
                    let Some(slot) = here.keys().nth(which).copied() else { continue };
                    let got = here.get_mut(&slot).unwrap();
                    if let Some(Step::Give { slot: to, frame: piece, .. }) = crowd.catch_up(got.0) {
                        prop_assert_eq!(to, slot);
                        got.2.extend(numbers(piece.as_bytes()));
                    }
                    prop_assert!(check(got, pushed, true), "{:?} of {}", got, pushed);
                }
            }
        }
        for got in here.values() {
            prop_assert!(check(got, pushed, true), "{:?} of {}", got, pushed);
        }
    }
}

#[test]
fn an_event_is_delivered_when_the_walk_that_gathered_it_is_through() {
    let delays = Arc::default();
    let mut rig = Rig::new(MANY);
    let push = |rig: &mut Rig, ms| {
        let delivery = Arc::new(Delivery::begin(&delays, 0));
        let held = Arc::downgrade(&delivery);
        rig.crowd.push(frame(0), Some(delivery), MANY, rig.at(ms));
        move || held.strong_count() > 0
    };
    let first = push(&mut rig, 0);
    assert!(first(), "waits for its walk");
    assert!(rig.crowd.begin(rig.at(0)));
    while rig.crowd.step().is_some() {
        assert!(first(), "somebody has not got it");
    }
    let [second, third] = [1, 2].map(|ms| push(&mut rig, ms));
    rig.crowd.end_walk(MANY, rig.at(3));
    assert!(!first() && second() && third());
    // Two gathered in one window are delivered together.
    assert!(rig.crowd.begin(rig.at(100)));
    while rig.crowd.step().is_some() {}
    assert!(second() && third());
    rig.crowd.end_walk(MANY, rig.at(101));
    assert!(!second() && !third());
    // With nobody here, at once.
    let mut empty = Crowd::default();
    let delivery = Arc::new(Delivery::begin(&delays, 0));
    let held = Arc::downgrade(&delivery);
    empty.push(frame(0), Some(delivery), 0, rig.at(200));
    assert_eq!(held.strong_count(), 0);
}
