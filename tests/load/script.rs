//! Moves for the tables: real games, and where a run lasts longer than any game, quiet moves after its last position.

use anyhow::Context;
use rand::{SeedableRng, rngs::StdRng, seq::IndexedRandom};
use shared::{
    notation::pgn::{self, Pgn},
    rules::{Position, PositionKey, Status},
};
use std::{collections::HashMap, path::Path};

/// Half moves without capture or pawn move after which a pawn is moved: the rules end a game at 150.
const QUIET_MAX: u16 = 120;

/// How often a position may stand on the board: the rules end a game at the fifth time.
const REPEATS_MAX: u8 = 3;

/// How many half moves are taken back of a game that cannot go on.
const STEP_BACK: usize = 10;

/// The games that scripts are made of.
pub struct Library {
    games: Vec<Pgn>,
}

impl Library {
    pub fn open(path: &Path) -> anyhow::Result<Library> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let games: Vec<Pgn> = pgn::games(&text).collect::<Result<_, _>>()?;
        anyhow::ensure!(!games.is_empty(), "{} holds no game", path.display());
        Ok(Library { games })
    }

    /// The first `plies` moves of one of the games, in standard notation; made longer if it is shorter.
    pub fn script(&self, number: usize, plies: usize) -> Vec<String> {
        let game = &self.games[number % self.games.len()];
        let mut taken = game.moves.len().min(plies);
        loop {
            let mut moves: Vec<String> = Vec::with_capacity(plies);
            let mut position = game.start;
            let mut seen = HashMap::new();
            for played in &game.moves[..taken] {
                let Ok(next) = position.play(played.mv) else {
                    break;
                };
                moves.push(played.san.to_string());
                position = next;
                *seen.entry(position.key()).or_insert(0) += 1;
            }
            if moves.len() >= plies || go_on(position, &mut seen, &mut moves, plies, number) {
                return moves;
            }
            if taken == 0 {
                return moves;
            }
            taken = taken.saturating_sub(STEP_BACK);
        }
    }
}

/// Adds quiet moves until there are so many; false if it comes to an end before.
fn go_on(
    mut position: Position,
    seen: &mut HashMap<PositionKey, u8>,
    moves: &mut Vec<String>,
    plies: usize,
    seed: usize,
) -> bool {
    let mut random = StdRng::seed_from_u64(seed as u64);
    while moves.len() < plies {
        let pawns_turn = position.setup().halfmoves >= QUIET_MAX;
        let mut quiet = Vec::new();
        let mut others = Vec::new();
        for mv in position.legal_moves() {
            let Ok(next) = position.play(mv) else {
                continue;
            };
            let ends = next.status() != Status::Ongoing
                || next.is_insufficient_material()
                || next.setup().halfmoves > QUIET_MAX + 20
                || seen
                    .get(&next.key())
                    .is_some_and(|times| *times >= REPEATS_MAX);
            if ends {
                continue;
            }
            // Neither captures nor pawn moves: there are only so many of them.
            if next.setup().halfmoves > 0 {
                quiet.push((mv, next));
            } else {
                others.push((mv, next));
            }
        }
        let (first, second) = if pawns_turn {
            (&others, &quiet)
        } else {
            (&quiet, &others)
        };
        let Some((mv, next)) = first
            .choose(&mut random)
            .or_else(|| second.choose(&mut random))
        else {
            return false;
        };
        let Ok(san) = position.san(*mv) else {
            return false;
        };
        moves.push(san.to_string());
        position = *next;
        *seen.entry(position.key()).or_insert(0) += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::notation::parse_move;

    #[test]
    fn a_script_is_as_long_as_asked_for_and_legal() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/games.pgn");
        let library = Library::open(&path).expect("games");
        for (number, plies) in [(0, 5), (1, 150), (2, 800), (3, 800)] {
            let script = library.script(number, plies);
            assert_eq!(script.len(), plies);
            let mut position = library.games[number].start;
            let mut seen = HashMap::new();
            for text in script {
                let mv = parse_move(&position, &text).expect("legal");
                position = position.play(mv).expect("legal");
                assert_eq!(position.status(), Status::Ongoing);
                let times = seen.entry(position.key()).or_insert(0);
                *times += 1;
                assert!(*times < 5 && position.setup().halfmoves < 150);
            }
        }
    }
}
