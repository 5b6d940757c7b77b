//! What Autobahn's sections 1 to 7 ask of a server's reader, as tables, each of them read whole, byte by byte and in
//! random pieces.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// A client's frame; `first` is FIN, RSV and opcode as on the wire.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    masked(first, payload, [0x37, 0xFA, 0x21, 0x3D])
}

fn masked(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    out
}

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;
const TEXT_BEGIN: u8 = 0x01;
const BINARY_BEGIN: u8 = 0x02;
const MORE: u8 = 0x00;
const LAST: u8 = 0x80;

/// What came out, owned.
type Got = Result<Incoming<'static>, u16>;

/// Name, frames, what is to come out.
type Case = (&'static str, Vec<Vec<u8>>, Vec<Got>);

fn text(text: &str) -> Got {
    Ok(Incoming::Text(Cow::Owned(text.to_owned())))
}

fn binary(payload: &[u8]) -> Got {
    Ok(Incoming::Binary(Cow::Owned(payload.to_vec())))
}

fn ping(payload: &[u8]) -> Got {
    Ok(Incoming::Ping(Cow::Owned(payload.to_vec())))
}

fn pong(payload: &[u8]) -> Got {
    Ok(Incoming::Pong(Cow::Owned(payload.to_vec())))
}

fn bye(code: impl Into<Option<u16>>, reason: &str) -> Got {
    Ok(Incoming::Close {
        code: code.into(),
        reason: Cow::Owned(reason.to_owned()),
    })
}

fn owned(incoming: Incoming<'_>) -> Incoming<'static> {
    match incoming {
        Incoming::Text(text) => Incoming::Text(Cow::Owned(text.into_owned())),
        Incoming::Binary(payload) => Incoming::Binary(Cow::Owned(payload.into_owned())),
        Incoming::TooLarge => Incoming::TooLarge,
        Incoming::Ping(payload) => Incoming::Ping(Cow::Owned(payload.into_owned())),
        Incoming::Pong(payload) => Incoming::Pong(Cow::Owned(payload.into_owned())),
        Incoming::Close { code, reason } => Incoming::Close {
            code,
            reason: Cow::Owned(reason.into_owned()),
        },
    }
}

/// The limits of these tests: small, so that the tables stay readable. 126 bytes must fit.
const RULES: Rules = Rules {
    message_len_max: 200,
    message_skip_max: 70_000,
    binary: true,
};

struct Feed {
    reader: Reader,
    rules: Rules,
    got: Vec<Got>,
}

impl Feed {
    fn new(rules: Rules) -> Feed {
        Feed {
            reader: Reader::new(),
            rules,
            got: Vec::new(),
        }
    }

    fn feed(&mut self, piece: &[u8]) {
        let mut piece = piece.to_vec();
        let mut input = piece.as_mut_slice();
        while let Some(next) = self.reader.next(&mut input, &self.rules) {
            self.got.push(next.map(owned).map_err(|e| e.code.as_u16()));
        }
        assert!(input.is_empty(), "the reader left input behind");
    }
}

fn read(pieces: &[&[u8]], rules: Rules) -> Vec<Got> {
    let mut feed = Feed::new(rules);
    for piece in pieces {
        feed.feed(piece);
    }
    feed.got
}

fn check(name: &str, frames: &[Vec<u8>], wanted: &[Got]) {
    check_by(name, frames, wanted, RULES);
}

fn check_by(name: &str, frames: &[Vec<u8>], wanted: &[Got], rules: Rules) {
    let bytes = frames.concat();
    assert_eq!(read(&[&bytes], rules), wanted, "{name}, whole");
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&single, rules), wanted, "{name}, byte by byte");
    for cut in [2, 3, 7, 13, 100, 125, 126, 4096] {
        let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
        assert_eq!(read(&pieces, rules), wanted, "{name}, by {cut}");
    }
}

