//! Runs the games told in `shared/tests/data/game/*.txt`.
//!
//! A scenario begins with `== name`, then `clock 300+5` (seconds; untimed if left out) and `fen …` if it needs them. Then:
//!
//! ```text
//! moves e4 e5 Nf3                    moves of both sides, one second each, which must be accepted
//! +2.5 white move Nc6 -> …           after 2.5 s White asks for a move; `ply=` and `seen=` may follow it
//! +0 black offer_draw seq=4 -> …     and so on: every action of the wire by its name
//! @70 server deadline -> …           70 s after the start; also `server abort`, `server credit MS`
//! is deadline 35 | clock 299 300 | fen … | plies 3 | turn black | draw_offer white | over 1-0 timeout …
//! ```
//!
//! After the arrow stands what follows: events (`move 3 Nf3`, `draw_offered white`, `game_over 1-0 timeout` …), several
//! joined by `, `; `already SEQ`; `nothing`; or a refusal `!code`, after events if the command brought some to light.
//! Each game is also checked for what must hold for all: its events survive their encoding, and any part of the log and
//! then the rest fold to the same game.

use crate::data::file;
use crate::fold::check_log;
use shared::game::{
    Action, Command, Decision, Event, EventBody, Game, GameCreated, MoveInput, Player, Rejection,
    TimeControl,
};
use shared::{Color, GameId, Seq, Timestamp, UserId};

/// Games begin at a moment that is no round number.
const START_MS: i64 = 1_750_000_000_123;

pub fn player(name: &str) -> Player {
    Player {
        id: UserId::parse(name).unwrap(),
        name: name.to_uppercase(),
        is_guest: false,
    }
}

pub fn new_game(time_control: Option<TimeControl>, fen: &str) -> Event {
    let created = GameCreated {
        game_id: GameId::parse("game1").unwrap(),
        white_player: player("anna"),
        black_player: player("boris"),
        time_control,
        fen: fen.to_owned(),
        unlisted: false,
    };
    Game::create(created, Timestamp(START_MS))
}

pub const INITIAL_FEN: &str = "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1";

#[test]
fn games_go_as_told() {
    let mut scenarios = 0;
    for name in [
        "moves",
        "clocks",
        "draws",
        "takebacks",
        "endings",
        "rematches",
    ] {
        let path = format!("shared/tests/data/game/{name}.txt");
        let text = file(&path);
        let mut told: Option<Told> = None;
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            let place = format!("{path}:{number}: {line}");
            if let Some(_title) = line.strip_prefix("== ") {
                finish(told.replace(Told::default()));
                scenarios += 1;
            } else if !line.is_empty() && !line.starts_with('#') {
                told.as_mut()
                    .expect("a scenario has a title")
                    .line(line, &place);
            }
        }
        finish(told);
    }
    assert!(scenarios >= 60, "{scenarios} scenarios");
}

fn finish(told: Option<Told>) {
    if let Some(told) = told {
        check_log(&told.log);
    }
}

#[derive(Default)]
struct Told {
    time_control: Option<TimeControl>,
    fen: Option<String>,
    game: Option<Game>,
    log: Vec<Event>,
    now_ms: i64,
}

impl Told {
    fn game(&mut self) -> &mut Game {
        if self.game.is_none() {
            let first = new_game(
                self.time_control,
                self.fen.as_deref().unwrap_or(INITIAL_FEN),
            );
            self.game = Some(Game::start(&first).unwrap());
            self.log.push(first);
        }
        self.game.as_mut().unwrap()
    }

