//! The machine driven by hand: every moment is given, every byte counted.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use super::*;
use crate::websocket::outbox::Refused;

/// What the handler was told, shared with the test.
#[derive(Debug, Default)]
struct Told {
    texts: Vec<String>,
    too_large: usize,
    drained: usize,
    woken: usize,
    ends: Vec<End>,
    /// What to answer to texts from now on, and what to a wake-up.
    on_text: Option<Next>,
    on_wake: Option<Next>,
}

#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Told>>);

impl Handler for Recorder {
    fn on_text(&mut self, text: &str, _at: Instant) -> Next {
        let mut told = self.0.lock().unwrap();
        told.texts.push(text.to_owned());
        told.on_text.unwrap_or(Next::Read)
    }

    fn on_too_large(&mut self, _at: Instant) -> Next {
        self.0.lock().unwrap().too_large += 1;
        Next::Read
    }

    fn on_drained(&mut self) -> Next {
        self.0.lock().unwrap().drained += 1;
        Next::Read
    }

    fn on_wake(&mut self) -> Next {
        let mut told = self.0.lock().unwrap();
        told.woken += 1;
        told.on_wake.unwrap_or(Next::Read)
    }

    fn on_end(&mut self, end: End) {
        self.0.lock().unwrap().ends.push(end);
    }
}

/// Room for one frame of 90 bytes and its entry, and little more.
const OUTBOX_LEN_MAX: usize = 200;

struct Rig {
    connection: Connection<Recorder>,
    outbox: Arc<Outbox>,
    told: Arc<Mutex<Told>>,
    begin: Instant,
    now: Instant,
}

impl Rig {
    fn new() -> Rig {
        let now = Instant::now();
        let outbox = Arc::new(Outbox::new(OUTBOX_LEN_MAX));
        let recorder = Recorder::default();
        Rig {
            told: Arc::clone(&recorder.0),
            connection: Connection::new(
                recorder,
                Arc::clone(&outbox),
                Arc::new(Limits::default()),
                now,
            ),
            outbox,
            begin: now,
            now,
        }
    }

    /// Lets time pass up to `seconds` after the beginning, with every deadline on the way.
    fn at(&mut self, seconds: f64) {
        let to = self.begin + Duration::from_secs_f64(seconds);
        while self.connection.deadline() <= to {
            self.now = self.now.max(self.connection.deadline());
            self.connection.tick(self.now);
        }
        self.now = to;
    }

    fn receive(&mut self, bytes: &[u8]) {
        assert!(self.connection.wants_read());
        self.connection.receive(&mut bytes.to_vec(), self.now);
    }

    /// The kernel takes up to `len` bytes.
    fn write(&mut self, len: usize) -> Vec<u8> {
        self.connection.collect(self.now);
        let mut out = Vec::new();
        let mut slices = [IoSlice::new(&[]); 100];
        let filled = self.connection.output(&mut slices);
        for slice in &slices[..filled] {
            out.extend_from_slice(slice);
        }
        out.truncate(len);
        if self.connection.wants_write() {
            self.connection.wrote(out.len(), self.now);
        }
        out
    }

    fn write_all(&mut self) -> Vec<u8> {
        self.write(usize::MAX)
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }

    /// After our Close and the peer's: our side ends, then the peer's.
    fn finish(&mut self) {
        assert!(self.connection.wants_shutdown());
        self.connection.shut_down();
        assert!(!self.connection.wants_shutdown());
        assert_eq!(self.connection.ended(), None);
        self.connection.receive_eof();
        assert!(self.connection.ended().is_some());
        assert!(!self.connection.wants_reset());
    }
}

/// A client's frame with a mask of zeros, shorter than 126 bytes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

fn close_frame(code: CloseCode) -> Vec<u8> {
    frame(0x88, &code.as_u16().to_be_bytes())
}

/// The code of the Close at the front of what was written.
fn code_of(written: &[u8]) -> u16 {
    assert_eq!(written[0], 0x88, "{written:?}");
    u16::from_be_bytes([written[2], written[3]])
}

#[test]
fn messages_reach_the_handler_and_frames_the_wire() {
    let mut rig = Rig::new();
    rig.receive(&[frame(0x81, b"a"), frame(0x81, b"b")].concat());
    assert_eq!(rig.told().texts, ["a", "b"]);
    let one = Frame::text("one").queued_len();
    rig.outbox.push(Frame::text("one")).unwrap();
    rig.outbox.push(Frame::text("two")).unwrap();
    assert_eq!(rig.write(2), b"\x81\x03");
    assert_eq!(rig.outbox.queued_len(), 2 * one);
    assert_eq!(rig.write(4), b"one\x81");
    assert_eq!(rig.outbox.queued_len(), one);
    assert_eq!(rig.write_all(), b"\x03two");
    assert_eq!(rig.outbox.queued_len(), 0);
    assert!(!rig.connection.wants_write());
}