#[test]
fn framing() {
    for len in [0, 1, 7, 8, 9, 124, 125, 126, 127, 128, 199, 200] {
        let payload = "*".repeat(len);
        check(
            "text",
            &[frame(TEXT, payload.as_bytes())],
            &[text(&payload)],
        );
        let payload = vec![0xFE; len];
        check("binary", &[frame(BINARY, &payload)], &[binary(&payload)]);
    }
    let large = Rules {
        message_len_max: 70_000,
        ..RULES
    };
    for len in [65_535, 65_536, 65_537] {
        let payload = "x".repeat(len);
        let frames = [frame(TEXT, payload.as_bytes()), frame(PING, b"")];
        let wanted = [text(&payload), ping(b"")];
        assert_eq!(read(&[&frames.concat()], large), wanted, "{len}");
    }
    for mask in [[0; 4], [0xFF; 4], [1, 2, 3, 4]] {
        check("mask", &[masked(TEXT, b"hello", mask)], &[text("hello")]);
    }
}

#[test]
fn pings_and_pongs() {
    let long = [0xAB; 125];
    let cases: &[Case] = &[
        ("empty", vec![frame(PING, b"")], vec![ping(b"")]),
        ("payload", vec![frame(PING, b"hi")], vec![ping(b"hi")]),
        (
            "binary",
            vec![frame(PING, &[0, 255, 254])],
            vec![ping(&[0, 255, 254])],
        ),
        ("125 bytes", vec![frame(PING, &long)], vec![ping(&long)]),
        ("126 bytes", vec![frame(PING, &[0; 126])], vec![Err(1002)]),
        ("unasked pong", vec![frame(PONG, b"x")], vec![pong(b"x")]),
        (
            "pong too long",
            vec![frame(PONG, &[0; 126])],
            vec![Err(1002)],
        ),
        (
            "many",
            (0..10).map(|n| frame(PING, &[n])).collect(),
            (0..10).map(|n| ping(&[n])).collect(),
        ),
    ];
    for (name, frames, wanted) in cases {
        check(name, frames, wanted);
    }
}

