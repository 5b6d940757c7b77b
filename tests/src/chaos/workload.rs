//! Games from real scores, each played by two people and watched by a third, on whatever gateway they find. When a connection
//! ends, or the servers cannot be reached, they come back and ask again for what they have no answer to.

use super::tape::{Entry, Tape};
use crate::{
    cluster::{Doors, PATIENCE},
    player::{Dial, Player},
    witness::Witness,
};
use serde_json::{Value, json};
use shared::{Color, game::GameResult, notation::pgn::Pgn};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    task::JoinHandle,
    time::{sleep, sleep_until},
};

/// Pause before asking again.
const PAUSE: Duration = Duration::from_millis(50);

/// Clocks that no fault is long enough to run down.
const CONTROL: [i64; 2] = [10_800_000, 1_000];

/// The games.
pub struct Workload {
    tables: Vec<(Arc<Table>, JoinHandle<()>)>,
    ending: Arc<AtomicBool>,
    tapes: Vec<Arc<Tape>>,
}

/// Two players and a watcher.
#[derive(Debug, Default)]
struct Table {
    /// In the order they were made.
    made: Mutex<Vec<Made>>,
    /// What is played in which game, in SAN.
    scores: Mutex<BTreeMap<String, Vec<String>>>,
}

/// One move, as its players lived it.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// When it was asked for, the first time.
    pub begun: Instant,
    /// When the mover had its acknowledgement.
    pub acknowledged: Instant,
    /// When the opponent had seen it as well.
    pub seen: Instant,
}

struct People {
    white: Player,
    black: Player,
    watcher: Player,
}

impl Workload {
    /// Begins so many games.
    pub async fn begin(
        scores: &[Arc<Pgn>],
        games: usize,
        pace: Duration,
        doors: &Doors,
        seed: u64,
    ) -> Workload {
        let ending = Arc::<AtomicBool>::default();
        let (mut tables, mut tapes) = (Vec::new(), Vec::new());
        for number in 0..games {
            let mut come = async |role: &str| {
                let tape = Arc::new(Tape::new(&format!("{role} {number}")));
                tapes.push(tape.clone());
                let dial = Dial {
                    tape: Some(tape.clone()),
                    ..Dial::default()
                };
                let open = doors.open();
                let door = open[tapes.len() % open.len()];
                Player::dials(&tape.name, door, Arc::<Witness>::default(), dial).await
            };
            let people = People {
                white: come("White").await,
                black: come("Black").await,
                watcher: come("Watcher").await,
            };
            let table = Arc::<Table>::default();
            // Other scores with other seeds, never the same two at once.
            let first = (seed as usize).wrapping_mul(31).wrapping_add(number);
            let order = (0..).map(|turn| first.wrapping_add(turn * games) % scores.len());
            let order = order.map(|index| scores[index].clone()).take(scores.len());
            let playing =
                table
                    .clone()
                    .play(people, order.collect(), pace, doors.clone(), ending.clone());
            tables.push((table, tokio::spawn(playing)));
        }
        Workload {
            tables,
            ending,
            tapes,
        }
    }

    /// Waits until each game has had a move that was begun after `from`, acknowledged, and seen by the opponent; answers how
    /// long after `from` the last of them was.
    pub async fn all_move(&self, from: Instant) -> Duration {
        let end = Instant::now() + 2 * PATIENCE;
        let mut longest = Duration::ZERO;
        for (number, (table, task)) in self.tables.iter().enumerate() {
            longest = loop {
                if let Some(made) = table.first_after(from) {
                    break longest.max(made.seen - from);
                }
                assert!(!task.is_finished(), "game {number} ended");
                assert!(Instant::now() < end, "game {number} does not go on");
                sleep(Duration::from_millis(2)).await;
            };
        }
        longest
    }

    /// All moves so far, game by game.
    pub fn made(&self) -> Vec<Made> {
        let made = self.tables.iter();
        made.flat_map(|(table, _)| lock(&table.made).clone())
            .collect()
    }

    /// Ends all games where they are; answers the tapes, and what was played in each game.
    pub async fn end(self) -> (BTreeMap<String, Vec<Entry>>, BTreeMap<String, Vec<String>>) {
        self.ending.store(true, Ordering::SeqCst);
        let mut scores = BTreeMap::new();
        for (table, task) in self.tables {
            task.await.expect("a game's players failed");
            scores.append(&mut lock(&table.scores));
        }
        let tapes = self.tapes.iter();
        let tapes = tapes.map(|tape| (tape.name.clone(), tape.entries()));
        (tapes.collect(), scores)
    }
}

impl Table {
    /// The first move that was begun after that moment and is seen.
    fn first_after(&self, from: Instant) -> Option<Made> {
        let made = lock(&self.made);
        let place = made.partition_point(|made| made.begun <= from);
        made.get(place).copied()
    }

