//! PGN beyond what the game files show: what other programs write, and what is wrong.

use shared::game::GameResult;
use shared::notation::pgn::{self, Pgn, PgnProblem, Tags, format_clk, parse_clk};
use shared::rules::Position;

fn one(text: &str) -> Pgn {
    let mut games = pgn::games(text);
    let game = games.next().unwrap().unwrap();
    assert!(games.next().is_none());
    game
}

fn moves(game: &Pgn) -> String {
    game.moves
        .iter()
        .map(|mv| mv.san.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn any_spacing_comments_variations_and_annotations_are_read_over() {
    let game = one(
        "\u{feff}[Event \"A \\\"quoted\\\" \\\\ one\"]\r\n[White \"Ł\"]\r\n\r\n1.e4! $1 {good [%eval 0.3]} (1.d4 d5 (1...Nf6 {[%clk 0:00:01] )}) 2.c4) 1...e5?!\r\n\
         % an escaped line (\r\n2 . Nf3 ; to the end of the line {\r\nNc6 3.Bb5 !? a6\r\n{[%clk 1:02:03.25]} 0-1\r\n",
    );
    assert_eq!(game.tags.get("Event"), Some("A \"quoted\" \\ one"));
    assert_eq!(game.tags.get("White"), Some("Ł"));
    assert_eq!(moves(&game), "e4 e5 Nf3 Nc6 Bb5 a6");
    assert_eq!(game.moves[5].clock_ms, Some(3_723_250));
    assert_eq!(game.moves[0].clock_ms, None);
    assert_eq!(game.result, GameResult::BlackWins);
}

#[test]
fn errors_name_their_line_and_the_next_game_is_still_read() {
    let text = "[Event \"1\"]\n\n1. e4 e5\n2. Ke3 *\n\n[Event \"2\"]\n\n1. e4 { open\n\n[Event \"3\"]\n\n1. d4 *\n";
    let answers: Vec<_> = pgn::games(text).collect();
    let [Err(illegal), Err(open), Ok(good)] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!(illegal.to_string(), "line 4: Ke3: illegal move");
    assert_eq!((open.line, &open.problem), (8, &PgnProblem::Unbalanced));
    assert_eq!(moves(good), "d4");
}

#[test]
fn what_is_wrong_is_said() {
    for (text, problem) in [
        ("[Event]\n\n*", "not a tag pair"),
        ("[Event \"a]\n\n*", "not a tag pair"),
        (
            "[FEN \"8/8 w - - 0 1\"]\n\n*",
            "FEN tag: the board needs eight ranks of eight squares",
        ),
        ("1. e4", "no result at the end"),
        ("1. e4 [Event \"2\"]", "no result at the end"),
        ("1. e4 ) *", "unbalanced comment or variation"),
        ("1. e4 ( e5 *", "unbalanced comment or variation"),
        ("1. e4 {[%clk 1:2]} *", "unreadable clock"),
        (
            "[Result \"1-0\"]\n\n1. e4 0-1",
            "the result differs from the Result tag",
        ),
        ("1. e4 e5 2. <b> *", "<b>: not a move"),
    ] {
        let error = pgn::games(text).next().unwrap().unwrap_err();
        assert_eq!(error.problem.to_string(), problem, "{text}");
    }
    let deep = format!("1. e4 {} *", "(".repeat(100_000));
    assert!(pgn::games(&deep).next().unwrap().is_err());
}

#[test]
fn a_game_from_a_position_says_so() {
    let start = Position::from_fen("4k3/8/8/8/8/8/4p3/1K6 b - - 7 50").unwrap();
    let mv = start
        .legal_moves()
        .find(|mv| mv.to_string() == "e2e1q")
        .unwrap();
    let san = start.san(mv).unwrap();
    let moves = vec![pgn::PgnMove {
        mv,
        san,
        clock_ms: Some(59_950),
    }];
    let tags: Tags = [("White", "a\"b\\c\nd"), ("Bad name", "x")]
        .into_iter()
        .collect();
    let game = Pgn {
        tags,
        start,
        moves,
        result: GameResult::Unknown,
    };
    let text = pgn::write(&game);
    assert_eq!(
        text,
        "[Event \"?\"]\n[Site \"?\"]\n[Date \"????.??.??\"]\n[Round \"?\"]\n[White \"a\\\"b\\\\c d\"]\n[Black \"?\"]\n[Result \"*\"]\n\
         [SetUp \"1\"]\n[FEN \"4k3/8/8/8/8/8/4p3/1K6 b - - 7 50\"]\n\n50... e1=Q+ { [%clk 0:00:59.9] } *\n\n"
    );
    let again = one(&text);
    assert_eq!((again.start, again.moves[0].san), (start, san));
}

#[test]
fn clock_readings() {
    for (ms, text) in [
        (0, "0:00:00"),
        (298_000, "0:04:58"),
        (298_340, "0:04:58.3"),
        (298_099, "0:04:58"),
        (36_000_000, "10:00:00"),
    ] {
        assert_eq!(format_clk(ms), text);
    }
    for (text, ms) in [
        ("0:04:58", Some(298_000)),
        ("0:04:58.07", Some(298_070)),
        ("100:00:00", Some(360_000_000)),
    ] {
        assert_eq!(parse_clk(text), ms);
    }
    for wrong in [
        "",
        "4:58",
        "0:60:00",
        "0:00:60",
        "0:00:00.",
        "0:00:00.1234",
        "+0:00:01",
        "0:00:0١",
        "1:1:1:1",
        "99999999999:00:00",
    ] {
        assert_eq!(parse_clk(wrong), None, "{wrong}");
    }
}