#[test]
fn a_refused_frame_is_followed_by_drained_once() {
    let mut rig = Rig::new();
    rig.outbox.push(Frame::text(&"x".repeat(90))).unwrap();
    let second = Frame::text("0123456789");
    assert_eq!(rig.outbox.push(second.clone()), Err(Refused::Full));
    // Another class may have another limit.
    rig.outbox.push_within(second.clone(), 1000).unwrap();
    assert_eq!(rig.outbox.push(second), Err(Refused::Full));
    rig.write(92);
    assert_eq!(rig.told().drained, 0);
    rig.write_all();
    assert_eq!(rig.told().drained, 1);
    rig.outbox.push(Frame::text("x")).unwrap();
    rig.write_all();
    assert_eq!(rig.told().drained, 1);
}

#[test]
fn an_empty_outbox_takes_one_frame_of_any_length() {
    let rig = Rig::new();
    rig.outbox.push(Frame::text(&"x".repeat(1000))).unwrap();
    assert_eq!(rig.outbox.push(Frame::text("")), Err(Refused::Full));
}

#[test]
fn silence_is_pinged_twice_and_then_closed() {
    let mut rig = Rig::new();
    rig.at(29.9);
    assert!(!rig.connection.wants_write());
    rig.at(30.0);
    assert_eq!(rig.write_all(), b"\x89\x00");
    rig.at(60.0);
    assert_eq!(rig.write_all(), b"\x89\x00");
    rig.at(89.9);
    assert!(!rig.connection.wants_write());
    rig.at(90.0);
    assert_eq!(code_of(&rig.write_all()), 4010);
    assert_eq!(rig.told().ends, [End::Local(CloseCode::Idle)]);
}

#[test]
fn a_process_that_was_stopped_gives_its_peers_time_to_answer() {
    let mut rig = Rig::new();
    // No deadline in between was kept: nobody was running.
    rig.now = rig.begin + Duration::from_secs(600);
    rig.connection.tick(rig.now);
    rig.connection.tick(rig.now);
    assert_eq!(rig.write_all(), b"\x89\x00");
    rig.at(630.0);
    assert_eq!(rig.write_all(), b"\x89\x00");
    rig.at(659.9);
    assert!(!rig.connection.wants_write());
    rig.at(660.0);
    assert_eq!(code_of(&rig.write_all()), 4010);
}

#[test]
fn any_byte_counts_as_life() {
    for sign in [frame(0x8A, b""), frame(0x81, b"x"), vec![0x81]] {
        let mut rig = Rig::new();
        for seconds in [30.0, 60.0] {
            rig.at(seconds);
            assert_eq!(rig.write_all(), b"\x89\x00");
        }
        rig.at(89.0);
        rig.receive(&sign);
        rig.at(118.9);
        assert!(!rig.connection.wants_write());
        rig.at(119.0);
        assert_eq!(rig.write_all(), b"\x89\x00");
        assert!(rig.told().ends.is_empty());
    }
}

#[test]
fn a_peer_that_takes_nothing_is_closed_as_slow() {
    let mut rig = Rig::new();
    rig.outbox.push(Frame::text("0123456789")).unwrap();
    rig.outbox.push(Frame::text("never sent")).unwrap();
    rig.write(3);
    rig.at(9.9);
    rig.write(1);
    rig.at(19.8);
    assert!(rig.told().ends.is_empty());
    rig.at(20.0);
    assert_eq!(rig.told().ends, [End::Local(CloseCode::Slow)]);
    assert_eq!(rig.outbox.push(Frame::text("x")), Err(Refused::Closed));
    // Should it wake up after all: the frame that had begun, then the Close, nothing between.
    let written = rig.write_all();
    assert_eq!(&written[..8], b"23456789");
    assert_eq!(code_of(&written[8..]), 4008);
}

#[test]
fn a_slow_peer_that_stays_so_is_reset() {
    let mut rig = Rig::new();
    rig.outbox.push(Frame::text("0123456789")).unwrap();
    rig.write(3);
    rig.at(10.0);
    assert_eq!(rig.connection.ended(), None);
    rig.at(12.1);
    assert_eq!(rig.connection.ended(), Some(End::Local(CloseCode::Slow)));
    assert!(rig.connection.wants_reset());
}

#[test]
fn a_queue_that_waits_for_nothing_is_not_slow() {
    let mut rig = Rig::new();
    rig.at(25.0);
    rig.outbox.push(Frame::text("x")).unwrap();
    rig.connection.collect(rig.now);
    rig.at(29.0);
    rig.write_all();
    rig.at(29.9);
    assert!(rig.told().ends.is_empty());
}