    async fn play(
        self: Arc<Table>,
        mut people: People,
        scores: Vec<Arc<Pgn>>,
        pace: Duration,
        doors: Doors,
        ending: Arc<AtomicBool>,
    ) {
        let mut due = Instant::now();
        for (turn, score) in scores.iter().enumerate() {
            let game = people.sit_down(&doors, turn).await;
            let sans = score.moves.iter().map(|mv| mv.san.to_string()).collect();
            lock(&self.scores).insert(game, sans);
            for (place, mv) in score.moves.iter().enumerate() {
                if ending.load(Ordering::SeqCst) {
                    return people.see_it_all(&doors, place).await;
                }
                // What was held up is not made up for.
                due = (due + pace).max(Instant::now());
                sleep_until(due.into()).await;
                let ply = place as u64 + 1;
                let People { white, black, .. } = &mut people;
                let (mover, other) = match Color::of_ply(place as u32 + 1) {
                    Color::White => (white, black),
                    Color::Black => (black, white),
                };
                let request = json!({"gameId": mover.game, "move": mv.san.to_string(), "ply": ply});
                let begun = Instant::now();
                let answer = insists(mover, &doors, "move", request, true).await;
                let acknowledged = Instant::now();
                if answer["payload"]["code"] == "game_over" {
                    // The rules ended it with the move before.
                    break;
                }
                assert_eq!(answer["type"], "ack", "{}: {answer}", mover.name);
                other.awaits_ply(&doors, place + 1).await;
                lock(&self.made).push(Made {
                    begun,
                    acknowledged,
                    seen: Instant::now(),
                });
            }
            people.conclude(&doors, score.result).await;
        }
        panic!("there are no more scores");
    }
}

impl People {
    /// A new game by invitation.
    async fn sit_down(&mut self, doors: &Doors, turn: usize) -> String {
        let People {
            white,
            black,
            watcher,
        } = self;
        let control = json!({"initialMs": CONTROL[0], "incrementMs": CONTROL[1]});
        let mut attempt = 0;
        let game = loop {
            let key = format!("game {turn}, attempt {attempt}");
            let create = json!({"timeControl": control, "color": "white", "key": key});
            let added = insists(white, doors, "create_game", create, false).await;
            let game = added["payload"]["gameId"].as_str();
            let game = game.unwrap_or_else(|| panic!("{added}")).to_owned();
            let join = json!({"gameId": game});
            let begins = insists(black, doors, "join_game", join, false).await;
            if begins["type"] == "init_game" {
                break game;
            }
            // An invitation is no more than a record, and lost with Redis' data.
            assert_eq!(begins["type"], "game_not_found", "{begins}");
            attempt += 1;
            assert!(attempt < 10, "no invitation is found");
        };
        let the_game = json!({"gameId": game});
        for player in [white, watcher] {
            let joined = insists(player, doors, "join_room", the_game.clone(), false).await;
            assert_eq!(joined["type"], "game_joined", "{joined}");
        }
        for player in [&mut self.white, &mut self.black, &mut self.watcher] {
            player.game = game.clone();
        }
        game
    }

    /// What stands in the score.
    async fn conclude(&mut self, doors: &Doors, result: GameResult) {
        let game = json!({"gameId": self.white.game});
        match result {
            GameResult::BlackWins => {
                insists(&mut self.white, doors, "resign", game.clone(), true).await;
            }
            GameResult::Draw => {
                insists(&mut self.white, doors, "offer_draw", game.clone(), true).await;
                insists(&mut self.black, doors, "accept_draw", game.clone(), true).await;
            }
            _ => drop(insists(&mut self.black, doors, "resign", game.clone(), true).await),
        }
        // Rooms are left behind, or there would be too many.
        for player in [&mut self.white, &mut self.black, &mut self.watcher] {
            insists(player, doors, "leave_room", game.clone(), true).await;
            player.forgets();
        }
    }

    async fn see_it_all(&mut self, doors: &Doors, plies: usize) {
        for player in [&mut self.white, &mut self.black, &mut self.watcher] {
            player.awaits_ply(doors, plies).await;
        }
    }
}

/// Asks until there is an answer other than "ask again", over as many connections as that takes; `in_room` says that he comes
/// back to his room first.
async fn insists(
    player: &mut Player,
    doors: &Doors,
    kind: &str,
    payload: Value,
    in_room: bool,
) -> Value {
    let end = Instant::now() + 2 * PATIENCE;
    loop {
        assert!(Instant::now() < end, "{}: {kind} {payload}", player.name);
        if in_room {
            player.keeps_connected(doors).await;
        } else {
            player.keeps_a_connection(doors).await;
        }
        match player.try_ask(kind, payload.clone()).await {
            Some(answer) if answer["payload"]["retryable"] == true => sleep(PAUSE).await,
            Some(answer) => return answer,
            None => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