    fn line(&mut self, line: &str, place: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "clock" => {
                let (initial, increment) = rest.split_once('+').unwrap();
                self.time_control = Some(TimeControl {
                    initial_ms: ms(initial),
                    increment_ms: ms(increment),
                });
            }
            "fen" => self.fen = Some(rest.to_owned()),
            "moves" => {
                for san in rest.split(' ') {
                    self.now_ms += 1000;
                    let by = self.game().turn();
                    let mv = MoveInput::Text(san.to_owned());
                    let answer = self.run(&Command::Move {
                        by,
                        mv,
                        ply: None,
                        seen: None,
                    });
                    assert!(answer.starts_with("move "), "{place}: {san}: {answer}");
                }
            }
            "is" => self.state(rest, place),
            time => {
                match time.split_at(1) {
                    ("+", seconds) => self.now_ms += ms(seconds),
                    ("@", seconds) => self.now_ms = ms(seconds),
                    _ => panic!("{place}: not a line"),
                }
                let (asked, expected) = rest
                    .split_once(" -> ")
                    .unwrap_or_else(|| panic!("{place}: no answer"));
                let command = self.command(asked, place);
                assert_eq!(self.run(&command), expected, "{place}");
            }
        }
    }

    fn run(&mut self, command: &Command) -> String {
        let at = Timestamp(START_MS + self.now_ms);
        let decision = self.game().decide(command, at);
        match decision {
            Err(rejection) => refusal(&rejection),
            Ok(Decision::Nothing) => "nothing".to_owned(),
            Ok(Decision::Already { seq }) => format!("already {seq}"),
            Ok(Decision::Append { events, refused }) => {
                let deadline = self.game().deadline_after(&events);
                let mut words: Vec<String> = events.iter().map(describe).collect();
                words.extend(refused.as_ref().map(refusal));
                for event in events {
                    self.game().apply(&event).unwrap();
                    self.log.push(event);
                }
                assert_eq!(
                    self.game().next_deadline(),
                    deadline,
                    "deadline_after foretells next_deadline"
                );
                words.join(", ")
            }
        }
    }

    fn state(&mut self, rest: &str, place: &str) {
        let game = self.game();
        let color =
            |color: Option<Color>| color.map_or("none".to_owned(), |color| color.to_string());
        let (what, expected) = rest.split_once(' ').unwrap();
        let seconds = |ms: i64| format!("{}", ms as f64 / 1000.0);
        let actual = match what {
            "deadline" => game
                .next_deadline()
                .map_or("none".into(), |at| seconds(at.0 - START_MS)),
            "clock" => game.clock().map_or("none".into(), |c| {
                format!("{} {}", seconds(c.white_ms), seconds(c.black_ms))
            }),
            "clock_at" => seconds(game.clock_at().0 - START_MS),
            "fen" => game.fen(),
            "plies" => game.plies().to_string(),
            "turn" => game.turn().to_string(),
            "draw_offer" => color(game.draw_offer()),
            "takeback_offer" => color(game.takeback_offer()),
            "rematch_offer" => color(game.rematch_offer()),
            "rematch_game" => game
                .rematch_game_id()
                .map_or("none".into(), ToString::to_string),
            "over" => game.over().map_or("none".into(), |over| {
                describe_end(over.result.as_str(), &over.reason)
            }),
            _ => panic!("{place}: no such state"),
        };
        assert_eq!(actual, expected, "{place}");
    }

    fn command(&self, asked: &str, place: &str) -> Command {
        let mut words: Vec<&str> = asked.split(' ').collect();
        let mut option = |name: &str| -> Option<u64> {
            let at = words.iter().position(|word| word.starts_with(name))?;
            Some(words.remove(at)[name.len()..].parse().unwrap())
        };
        let (ply, seen, seq, away) = (
            option("ply="),
            option("seen="),
            option("seq="),
            option("away="),
        );
        let mv = |words: &[&str]| words.first().map(|text| input(text));
        let by = match words[0] {
            "white" => Color::White,
            "black" => Color::Black,
            _ => {
                return match words[1..] {
                    ["deadline"] => Command::CheckDeadline,
                    ["abort"] => Command::ServerAbort,
                    ["credit", ms] => Command::CreditClock {
                        ms: ms.parse().unwrap(),
                    },
                    _ => panic!("{place}: no such command"),
                };
            }
        };
        let new_game_id = GameId::parse("game2").unwrap();
        let action = match words[1] {
            "move" => {
                let ply = ply.map(|ply| ply as u32);
                return Command::Move {
                    by,
                    mv: mv(&words[2..]).unwrap(),
                    ply,
                    seen,
                };
            }
            "resign" => Action::Resign,
            "abort" => Action::Abort,
            "offer_draw" => Action::OfferDraw,
            "accept_draw" => Action::AcceptDraw,
            "decline_draw" => Action::DeclineDraw,
            "claim_draw" => Action::ClaimDraw {
                mv: mv(&words[2..]),
            },
            "claim_victory" => {
                let away_ms = away.map(|seconds| seconds as i64 * 1000);
                Action::ClaimVictory {
                    absent_since: away_ms.map(|away| Timestamp(START_MS + self.now_ms - away)),
                }
            }
            "offer_takeback" => Action::OfferTakeback,
            "accept_takeback" => Action::AcceptTakeback,
            "decline_takeback" => Action::DeclineTakeback,
            "offer_rematch" => Action::OfferRematch { new_game_id },
            "accept_rematch" => Action::AcceptRematch { new_game_id },
            "decline_rematch" => Action::DeclineRematch,
            _ => panic!("{place}: no such action"),
        };
        Command::Act {
            by,
            action,
            offer: seq as Option<Seq>,
        }
    }
}

/// `[e2e4]` is a move by its squares, all else is text.
fn input(text: &str) -> MoveInput {
    match text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
    {
        Some(squares) => MoveInput::Squares(squares.parse().unwrap()),
        None => MoveInput::Text(text.to_owned()),
    }
}

fn ms(seconds: &str) -> i64 {
    (seconds.parse::<f64>().unwrap() * 1000.0).round() as i64
}

fn describe(event: &Event) -> String {
    let kind = serde_json::to_value(&event.body).unwrap()["type"]
        .as_str()
        .unwrap()
        .to_owned();
    match &event.body {
        EventBody::Move(moved) => format!("{kind} {} {}", moved.ply, moved.mv.san),
        EventBody::Takeback(takeback) => format!("{kind} {}", takeback.ply),
        EventBody::ClockCredited(credited) => format!("{kind} {} {}", credited.color, credited.ms),
        EventBody::GameOver(over) => format!(
            "{kind} {}",
            describe_end(over.result.as_str(), &over.reason)
        ),
        EventBody::Rematch(rematch) => {
            format!(
                "{kind} {} {}-{}",
                rematch.new_game_id, rematch.white_player.name, rematch.black_player.name
            )
        }
        EventBody::GameCreated(_) => kind,
        EventBody::DrawOffered(by)
        | EventBody::DrawDeclined(by)
        | EventBody::TakebackOffered(by)
        | EventBody::TakebackDeclined(by)
        | EventBody::RematchOffered(by)
        | EventBody::RematchDeclined(by) => format!("{kind} {}", by.by),
    }
}

fn describe_end(result: &str, reason: &shared::game::Reason) -> String {
    format!(
        "{result} {}",
        serde_json::to_value(reason).unwrap().as_str().unwrap()
    )
}

fn refusal(rejection: &Rejection) -> String {
    match rejection {
        Rejection::NotYourTurn => "!not_your_turn",
        Rejection::IllegalMove(_) => "!illegal_move",
        Rejection::StalePly(_) => "!stale_ply",
        Rejection::GameOver => "!game_over",
        Rejection::TooEarly(_) => "!too_early",
        Rejection::TooLate(_) => "!too_late",
        Rejection::NoOffer => "!no_offer",
        Rejection::NoClaim(_) => "!no_claim",
    }
    .to_owned()
}
