//! The hostile run in short: `make hostile` is the long one.

use crate::scenarios;
use shared::notation::pgn;
use std::{sync::Arc, time::Duration};
use tests::{
    cluster::Over,
    hostile::{Plan, run},
};

scenarios![only Processes as processes: canaries_live_through_a_thousand_attacks];

async fn canaries_live_through_a_thousand_attacks(_over: Over) {
    let text = include_str!("../data/games.pgn");
    let games = pgn::games(text)
        .take(20)
        .map(|game| Arc::new(game.unwrap()));
    let plan = Plan {
        seed: 20_261_125,
        attacks: 1_000,
        attackers: 12,
        half_open: 60,
        canaries: 3,
        pace: Duration::from_millis(30),
    };
    let outcome = run(plan, games.collect()).await;
    let outcome = outcome.unwrap_or_else(|error| panic!("{error:#}"));
    println!("{outcome}");
    assert_eq!(outcome.answers.values().sum::<usize>(), plan.attacks);
    assert!(outcome.moves > 0 && outcome.games >= plan.canaries);
}
