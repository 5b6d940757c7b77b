//! Every game of `tests/data`: real ones, and those made for rules that real games rarely reach.

use crate::data::file;
use serde_json::Value;
use shared::game::GameResult;
use shared::notation::pgn::{self, Pgn};
use shared::rules::{Position, PositionKey, Status};
use std::collections::HashMap;

fn read(path: &str) -> Vec<Pgn> {
    pgn::games(&file(path)).collect::<Result<_, _>>().unwrap()
}

fn words(text: &str) -> Vec<&str> {
    text.split_ascii_whitespace().collect()
}

/// The draw rules on the board after each ply, as the index names them.
fn draws(game: &Pgn) -> Vec<Vec<&'static str>> {
    let mut all = Vec::new();
    let mut seen: HashMap<PositionKey, u32> = HashMap::from([(game.start.key(), 1)]);
    let mut position = game.start;
    for mv in &game.moves {
        position = position.play(mv.mv).unwrap();
        let count = seen.entry(position.key()).or_insert(0);
        *count += 1;
        let reached = [
            ("threefold", *count >= 3),
            ("fivefold", *count >= 5),
            ("fifty", position.halfmoves() >= 100),
            ("seventyfive", position.halfmoves() >= 150),
            ("insufficient", position.is_insufficient_material()),
        ];
        all.push(
            reached
                .into_iter()
                .filter(|(_, reached)| *reached)
                .map(|(name, _)| name)
                .collect(),
        );
    }
    all
}

/// The ply at which each draw rule is first on the board.
pub fn first_draws(game: &Pgn) -> HashMap<&'static str, usize> {
    let mut first = HashMap::new();
    for (ply, names) in (1..).zip(draws(game)) {
        for name in names {
            first.entry(name).or_insert(ply);
        }
    }
    first
}

fn last(game: &Pgn) -> Position {
    game.moves
        .iter()
        .fold(game.start, |position, mv| position.play(mv.mv).unwrap())
}

/// What the board says must not contradict the result in the file.
fn check_result(game: &Pgn, id: &str) {
    let end = last(game);
    let expected = match end.status() {
        Status::Checkmate => GameResult::won_by(end.turn().other()),
        Status::Stalemate => GameResult::Draw,
        Status::Ongoing if end.is_insufficient_material() => GameResult::Draw,
        Status::Ongoing => return,
    };
    assert_eq!(game.result, expected, "{id}");
}

#[test]
fn real_games_replay_as_the_index_says() {
    let games = read("tests/data/games.pgn");
    let index: Vec<Value> = serde_json::from_str(&file("tests/data/games.index.json")).unwrap();
    assert_eq!((games.len(), index.len()), (580, 580));
    for (game, entry) in games.iter().zip(&index) {
        let id = entry["id"].as_str().unwrap();
        assert_eq!(game.tags.get("GameId"), Some(id));
        assert_eq!(
            game.moves.len() as u64,
            entry["plies"].as_u64().unwrap(),
            "{id}"
        );
        assert_eq!(
            game.result.as_str(),
            entry["result"].as_str().unwrap(),
            "{id}"
        );
        assert_eq!(
            last(game).fen(),
            entry["final_fen"].as_str().unwrap(),
            "{id}"
        );
        let first: HashMap<&str, usize> = entry["first"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_u64().unwrap() as usize))
            .collect();
        assert_eq!(first_draws(game), first, "{id}");
        check_result(game, id);
    }
}

#[test]
fn constructed_games_end_as_they_were_made_to() {
    let games = read("tests/data/constructed.pgn");
    assert_eq!(games.len(), 31);
    for game in &games {
        let id = game.tags.get("GameId").unwrap();
        let plies = game.moves.len();
        assert_eq!(
            Some(plies.to_string().as_str()),
            game.tags.get("PlyCount"),
            "{id}"
        );
        let first = first_draws(game);
        let end = last(game);
        match game.tags.get("ExpectedEnd").unwrap() {
            // The long game wanders far; in the others no draw is ever on the board.
            "none" if id == "C031" => assert!(!first.contains_key("fivefold")),
            "none" => assert!(first.is_empty(), "{id}: {first:?}"),
            "checkmate" => assert_eq!(end.status(), Status::Checkmate, "{id}"),
            "stalemate" => assert_eq!(end.status(), Status::Stalemate, "{id}"),
            // In C004 the kings' shuffle repeats one position at ply 12 and the one at the end at ply 14.
            "threefold" if id == "C004" => assert_eq!(
                (first["threefold"], &draws(game)[13][..]),
                (12, &["threefold"][..])
            ),
            rule => assert_eq!(first.get(rule), Some(&plies), "{id}: {first:?}"),
        }
        check_result(game, id);
    }
}

/// SAN, clock comments, tags and results come out as they stood in the file, word by word.
#[test]
fn written_games_are_the_files_again() {
    for path in ["tests/data/games.pgn", "tests/data/constructed.pgn"] {
        let written: String = read(path).iter().map(pgn::write).collect();
        let original = file(path);
        let (written_words, original_words) = (words(&written), words(&original));
        for (at, (ours, theirs)) in written_words.iter().zip(&original_words).enumerate() {
            assert_eq!(
                ours,
                theirs,
                "{path}: word {at}, after {:?}",
                &original_words[at.saturating_sub(20)..at]
            );
        }
        assert_eq!(written_words.len(), original_words.len(), "{path}");
        assert!(
            written
                .lines()
                .filter(|line| !line.starts_with('['))
                .all(|line| line.len() < 80),
            "{path}"
        );
    }
}

/// Every position on the way survives FEN and the packed key.
#[test]
fn every_position_survives_its_fen_and_its_key() {
    for game in read("tests/data/games.pgn")
        .iter()
        .chain(&read("tests/data/constructed.pgn"))
    {
        let mut position = game.start;
        for mv in &game.moves {
            position = position.play(mv.mv).unwrap();
            assert_eq!(Position::from_fen(&position.fen()), Ok(position));
            let setup = position
                .key()
                .setup(position.halfmoves(), position.fullmoves());
            assert_eq!(setup, position.setup());
        }
    }
}
