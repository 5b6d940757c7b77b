//! Moments that chance seldom finds: two people, two nodes, and every instant at which the one can come upon the other.

use crate::{
    in_its_own_time,
    world::{SECRET, config},
};
use gateway::{
    connection::{Conn, Connection},
    identity::Tokens,
    node::Node,
    random::Random,
};
use pubsub::Embedded;
use serde_json::{Value, json};
use shared::{UserId, game::Player};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tests::faulty::{Faulty, Plan};
use tokio::time::sleep;

/// How long anybody may be left without word: the check of a quiet room, and what a call takes.
const PATIENCE: Duration = Duration::from_secs(40);

/// Somebody on one of the nodes.
struct Person {
    node: Arc<Node>,
    connection: Connection,
    conn: Arc<Conn>,
    heard: VecDeque<Value>,
}

impl Person {
    fn comes(name: &str, node: &Arc<Node>) -> Person {
        let player = Player {
            id: UserId::parse(name).unwrap(),
            name: name.to_owned(),
            is_guest: true,
        };
        let token = node.tokens.issue(&player);
        let (connection, conn) = Connection::open(node.clone(), player, token, Vec::new());
        Person {
            node: node.clone(),
            connection,
            conn,
            heard: VecDeque::new(),
        }
    }

    fn says(&mut self, kind: &str, payload: Value) {
        let text = json!({"type": kind, "payload": payload}).to_string();
        self.connection.text(&text, self.node.now());
    }

    /// The first message of that type, if it comes in time.
    async fn hears(&mut self, kind: &str) -> Option<Value> {
        let end = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < end {
            let mut frames = Vec::new();
            self.conn.outbox.collect(&mut frames);
            let heard = frames.iter().map(|frame| {
                let message: Value = serde_json::from_slice(frame.payload()).unwrap();
                message
            });
            self.heard.extend(heard);
            while let Some(message) = self.heard.pop_front() {
                if message["type"] == kind {
                    return Some(message["payload"].clone());
                }
            }
            sleep(Duration::from_millis(1)).await;
        }
        None
    }
}

/// Two nodes of one cluster, whose network is slow in the way that the seed says.
fn two_nodes(seed: u64) -> [Arc<Node>; 2] {
    let backplane = Arc::new(
        Embedded::new(pubsub::embedded::Options {
            seed: Some(seed),
            ..Default::default()
        })
        .unwrap(),
    );
    [0, 1].map(|index| {
        let slow = Plan {
            signal_delay: Duration::from_secs(2),
            call_delay: Duration::from_millis(100),
            ..Plan::calm(seed)
        };
        let wire = Arc::new(Faulty::new(backplane.clone(), slow, index));
        let random = Random::seeded(seed << 1 | index);
        let tokens = Tokens::new(&[SECRET.to_vec()], &[], &[]);
        Node::new(config(), format!("node-{index}"), wire, tokens, random)
    })
}

/// The guest's node takes the invitation away when the game begins. The inviter's node, which has just found no game, then
/// finds no invitation either.
#[test]
fn who_invites_is_told_of_the_game_whenever_the_guest_comes() {
    for seed in 0..200 {
        in_its_own_time(async {
            let [here, there] = two_nodes(seed);
            let mut alice = Person::comes("Alice", &here);
            let mut bob = Person::comes("Bob", &there);
            alice.says(
                "create_game",
                json!({"timeControl": null, "color": "white"}),
            );
            let added = alice.hears("game_added").await.unwrap();
            sleep(Duration::from_millis(seed * 3)).await;
            bob.says("join_game", json!({"gameId": added["gameId"]}));
            assert!(bob.hears("init_game").await.is_some(), "seed {seed}");
            let told = alice.hears("init_game").await;
            assert!(told.is_some(), "seed {seed}: the inviter waits for ever");
        });
    }
}

/// The same for one who comes to watch: he is let in, however late his node learns of the game.
#[test]
fn who_comes_as_a_game_begins_is_let_in() {
    for seed in 0..200 {
        in_its_own_time(async {
            let [here, there] = two_nodes(seed);
            let mut alice = Person::comes("Alice", &there);
            let mut bob = Person::comes("Bob", &there);
            let mut carol = Person::comes("Carol", &here);
            alice.says(
                "create_game",
                json!({"timeControl": null, "color": "white"}),
            );
            let added = alice.hears("game_added").await.unwrap();
            carol.says("join_room", json!({"gameId": added["gameId"]}));
            sleep(Duration::from_millis(seed * 3)).await;
            bob.says("join_game", json!({"gameId": added["gameId"]}));
            let told = carol.hears("game_joined").await;
            assert!(told.is_some(), "seed {seed}: {:?}", carol.heard);
        });
    }
}
