//! A scenario's stage: a cluster, those who come to it, and one witness of all they see. At the end everything seen is compared
//! with what every node says the logs hold.

use crate::{
    cluster::{Cluster, Doors, Node, Over, assert_no_panics},
    http,
    player::{Dial, Player},
    witness::Witness,
};
use std::{net::SocketAddr, sync::Arc};

/// A cluster and its people.
#[derive(Debug)]
pub struct Scene {
    /// The gateways.
    pub cluster: Cluster,
    /// What everybody saw.
    pub witness: Arc<Witness>,
    is_ended: bool,
}

/// Two players in a game.
#[derive(Debug)]
pub struct Game {
    /// Its id.
    pub id: String,
    /// Who has White.
    pub white: Player,
    /// Who has Black.
    pub black: Player,
    /// Half moves made by [`Game::plays`].
    pub plies: usize,
}

impl Game {
    /// Both make these moves in turn, without waiting to see the other's.
    pub async fn plays(&mut self, moves: &[&str]) {
        for mv in moves {
            self.mover().plays(mv).await;
            self.plies += 1;
        }
    }

    /// Whose turn it is.
    pub fn mover(&mut self) -> &mut Player {
        if self.plies.is_multiple_of(2) {
            &mut self.white
        } else {
            &mut self.black
        }
    }
}

impl Scene {
    /// So many gateways over that.
    pub async fn start(over: Over, nodes: usize) -> Scene {
        Scene::with(over, nodes, &[]).await
    }

    /// So many gateways over that, with these flags.
    pub async fn with(over: Over, nodes: usize, flags: &[&str]) -> Scene {
        Scene {
            cluster: Cluster::start(over, nodes, flags).await,
            witness: Arc::default(),
            is_ended: false,
        }
    }

    /// One of the gateways.
    pub fn node(&self, index: usize) -> &Node {
        self.cluster.node(index)
    }

    /// The public port of one of the gateways.
    pub fn door(&self, index: usize) -> SocketAddr {
        self.cluster.node(index).http
    }

    /// All open public ports, as they change.
    pub fn doors(&self) -> Doors {
        self.cluster.doors()
    }

    /// A new guest at that gateway.
    pub async fn player(&self, name: &str, node: usize) -> Player {
        Player::comes(name, self.door(node), self.witness.clone()).await
    }

    /// Somebody who connects in some special way.
    pub async fn dials(&self, name: &str, node: usize, dial: Dial) -> Player {
        Player::dials(name, self.door(node), self.witness.clone(), dial).await
    }

    /// Two new guests at those gateways in a game with that clock; White is at the first.
    pub async fn game(&self, time_control: &str, white: usize, black: usize) -> Game {
        let mut white = self.player("White", white).await;
        let mut black = self.player("Black", black).await;
        let id = self.seats(&mut white, &mut black, time_control).await;
        Game {
            id,
            white,
            black,
            plies: 0,
        }
    }

    /// Seats two players at a new game.
    pub async fn seats(&self, white: &mut Player, black: &mut Player, control: &str) -> String {
        let id = white.invites(control, "white").await;
        assert_eq!(black.accepts(&id).await, "black");
        assert_eq!(white.starts().await, "white");
        id
    }

    /// The log of a game as a node tells it, line by line, and its life.
    pub async fn log(&self, node: usize, game: &str) -> (String, Vec<String>) {
        log_at(self.door(node), game).await
    }

    /// The end: every node has the same logs, they fold, and they hold all that anybody saw or was promised.
    pub async fn ends(mut self) {
        self.is_ended = true;
        for game in self.witness.games() {
            let mut told: Option<(String, Vec<String>)> = None;
            for node in self.cluster.living() {
                let log = log_at(node.http, &game).await;
                self.witness.compare(&game, &log.0, &log.1);
                let first = told.get_or_insert_with(|| log.clone());
                assert_eq!(*first, log, "{} has another log of {game}", node.name);
            }
        }
        self.witness.assert_clean();
        assert_no_panics();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.is_ended, "a scenario ends with `scene.ends()`");
        }
    }
}

/// The log of a game as the node behind that door tells it, and its life.
pub(crate) async fn log_at(door: SocketAddr, game: &str) -> (String, Vec<String>) {
    let reply = http::get(door, &format!("/api/games/{game}/events")).await;
    assert_eq!(reply.status, 200, "{game}: {}", reply.text());
    let epoch = reply.header("x-rookery-epoch").expect("an epoch");
    (epoch.to_owned(), reply.lines())
}