#[test]
fn reserved_bits_and_opcodes() {
    for rsv in 1..8u8 {
        for first in [TEXT, BINARY, PING, CLOSE, TEXT_BEGIN] {
            let frames = [
                frame(TEXT, b"ok"),
                frame(first | rsv << 4, b""),
                frame(PING, b""),
            ];
            check("rsv", &frames, &[text("ok"), Err(1002)]);
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for fin in [0, 0x80] {
            let frames = [
                frame(TEXT, b"ok"),
                frame(fin | opcode, b"x"),
                frame(PING, b""),
            ];
            check("opcode", &frames, &[text("ok"), Err(1002)]);
        }
    }
}

#[test]
fn fragments() {
    let cases: &[Case] = &[
        (
            "two",
            vec![frame(TEXT_BEGIN, b"a"), frame(LAST, b"b")],
            vec![text("ab")],
        ),
        (
            "binary",
            vec![
                frame(BINARY_BEGIN, &[255]),
                frame(MORE, &[0]),
                frame(LAST, &[254]),
            ],
            vec![binary(&[255, 0, 254])],
        ),
        (
            "empty ones",
            vec![frame(TEXT_BEGIN, b""), frame(MORE, b""), frame(LAST, b"")],
            vec![text("")],
        ),
        (
            "empty around",
            vec![
                frame(TEXT_BEGIN, b""),
                frame(MORE, b"mid"),
                frame(LAST, b""),
            ],
            vec![text("mid")],
        ),
        (
            "ping between",
            vec![
                frame(TEXT_BEGIN, b"a"),
                frame(PING, b"p"),
                frame(LAST, b"b"),
            ],
            vec![ping(b"p"), text("ab")],
        ),
        (
            "pings and pongs between",
            vec![
                frame(TEXT_BEGIN, b"a"),
                frame(PING, b"1"),
                frame(MORE, b"b"),
                frame(PONG, b"2"),
                frame(PING, b"3"),
                frame(LAST, b"c"),
                frame(TEXT, b"next"),
            ],
            vec![
                ping(b"1"),
                pong(b"2"),
                ping(b"3"),
                text("abc"),
                text("next"),
            ],
        ),
        (
            "close between",
            vec![
                frame(TEXT_BEGIN, b"a"),
                frame(CLOSE, &[3, 232]),
                frame(LAST, b"b"),
            ],
            vec![bye(1000, "")],
        ),
        (
            "fragmented ping",
            vec![frame(0x09, b"a"), frame(LAST, b"b")],
            vec![Err(1002)],
        ),
        (
            "fragmented pong",
            vec![frame(0x0A, b"a"), frame(LAST, b"b")],
            vec![Err(1002)],
        ),
        (
            "fragmented close",
            vec![frame(0x08, b""), frame(LAST, b"")],
            vec![Err(1002)],
        ),
        ("last of nothing", vec![frame(LAST, b"a")], vec![Err(1002)]),
        ("more of nothing", vec![frame(MORE, b"a")], vec![Err(1002)]),
        (
            "after a whole one",
            vec![frame(TEXT, b"a"), frame(LAST, b"b")],
            vec![text("a"), Err(1002)],
        ),
        (
            "text inside text",
            vec![frame(TEXT_BEGIN, b"a"), frame(TEXT, b"b")],
            vec![Err(1002)],
        ),
        (
            "binary inside text",
            vec![frame(TEXT_BEGIN, b"a"), frame(BINARY_BEGIN, b"b")],
            vec![Err(1002)],
        ),
        (
            "two messages",
            vec![
                frame(TEXT_BEGIN, b"a"),
                frame(LAST, b"b"),
                frame(TEXT_BEGIN, b"c"),
                frame(LAST, b"d"),
            ],
            vec![text("ab"), text("cd")],
        ),
    ];
    for (name, frames, wanted) in cases {
        check(name, frames, wanted);
    }
}

#[test]
fn headers_that_lie() {
    let cases: &[(&str, &[u8], u16)] = &[
        ("not masked", b"\x81\x05hello", 1002),
        ("not masked, empty", b"\x81\x00", 1002),
        ("16-bit length of 125", &[TEXT, 0xFE, 0, 125], 1002),
        ("16-bit length of 0", &[TEXT, 0xFE, 0, 0], 1002),
        (
            "64-bit length of 65535",
            &[TEXT, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
            1002,
        ),
        (
            "64-bit length over 63 bits",
            &[TEXT, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0],
            1002,
        ),
        // The mask need not even come.
        (
            "2^63 - 1",
            &[
                TEXT, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4,
            ],
            1009,
        ),
    ];
    for (name, bytes, code) in cases {
        check(name, &[bytes.to_vec()], &[Err(*code)]);
    }
    // An impossible first byte is enough; a length without its mask is not.
    assert_eq!(read(&[&[0xC1]], RULES), [Err(1002)]);
    assert_eq!(read(&[&[TEXT, 0x81, 0, 0, 0]], RULES), []);
}

#[test]
fn text_is_utf8() {
    let good: &[&str] = &[
        "Hello-µ@ßöäüàá-UTF-8!!",
        "\u{0}",
        "κόσμε",
        "\u{80}\u{7FF}\u{800}\u{FFFF}\u{10000}\u{10FFFF}",
        "\u{FFFD}\u{FFFE}\u{D7FF}\u{E000}",
        "𠜎𠜱𠝹𠱓",
    ];
    for good in good {
        check("good", &[frame(TEXT, good.as_bytes())], &[text(good)]);
        let fragments: Vec<Vec<u8>> = std::iter::once(frame(TEXT_BEGIN, b""))
            .chain(good.bytes().map(|byte| frame(MORE, &[byte])))
            .chain([frame(LAST, b"")])
            .collect();
        check("one byte a fragment", &fragments, &[text(good)]);
    }
    let bad: &[&[u8]] = &[
        b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80edited",
        b"\x80",
        b"\xBF\xBF",
        b"\xFE",
        b"\xFF",
        b"\xC0\xAF",
        b"\xE0\x80\xAF",
        b"\xF0\x80\x80\xAF",
        b"\xF8\x88\x80\x80\x80",
        b"\xFC\x84\x80\x80\x80\x80",
        b"\xC1\xBF",
        b"\xED\xA0\x80",
        b"\xED\xBF\xBF",
        b"\xED\xA0\x80\xED\xB0\x80",
        b"\xF4\x90\x80\x80",
        b"\xF7\xBF\xBF\xBF",
        b"ab\xC3\x28",
        // Cut off at the end.
        b"\xC3",
        b"\xE1\xBD",
        b"\xF0\x9F\x98",
        b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE",
    ];
    for bad in bad {
        check("bad", &[frame(TEXT, bad), frame(PING, b"")], &[Err(1007)]);
        let (a, b) = bad.split_at(bad.len() / 2);
        let fragments = [frame(TEXT_BEGIN, a), frame(LAST, b), frame(PING, b"")];
        check("bad, in fragments", &fragments, &[Err(1007)]);
        check("binary may be so", &[frame(BINARY, bad)], &[binary(bad)]);
    }
}

#[test]
fn bad_text_is_found_at_its_first_impossible_byte() {
    // U+110000: the second byte cannot follow the first.
    let payload = b"\xCE\xBA\xF4\x90\x80\x80edited";
    let whole = frame(TEXT, payload);
    let mut feed = Feed::new(RULES);
    feed.feed(&whole[..6 + 3]);
    assert_eq!(feed.got, []);
    feed.feed(&whole[6 + 3..6 + 4]);
    assert_eq!(feed.got, [Err(1007)]);

    // The same over fragments, and with a frame that never ends.
    let mut feed = Feed::new(RULES);
    feed.feed(&frame(TEXT_BEGIN, &payload[..3]));
    assert_eq!(feed.got, []);
    feed.feed(&frame(MORE, &payload[3..])[..7]);
    assert_eq!(feed.got, [Err(1007)]);
}

#[test]
fn goodbyes() {
    let long = "r".repeat(123);
    let with = |code: u16, reason: &[u8]| frame(CLOSE, &[&code.to_be_bytes(), reason].concat());
    let cases: &[Case] = &[
        ("empty", vec![frame(CLOSE, b"")], vec![bye(None, "")]),
        (
            "reason",
            vec![with(1000, "ok ✓".as_bytes())],
            vec![bye(1000, "ok ✓")],
        ),
        (
            "longest",
            vec![with(1000, long.as_bytes())],
            vec![bye(1000, &long)],
        ),
        ("too long", vec![with(1000, &[b'r'; 124])], vec![Err(1002)]),
        ("half a code", vec![frame(CLOSE, &[3])], vec![Err(1002)]),
        (
            "reason not UTF-8",
            vec![with(1000, b"\xCE\xBA\xE1")],
            vec![Err(1007)],
        ),
        (
            "nothing after it",
            vec![
                with(1000, b""),
                with(1001, b""),
                frame(PING, b""),
                frame(TEXT, b"x"),
            ],
            vec![bye(1000, "")],
        ),
        (
            "nothing after an error",
            vec![frame(LAST, b""), with(1000, b""), frame(TEXT, b"x")],
            vec![Err(1002)],
        ),
    ];
    for (name, frames, wanted) in cases {
        check(name, frames, wanted);
    }
}

#[test]
fn every_close_code() {
    let valid = |code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    for code in 0..=u16::MAX {
        let wanted = if valid(code) {
            bye(code, "")
        } else {
            Err(1002)
        };
        let bytes = frame(CLOSE, &code.to_be_bytes());
        assert_eq!(read(&[&bytes], RULES), [wanted], "{code}");
    }
}

#[test]
fn sizes() {
    let too_large = || Ok(Incoming::TooLarge);
    let fragments = |count: usize, len: usize| -> Vec<Vec<u8>> {
        std::iter::once(frame(TEXT_BEGIN, &vec![b'a'; len]))
            .chain((0..count).map(|_| frame(MORE, &vec![b'a'; len])))
            .chain([frame(LAST, b"")])
            .collect()
    };
    let after = |mut frames: Vec<Vec<u8>>| {
        frames.push(frame(TEXT, b"next"));
        frames
    };
    check(
        "at the limit",
        &fragments(1, 100),
        &[text(&"a".repeat(200))],
    );
    let cases: &[(&str, Vec<Vec<u8>>)] = &[
        ("one frame", vec![frame(TEXT, &[b'a'; 201])]),
        ("binary", vec![frame(BINARY, &[b'a'; 201])]),
        ("fragments", fragments(1, 101)),
        ("many fragments", fragments(300, 100)),
        // What is dropped is not looked at.
        ("not UTF-8 after the limit", {
            vec![frame(TEXT_BEGIN, &[b'a'; 200]), frame(LAST, b"\xFF")]
        }),
        ("up to the other limit", vec![frame(TEXT, &[b'a'; 70_000])]),
    ];
    for (name, frames) in cases {
        let frames = after(frames.clone());
        let bytes = frames.concat();
        assert_eq!(
            read(&[&bytes], RULES),
            [too_large(), text("next")],
            "{name}"
        );
        let pieces: Vec<&[u8]> = bytes.chunks(1000).collect();
        assert_eq!(read(&pieces, RULES), [too_large(), text("next")], "{name}");
    }
    check("over both", &[frame(TEXT, &[b'a'; 70_001])], &[Err(1009)]);
    check("over both in fragments", &fragments(701, 100), &[Err(1009)]);
    // The header is enough.
    let header = &frame(TEXT, &[b'a'; 70_001])[..14];
    assert_eq!(read(&[header], RULES), [Err(1009)]);
}

#[test]
fn binary_where_it_is_not_taken() {
    let rules = Rules::default();
    for first in [BINARY, BINARY_BEGIN] {
        let frames = [frame(TEXT, b"a"), frame(first, b"x")];
        check_by("binary", &frames, &[text("a"), Err(1003)], rules);
    }
}

#[test]
fn nothing_is_kept_when_nothing_is_half_read() {
    assert!(size_of::<Reader>() <= 16);
    let mut feed = Feed::new(RULES);
    let script: &[(&[u8], bool)] = &[
        (&frame(TEXT, b"a"), true),
        (&frame(TEXT, b"a")[..1], false),
        (&frame(TEXT, b"a")[1..], true),
        (&frame(PING, b"abc")[..8], false),
        (&frame(PING, b"abc")[8..], true),
        (&frame(TEXT_BEGIN, b"a"), false),
        (&frame(PING, b""), false),
        (&frame(LAST, b"a"), true),
        (&frame(TEXT, &[b'a'; 201]), true),
        (&frame(LAST, b""), true),
    ];
    for (index, (bytes, idle)) in script.iter().enumerate() {
        feed.feed(bytes);
        assert_eq!(feed.reader.is_idle(), *idle, "step {index}");
    }
}

#[test]
fn memory_follows_what_came_not_what_was_promised() {
    let rules = Rules {
        message_len_max: 16 << 20,
        message_skip_max: 16 << 20,
        binary: true,
    };
    let mut feed = Feed::new(rules);
    feed.feed(&frame(TEXT, &vec![b'a'; 16 << 20])[..14 + 10]);
    let message = feed.reader.partial.unwrap().message.unwrap();
    assert!(message.kept_len() < 100);
}

/// Frames as a client might send them, right and wrong.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => prop::sample::select(vec![TEXT, BINARY, TEXT_BEGIN, BINARY_BEGIN, MORE, LAST, PING, PONG]),
        1 => Just(CLOSE),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        3 => "\\PC{0,40}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ];
    (first, payload, any::<[u8; 4]>())
        .prop_map(|(first, payload, mask)| masked(first, &payload, mask))
}

proptest! {
    #[test]
    fn every_split_gives_the_same(
        frames in prop::collection::vec(any_frame(), 0..12),
        noise in prop::collection::vec(any::<u8>(), 0..20),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut bytes = frames.concat();
        bytes.extend(noise);
        let whole = read(&[&bytes], RULES);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&read(&single, RULES), &whole);

        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let mut from = 0;
        let pieces: Vec<&[u8]> = cuts.iter().map(|&to| {
            let piece = &bytes[from..to];
            from = to;
            piece
        }).collect();
        prop_assert_eq!(&read(&pieces, RULES), &whole);
    }

    #[test]
    fn unmasking_is_its_own_inverse(
        payload in prop::collection::vec(any::<u8>(), 0..200),
        mask: [u8; 4],
        cut: prop::sample::Index,
    ) {
        let bytes = masked(BINARY, &payload, mask);
        let cut = cut.index(bytes.len());
        prop_assert_eq!(read(&[&bytes[..cut], &bytes[cut..]], Rules { message_len_max: 1000, ..RULES }), [binary(&payload)]);
    }
}