#[test]
fn the_peers_goodbye_is_answered_with_its_own_code() {
    let cases: [(Option<u16>, &[u8]); 3] = [
        (Some(1000), b"\x88\x02\x03\xE8"),
        (Some(4999), b"\x88\x02\x13\x87"),
        (None, b"\x88\x00"),
    ];
    for (code, reply) in cases {
        let mut rig = Rig::new();
        rig.outbox.push(Frame::text("x")).unwrap();
        let payload = code.map_or(vec![], |code| code.to_be_bytes().to_vec());
        rig.receive(&[frame(0x88, &payload), frame(0x81, b"after")].concat());
        assert_eq!(rig.told().ends, [End::Peer(code)]);
        assert!(rig.told().texts.is_empty());
        // What was queued before goes first.
        assert_eq!(rig.write_all(), [b"\x81\x01x", reply].concat());
        rig.finish();
        assert_eq!(rig.connection.ended(), Some(End::Peer(code)));
        assert_eq!(rig.told().ends.len(), 1);
    }
}

#[test]
fn our_goodbye_waits_for_the_queue_and_then_for_the_peer() {
    let mut rig = Rig::new();
    rig.outbox.push(Frame::text("last words")).unwrap();
    rig.outbox.close(CloseCode::Restart, "leaving");
    assert_eq!(rig.outbox.push(Frame::text("x")), Err(Refused::Closed));
    let written = rig.write_all();
    assert_eq!(&written[..12], b"\x81\x0Alast words");
    assert_eq!(code_of(&written[12..]), 1012);
    assert_eq!(rig.told().ends, [End::Local(CloseCode::Restart)]);
    assert!(!rig.connection.wants_shutdown());
    // What the peer said before it heard us is not for the handler any more.
    rig.receive(&[frame(0x81, b"late"), close_frame(CloseCode::Restart)].concat());
    assert!(rig.told().texts.is_empty());
    rig.finish();
}

#[test]
fn a_close_at_once_drops_the_queue_but_tears_no_frame() {
    let mut rig = Rig::new();
    rig.outbox.push(Frame::text("half")).unwrap();
    rig.outbox.push(Frame::text("dropped")).unwrap();
    rig.write(3);
    rig.outbox.close(CloseCode::Policy, "first");
    rig.outbox.close_now(CloseCode::Normal, "second");
    let written = rig.write_all();
    assert_eq!(&written[..3], b"alf");
    assert_eq!(code_of(&written[3..]), 1008);
    assert_eq!(rig.outbox.queued_len(), 0);
}

#[test]
fn a_peer_that_does_not_answer_our_goodbye_has_two_seconds() {
    let mut rig = Rig::new();
    rig.outbox.close(CloseCode::Normal, "");
    rig.write_all();
    rig.at(1.9);
    assert_eq!(rig.connection.ended(), None);
    rig.at(2.0);
    assert_eq!(rig.connection.ended(), Some(End::Local(CloseCode::Normal)));
}

#[test]
fn a_peer_that_answers_and_stays_is_not_waited_for_either() {
    let mut rig = Rig::new();
    rig.receive(&close_frame(CloseCode::Normal));
    rig.write_all();
    rig.connection.shut_down();
    rig.at(1.0);
    // It may go on sending; nobody looks.
    rig.receive(&[0xFF; 100]);
    assert_eq!(rig.connection.ended(), None);
    rig.at(2.0);
    assert_eq!(rig.connection.ended(), Some(End::Peer(Some(1000))));
}

#[test]
fn protocol_errors_are_said_and_then_only_the_end_is_awaited() {
    let mut rig = Rig::new();
    rig.outbox.push(Frame::text("x")).unwrap();
    rig.receive(&[frame(0x81, b"a"), vec![0x83], frame(0x81, b"b")].concat());
    assert_eq!(rig.told().texts, ["a"]);
    let written = rig.write_all();
    assert_eq!(&written[..3], b"\x81\x01x");
    assert_eq!(code_of(&written[3..]), 1002);
    rig.receive(&[0; 1000]);
    rig.finish();
    assert_eq!(
        rig.connection.ended(),
        Some(End::Local(CloseCode::Protocol))
    );
}

#[test]
fn tcp_that_ends_without_a_word() {
    let mut rig = Rig::new();
    rig.outbox.push(Frame::text("x")).unwrap();
    rig.connection.receive_eof();
    assert_eq!(rig.connection.ended(), Some(End::Lost));
    assert_eq!(rig.told().ends, [End::Lost]);
    assert_eq!(rig.outbox.push(Frame::text("x")), Err(Refused::Closed));
    assert!(!rig.connection.wants_write());
}

