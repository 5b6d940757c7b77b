//! Answers questions about games on standard input, for the comparison with python-chess in `tests/oracle`.
//!
//! A question is one line. `fen FEN` asks whether the text is a position. `game FEN uci uci …` plays a game and tells of
//! each position on the way, the start included, one line each, cells between tabs: FEN; what ended the game, or `-`;
//! `+` if in check; `W` and `B` for the sides without material to mate; the draw that can be claimed, or `-`; all legal
//! moves as `uci san`, with the draw that can be claimed with that move, sorted and joined by commas. An empty line ends
//! an answer.
#![allow(clippy::unwrap_used)]

use shared::game::{
    Action, Command, Decision, Event, EventBody, Game, GameCreated, MoveInput, Player, Reason,
};
use shared::rules::{Move, Position};
use shared::{Color, GameId, Timestamp, UserId};
use std::io::{BufRead, Write};

fn main() {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (kind, rest) = line.split_once(' ').unwrap();
        match kind {
            "fen" => match Position::from_fen(rest) {
                Ok(position) => writeln!(out, "{}", position.fen()).unwrap(),
                Err(error) => writeln!(out, "{error:?}").unwrap(),
            },
            "game" => tell(rest, &mut out),
            other => panic!("no such question: {other}"),
        }
        writeln!(out).unwrap();
        out.flush().unwrap();
    }
}

/// The FEN's six fields, then the moves.
fn tell(rest: &str, out: &mut impl Write) {
    let (at, _) = rest.match_indices(' ').nth(5).unwrap_or((rest.len(), ""));
    let mut game = Game::start(&created(&rest[..at])).unwrap();
    describe(&game, out);
    for uci in rest[at..].split_ascii_whitespace() {
        let mv = uci.parse::<Move>().unwrap();
        let command = Command::Move {
            by: game.turn(),
            mv: MoveInput::Squares(mv),
            ply: None,
            seen: None,
        };
        let Ok(Decision::Append {
            events,
            refused: None,
        }) = game.decide(&command, Timestamp(0))
        else {
            writeln!(out, "refused {uci}").unwrap();
            return;
        };
        events.iter().for_each(|event| game.apply(event).unwrap());
        describe(&game, out);
    }
}

fn created(fen: &str) -> Event {
    let player = |id: &str| Player {
        id: UserId::parse(id).unwrap(),
        name: id.to_owned(),
        is_guest: false,
    };
    let created = GameCreated {
        game_id: GameId::parse("oracle").unwrap(),
        white_player: player("white"),
        black_player: player("black"),
        time_control: None,
        fen: fen.to_owned(),
        unlisted: false,
    };
    Game::create(created, Timestamp(0))
}

fn describe(game: &Game, out: &mut impl Write) {
    let position = game.position();
    let over = game.over().map_or("-".to_owned(), |over| name(over.reason));
    let check = if position.is_check() { "+" } else { "" };
    let bare = |color, letter| {
        if position.has_insufficient_material(color) {
            letter
        } else {
            ""
        }
    };
    let mut moves: Vec<String> = position
        .legal_moves()
        .map(|mv| {
            let claim = claim(game, Some(mv));
            format!(
                "{mv} {}{}",
                position.san(mv).unwrap(),
                claim.map_or(String::new(), |name| format!(" {name}"))
            )
        })
        .collect();
    moves.sort_unstable();
    writeln!(
        out,
        "{}\t{over}\t{check}\t{}{}\t{}\t{}",
        position.fen(),
        bare(Color::White, "W"),
        bare(Color::Black, "B"),
        claim(game, None).unwrap_or("-".to_owned()),
        moves.join(",")
    )
    .unwrap();
}

fn claim(game: &Game, mv: Option<Move>) -> Option<String> {
    let action = Action::ClaimDraw {
        mv: mv.map(MoveInput::Squares),
    };
    let command = Command::Act {
        by: game.turn(),
        action,
        offer: None,
    };
    let Ok(Decision::Append { events, .. }) = game.decide(&command, Timestamp(0)) else {
        return None;
    };
    events.iter().find_map(|event| match &event.body {
        EventBody::GameOver(over) => Some(name(over.reason)),
        _ => None,
    })
}

fn name(reason: Reason) -> String {
    serde_json::to_value(reason)
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}
