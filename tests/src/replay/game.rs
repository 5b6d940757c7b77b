//! One game, from the invitation to the comparison of its PGN.

use super::{
    Figures,
    seat::{Seat, is_over},
};
use crate::http;
use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use shared::{
    Color,
    game::GameResult,
    notation::pgn::{self, Pgn},
};
use std::{net::SocketAddr, time::Duration};
use tokio::time::Instant;

/// Which gateways a game is played on.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// White's.
    pub white: SocketAddr,
    /// Black's.
    pub black: SocketAddr,
    /// The watcher's, where there is one: then the game is compared too.
    pub watcher: Option<SocketAddr>,
}

/// How it went.
#[derive(Debug, Clone, Copy)]
pub struct Played {
    /// The rules ended it before its last move.
    pub ended_early: bool,
}

/// Plays a game as it was played, and brings its result about; then compares what a third gateway exports with it.
pub async fn play(
    game: &Pgn,
    table: Table,
    pace: Duration,
    figures: &Figures,
    mut moved: impl FnMut(),
) -> anyhow::Result<Played> {
    let mut seats = [
        Seat::take(table.white).await?,
        Seat::take(table.black).await?,
    ];
    let added = seats[0]
        .asks(
            "create_game",
            json!({"color": "white", "timeControl": null}),
        )
        .await?;
    let id = added["payload"]["gameId"]
        .as_str()
        .context("no gameId")?
        .to_owned();
    seats[1].asks("join_game", json!({"gameId": id})).await?;
    seats[0]
        .until(|message| message["type"] == "init_game")
        .await?;
    let mut watcher = match table.watcher {
        Some(door) => {
            let mut watcher = Seat::take(door).await?;
            let joined = watcher.asks("join_room", json!({"gameId": id})).await?;
            ensure!(
                joined["type"] == "game_joined" && joined["payload"]["seq"] == 0,
                "the watcher got {joined}"
            );
            Some(watcher)
        }
        None => None,
    };
    let mut plies = 0;
    for (place, mv) in game.moves.iter().enumerate() {
        if !pace.is_zero() {
            tokio::time::sleep(pace).await;
        }
        let (mover, other) = split(&mut seats, Color::of_ply(place as u32 + 1));
        let sent = Instant::now();
        let request = mover
            .ask(
                "move",
                json!({"gameId": id, "move": mv.san.to_string(), "ply": place + 1}),
            )
            .await?;
        let acknowledged = async {
            let answer = mover.answer(request).await?;
            anyhow::Ok((answer, Instant::now()))
        };
        let (acknowledged, heard) = tokio::join!(acknowledged, other.hears_event(place as u64 + 1));
        let (answer, acknowledged) = match acknowledged {
            // The rules ended it with the move before; the opponent heard that instead of a move.
            Err(error) if is_over(&error) => break,
            answered => answered.with_context(|| format!("ply {}: {}", place + 1, mv.san))?,
        };
        ensure!(
            answer["payload"]["seq"] == place as u64 + 1,
            "ply {} is not event {}: {answer}",
            place + 1,
            place + 1
        );
        figures.moved(acknowledged - sent, heard? - sent);
        if let Some(watcher) = &mut watcher {
            // Reading along, he answers pings too.
            let heard = watcher.hears_event(place as u64 + 1).await;
            heard.context("the watcher")?;
        }
        plies = place + 1;
        moved();
    }
    match conclude(&mut seats, &id, game.result).await {
        // The board has ended it already.
        Err(error) if is_over(&error) => {}
        concluded => concluded?,
    }
    let Some(watcher) = &mut watcher else {
        return Ok(Played {
            ended_early: plies < game.moves.len(),
        });
    };
    while over(watcher).is_none() {
        let next = watcher.events.len() as u64 + 1;
        watcher.hears_event(next).await.context("the watcher")?;
    }
    let door = table.watcher.context("a watcher has a door")?;
    compare(
        game,
        plies,
        &http::get(door, &format!("/api/games/{id}/pgn"))
            .await
            .text(),
    )?;
    Ok(Played {
        ended_early: plies < game.moves.len(),
    })
}

fn split(seats: &mut [Seat; 2], mover: Color) -> (&mut Seat, &mut Seat) {
    let [white, black] = seats;
    match mover {
        Color::White => (white, black),
        Color::Black => (black, white),
    }
}

fn over(seat: &Seat) -> Option<&Value> {
    seat.events
        .iter()
        .rev()
        .find(|event| event["type"] == "game_over")
}

/// Brings about the result that stands in the score, if the board has not.
async fn conclude(seats: &mut [Seat; 2], id: &str, result: GameResult) -> anyhow::Result<()> {
    let game = json!({"gameId": id});
    match result {
        GameResult::WhiteWins => drop(seats[1].asks("resign", game).await?),
        GameResult::BlackWins => drop(seats[0].asks("resign", game).await?),
        GameResult::Draw => {
            seats[0].asks("offer_draw", game.clone()).await?;
            seats[1].asks("accept_draw", game).await?;
        }
        GameResult::Unknown => bail!("the score has no result"),
    }
    Ok(())
}

/// The exported score has the moves of the original, all of them or up to the end that the rules made, and its result.
fn compare(original: &Pgn, plies: usize, exported: &str) -> anyhow::Result<()> {
    let exported = pgn::games(exported)
        .next()
        .context("an empty PGN")?
        .context("the exported PGN")?;
    let sans = |game: &Pgn| -> Vec<String> {
        game.moves
            .iter()
            .take(plies)
            .map(|mv| mv.san.to_string())
            .collect()
    };
    ensure!(
        exported.moves.len() == plies,
        "{} moves were exported of {plies}",
        exported.moves.len()
    );
    ensure!(
        sans(&exported) == sans(original),
        "other moves were exported"
    );
    if plies == original.moves.len() {
        ensure!(
            exported.result == original.result,
            "{:?} was exported for {:?}",
            exported.result,
            original.result
        );
    } else {
        ensure!(
            exported.result == GameResult::Draw,
            "a game that the rules end early is a draw, not {:?}",
            exported.result
        );
    }
    Ok(())
}
