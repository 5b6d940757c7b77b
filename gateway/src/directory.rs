//! Games that run, for people who look for one to watch. Each node tells the others of the most watched that are open on it,
//! in a record that lapses with the node; whoever asks puts the records together. Nothing is kept that a room does not know.

use crate::node::{Node, key_of};
use bytes::Bytes;
use dashmap::DashMap;
use pubsub::{Answer, Put};
use shared::{GameId, protocol::http::LiveGame};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Games a node tells of, and an answer lists.
const GAMES_MAX: usize = 50;

/// How often a node tells.
const PERIOD: Duration = Duration::from_secs(2);

/// When a record that is not told again lapses.
const TTL: Duration = Duration::from_secs(10);

/// An answer is used again for this long, however many ask.
const CACHE: Duration = Duration::from_secs(1);

const NODES: &str = "live-nodes";

/// The running games open on this node, and the last answer for the whole cluster.
#[derive(Debug, Default)]
pub struct Directory {
    open: DashMap<GameId, LiveGame>,
    answer: Mutex<Option<(Instant, Arc<Vec<LiveGame>>)>>,
}

impl Directory {
    /// A running game as it stands now.
    pub fn list(&self, game: LiveGame) {
        self.open.insert(game.game_id.clone(), game);
    }

    /// The game is over, or not open here any more.
    pub fn unlist(&self, game: &GameId) {
        self.open.remove(game);
    }

    /// The most watched running games of the cluster.
    pub async fn most_watched(&self, node: &Node) -> Answer<Arc<Vec<LiveGame>>> {
        if let Some(answer) = self.cached() {
            return Ok(answer);
        }
        let mut games: HashMap<GameId, LiveGame> = HashMap::new();
        for other in node.backplane.set(NODES).await? {
            let record = node.backplane.get(&key_of("live", &[&other])).await?;
            let told: Vec<LiveGame> = record
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .unwrap_or_default();
            // Two nodes may tell of one game; who has seen more of it is right.
            for game in told {
                let known = games
                    .entry(game.game_id.clone())
                    .or_insert_with(|| game.clone());
                if (game.ply, game.viewers) > (known.ply, known.viewers) {
                    *known = game;
                }
            }
        }
        let answer = Arc::new(top(games.into_values()));
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), answer.clone()));
        Ok(answer)
    }

    fn cached(&self) -> Option<Arc<Vec<LiveGame>>> {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        answer
            .as_ref()
            .filter(|(made, _)| made.elapsed() < CACHE)
            .map(|(_, games)| games.clone())
    }
}

/// The most watched first; of equals the newest.
fn top(games: impl Iterator<Item = LiveGame>) -> Vec<LiveGame> {
    let mut games: Vec<LiveGame> = games.collect();
    games.sort_by(|a, b| {
        let rank = |game: &LiveGame| (game.viewers, game.started_at);
        rank(b)
            .cmp(&rank(a))
            .then_with(|| a.game_id.cmp(&b.game_id))
    });
    games.truncate(GAMES_MAX);
    games
}

/// Tells the others, until the node leaves.
pub async fn run(node: Arc<Node>) {
    let mut told = false;
    loop {
        tokio::select! {
            biased;
            () = node.leaving.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let games = top(node
            .directory
            .open
            .iter()
            .map(|entry| entry.value().clone()));
        if games.is_empty() && !told {
            continue;
        }
        told = !games.is_empty();
        if let Err(error) = tell(&node, &games).await {
            tracing::debug!(%error, "the list of running games is not told");
        }
    }
}

async fn tell(node: &Node, games: &[LiveGame]) -> Answer<()> {
    let record = Bytes::from(serde_json::to_vec(games).expect("no map keys or IO that could fail"));
    node.backplane
        .put(&key_of("live", &[&node.name]), record, TTL, Put::Replace)
        .await?;
    node.backplane.join_set(NODES, &node.name, TTL).await
}