#[test]
fn tcp_that_ends_instead_of_a_goodbye() {
    let mut rig = Rig::new();
    rig.outbox.close(CloseCode::Normal, "");
    rig.connection.collect(rig.now);
    rig.connection.receive_eof();
    assert!(!rig.connection.wants_read());
    assert_eq!(code_of(&rig.write_all()), 1000);
    assert!(rig.connection.wants_shutdown());
    rig.connection.shut_down();
    assert_eq!(rig.connection.ended(), Some(End::Local(CloseCode::Normal)));
}

#[test]
fn both_say_goodbye_at_once() {
    let mut rig = Rig::new();
    rig.outbox.close(CloseCode::Normal, "");
    rig.connection.collect(rig.now);
    rig.receive(&close_frame(CloseCode::GoingAway));
    assert_eq!(code_of(&rig.write_all()), 1000);
    rig.finish();
    assert_eq!(rig.told().ends, [End::Local(CloseCode::Normal)]);
}

#[test]
fn a_flood_of_pings_keeps_sixteen_answers_and_the_latest() {
    let mut rig = Rig::new();
    rig.receive(&frame(0x89, b"first"));
    assert_eq!(rig.write(3), b"\x8A\x05f");
    for n in 0..10_000u16 {
        rig.receive(&frame(0x89, &n.to_be_bytes()));
    }
    let written = rig.write_all();
    let (rest, pongs) = written.split_at(4);
    assert_eq!(rest, b"irst");
    let pongs: Vec<_> = pongs.chunks(4).collect();
    assert_eq!(pongs.len(), 15);
    for (n, pong) in pongs[..14].iter().enumerate() {
        assert_eq!(*pong, [0x8A, 2, 0, n as u8]);
    }
    assert_eq!(*pongs[14], [0x8A, 2, 0x27, 0x0F]);
    // And the count starts afresh.
    for n in 0..16u16 {
        rig.receive(&frame(0x89, &n.to_be_bytes()));
    }
    assert_eq!(rig.write_all().len(), 16 * 4);
}

#[test]
fn a_pause_leaves_the_rest_for_later() {
    let mut rig = Rig::new();
    rig.told().on_text = Some(Next::Pause);
    let texts = [
        frame(0x81, b"a"),
        frame(0x81, b"b"),
        frame(0x81, b"c"),
        frame(0x01, b"d"),
    ];
    rig.receive(&texts.concat());
    assert_eq!(rig.told().texts, ["a"]);
    assert!(!rig.connection.wants_read());
    // Who is not read from is not blamed for silence.
    rig.at(300.0);
    assert!(!rig.connection.wants_write());

    let wake = |rig: &mut Rig| {
        rig.outbox.wake();
        rig.connection.collect(rig.now);
    };
    wake(&mut rig);
    assert_eq!(rig.told().texts, ["a", "b"]);
    assert!(!rig.connection.wants_read());
    rig.told().on_wake = Some(Next::Pause);
    wake(&mut rig);
    assert_eq!(rig.told().texts, ["a", "b"]);
    rig.told().on_wake = None;
    rig.told().on_text = None;
    wake(&mut rig);
    assert_eq!(rig.told().texts, ["a", "b", "c"]);
    assert_eq!(rig.told().woken, 3);
    rig.receive(&frame(0x80, b"e"));
    assert_eq!(rig.told().texts, ["a", "b", "c", "de"]);
    rig.at(329.0);
    assert!(!rig.connection.wants_write());
    rig.at(330.0);
    assert_eq!(rig.write_all(), b"\x89\x00");
}

#[test]
fn a_goodbye_behind_a_pause_is_found() {
    let mut rig = Rig::new();
    rig.told().on_text = Some(Next::Pause);
    rig.receive(
        &[
            frame(0x81, b"a"),
            frame(0x81, b"b"),
            close_frame(CloseCode::Normal),
        ]
        .concat(),
    );
    rig.outbox.close(CloseCode::GoingAway, "");
    assert_eq!(code_of(&rig.write_all()), 1001);
    assert_eq!(rig.told().texts, ["a"]);
    rig.finish();
}

#[test]
fn too_large_is_reported_and_the_connection_lives() {
    let mut rig = Rig::new();
    let large = [&[0x81, 0xFE, 0x10, 0x01, 0, 0, 0, 0], &[b'x'; 4097][..]].concat();
    rig.receive(&large);
    rig.receive(&frame(0x81, b"next"));
    assert_eq!(rig.told().too_large, 1);
    assert_eq!(rig.told().texts, ["next"]);
}
