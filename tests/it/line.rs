//! Long games that nobody has to think about.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use shared::rules::{Position, Status};
use std::{collections::HashMap, time::Duration};
use tests::{
    cluster::Doors,
    player::Player,
    scene::{Game, Scene},
};

/// So many legal moves in UCI, the same for the same seed, none of which ends the game.
pub fn random_line(seed: u64, plies: usize) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut position = Position::initial();
    let mut stood: HashMap<String, u32> = HashMap::new();
    let mut line = Vec::new();
    while line.len() < plies {
        let mut moves: Vec<_> = position.legal_moves().collect();
        let next = loop {
            assert!(!moves.is_empty(), "seed {seed} ends after {}", line.len());
            let mv = moves.swap_remove(rng.random_range(0..moves.len()));
            let after = position.play(mv).unwrap();
            let board = after.fen().split(' ').take(4).collect::<Vec<_>>().join(" ");
            let goes_on = after.status() == Status::Ongoing
                && !after.is_insufficient_material()
                && after.halfmoves() < 140
                && stood.get(&board).copied().unwrap_or(0) < 4;
            if goes_on {
                *stood.entry(board).or_default() += 1;
                break (mv, after);
            }
        };
        line.push(next.0.to_string());
        position = next.1;
    }
    line
}

/// A game whose players go on whatever becomes of the nodes they are on.
pub struct SteadyGame {
    pub game: Game,
    line: Vec<String>,
    /// Time between seeing a move and answering it.
    thinking: Duration,
}

impl SteadyGame {
    pub async fn begin(scene: &Scene, seed: u64, plies: usize, thinking: Duration) -> SteadyGame {
        let nodes = scene.cluster.living().count();
        let (white, black) = (seed as usize % nodes, (seed as usize + 1) % nodes);
        SteadyGame {
            game: scene.game(tests::player::UNTIMED, white, black).await,
            line: random_line(seed, plies),
            thinking,
        }
    }

    /// Plays the whole line. Answers the longest that a move took to be acknowledged.
    pub async fn play(&mut self, doors: &Doors) -> Duration {
        let Game { white, black, .. } = &mut self.game;
        let (one, other) = tokio::join!(
            side(white, doors, &self.line, 0, self.thinking),
            side(black, doors, &self.line, 1, self.thinking)
        );
        one.max(other)
    }
}

async fn side(
    player: &mut Player,
    doors: &Doors,
    line: &[String],
    first: usize,
    thinking: Duration,
) -> Duration {
    let mut longest = Duration::ZERO;
    for ply in (first..line.len()).step_by(2) {
        player.awaits_ply(doors, ply).await;
        tokio::time::sleep(thinking).await;
        let took = player.insists(doors, &line[ply], ply as u64 + 1).await;
        longest = longest.max(took);
    }
    player.awaits_ply(doors, line.len()).await;
    longest
}

/// Watches a game to that ply, whatever becomes of the node.
pub async fn watch(player: &mut Player, doors: &Doors, game: &str, plies: usize) {
    player.watches(game).await;
    player.awaits_ply(doors, plies).await;
}
