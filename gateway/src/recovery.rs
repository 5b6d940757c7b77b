//! Running games that the backplane lost, that no node holds, and that the archive knows: they are brought back when somebody
//! comes to them; and all of them after a start and after every upheaval, so that flags fall also in games that nobody comes to.
//!
//! Whoever holds more than the archive goes first: rooms that are open on other nodes are asked to look at their logs, and have
//! [`RESTORE_SETTLE`] to put back what they hold. What comes from the archive then has a new life, because people may have seen
//! later events than the archive has, which others will take the places of: everybody gets a snapshot, and nothing that was
//! meant for the old life is taken for the new one's, here or in the archive.
//!
//! The side to move gets back the time in which it could not play. That stands in the log from its beginning, so that nobody
//! can decide before. Hence one at a time brings a game back, under a claim.

use crate::{
    archive::Archive,
    node::{Node, key_of},
    room::{Live, count_restored, credit, room_of},
};
use ::archive::StoredLog;
use bytes::Bytes;
use futures::{StreamExt, stream};
use pubsub::{
    Answer, CALL_TIMEOUT, Epoch, Log, Message, Outages, Put, RESTORE_SETTLE, Restore, Restored,
    Room, Unavailable,
};
use shared::{
    Color, GameId, Timestamp,
    game::{Event, Game},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Topic of the message that asks the nodes on which a room is open to look at its log.
pub const LOOK: &str = "look";

/// How long one who brings a game back is left to it.
const CLAIM_TTL: Duration = Duration::from_secs(30);

/// The last call within a claim begins this long after it at the latest; it takes no longer than [`CALL_TIMEOUT`].
const CLAIM_USED_MAX: Duration = Duration::from_secs(20);

/// How often one who waits for another's claim looks.
const CLAIM_LOOK: Duration = Duration::from_millis(100);

/// Characters of a new life's name.
const LIFE_LEN: usize = 8;

/// How often a node asks whether running games must be looked through. More than [`RESTORE_SETTLE`], so that after an upheaval all
/// nodes have put back what they hold.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A node that looks through the running games and has not gone on for this long is taken for dead.
const LEASE: Duration = Duration::from_secs(30);

/// Running games read from the archive at a time; they are done well within [`LEASE`].
const PAGE_LEN: i64 = 256;

/// Games brought back at the same time by the one node that does: most of the while they wait for others who hold them, so this
/// makes some 50 a second.
const AT_ONCE: usize = 64;

/// How long it is remembered that all were looked through. After that they are again.
const DONE_FOR: Duration = Duration::from_secs(24 * 60 * 60);

const LEASE_KEY: &str = "recovery-lease";
const DONE_KEY: &str = "recovery-done";

/// What became of a game that the archive knows.
#[derive(Debug)]
pub enum Found {
    /// It runs, and is in the backplane again.
    Running(Log),
    /// It is over: nothing will be appended to it any more.
    Finished(StoredLog),
}

/// What the archive knows of a game that the backplane does not know, which is brought back if it runs. Takes
/// [`RESTORE_SETTLE`] and more then.
pub async fn look(node: &Node, game: &GameId) -> Answer<Option<Found>> {
    let Some(archive) = node.archive.get() else {
        return Ok(None);
    };
    match archive.log(game).await? {
        None => Ok(None),
        Some(stored) if stored.is_over => Ok(Some(Found::Finished(stored))),
        Some(_) => bring_back(node, archive, game).await,
    }
}

/// Brings a game back, or waits until another has.
async fn bring_back(node: &Node, archive: &Archive, game: &GameId) -> Answer<Option<Found>> {
    let (room, backplane) = (room_of(game), &node.backplane);
    let claim = key_of("recovery", &[game.as_str()]);
    // Two callers on one node are two.
    let mine = Bytes::from(node.random.base62(16));
    let until = Instant::now() + CALL_TIMEOUT;
    let claimed_at = loop {
        let claimed_at = Instant::now();
        let holder = backplane
            .put(&claim, mine.clone(), CLAIM_TTL, Put::IfAbsent)
            .await?;
        if holder.is_none_or(|holder| holder == mine) {
            break claimed_at;
        }
        if let Some(log) = backplane.read(&room, 0).await? {
            return Ok(Some(Found::Running(log)));
        }
        if Instant::now() >= until {
            return Err(Unavailable("another node brings this game back".into()));
        }
        tokio::time::sleep(CLAIM_LOOK).await;
    };
    let found = bring_back_alone(node, archive, game, &room, claimed_at).await;
    // If this fails it lapses.
    drop(backplane.remove(&claim).await);
    found
}

async fn bring_back_alone(
    node: &Node,
    archive: &Archive,
    game: &GameId,
    room: &Room,
    claimed_at: Instant,
) -> Answer<Option<Found>> {
    let backplane = &node.backplane;
    if let Some(log) = backplane.read(room, 0).await? {
        return Ok(Some(Found::Running(log)));
    }
    if let Some(held) = node.held.get(room) {
        count_restored(&backplane.restore(room, held).await?);
        return Ok(backplane.read(room, 0).await?.map(Found::Running));
    }
    let ring = Message {
        topic: LOOK.to_owned(),
        body: Bytes::new(),
    };
    backplane.publish(room, ring).await?;
    tokio::time::sleep(RESTORE_SETTLE).await;
    if let Some(log) = backplane.read(room, 0).await? {
        return Ok(Some(Found::Running(log)));
    }
    // It may have caught up meanwhile.
    let Some(stored) = archive.log(game).await? else {
        return Ok(None);
    };
    let mut live = match Live::fold(stored.epoch.clone(), &stored.events) {
        Ok(live) => live,
        Err(misfit) => {
            tracing::error!(%game, %misfit, "what is archived is not a game's; it is not brought back");
            return Ok(None);
        }
    };
    if stored.is_over || live.game.over().is_some() {
        return Ok(Some(Found::Finished(stored)));
    }
    let outages = backplane.outages(room).await?;
    let mut events = stored.events;
    for event in given_back(node, &live, &outages) {
        let bytes = Bytes::from(event.encode());
        if let Err(misfit) = live.push(&bytes) {
            tracing::error!(%game, %misfit, "time given back does not fit");
            return Ok(None);
        }
        events.push(bytes);
    }
    // Listed first: a game that is listed and does not exist is found out at once.
    for color in Color::ALL {
        node.remember_running(&live.game.player(color).id, game)
            .await?;
    }
    if claimed_at.elapsed() > CLAIM_USED_MAX {
        return Err(Unavailable("bringing a game back took too long".into()));
    }
    let restore = Restore {
        epoch: Epoch::new(stored.epoch.generation() + 1, &node.random.base62(LIFE_LEN)),
        events,
        deadline: live.game.next_deadline().map(|at| at.0),
    };
    let restored = backplane.restore(room, restore).await?;
    match &restored {
        Restored::Extended { epoch, .. } => {
            metrics::counter!("rookery_recovered_total").increment(1);
            tracing::info!(%game, %epoch, events = live.end(), "a running game was brought back from the archive");
        }
        other => count_restored(other),
    }
    Ok(backplane.read(room, 0).await?.map(Found::Running))
}

/// The events that give the side to move the time that it lost, if that is any.
fn given_back(node: &Node, live: &Live, outages: &Outages) -> Vec<Event> {
    if !live.is_decidable() {
        return Vec::new();
    }
    let at = node.now().max(live.game.last_at());
    let lost_at = node
        .lost_at()
        .filter(|_| node.started_at() < live.game.clock_at());
    let ms = lost_ms(&live.game, at, lost_at, outages);
    credit(&live.game, ms, at).unwrap_or_default()
}

/// How much of its time the side to move could not play in. `lost_at` is when the log was lost, where that is known, and no
/// outage before: else the turn begins anew, for nobody can say how much of it there was a game to play.
fn lost_ms(game: &Game, at: Timestamp, lost_at: Option<Timestamp>, outages: &Outages) -> i64 {
    let turn = game.clock_at();
    let lost_at = lost_at.unwrap_or(turn).max(turn).min(at);
    outages.lost_between(turn.0, lost_at.0) + at.since(lost_at)
}

/// Looks through the archive's running games when that is due, until the node leaves.
pub async fn run(node: Arc<Node>) {
    tokio::select! {
        biased;
        () = node.leaving.cancelled() => {}
        () = look_when_due(&node) => {}
    }
}

async fn look_when_due(node: &Arc<Node>) {
    let mut upheavals = node.backplane.upheavals();
    let mut wanted_at = node.now();
    loop {
        tokio::select! {
            biased;
            upheaval = upheavals.changed() => {
                if upheaval.is_err() {
                    return;
                }
                wanted_at = node.now();
                // Whoever holds anything puts it back first.
                continue;
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if let Some(archive) = node.archive.get()
            && let Err(unavailable) = look_if_due(node, archive, wanted_at).await
        {
            tracing::debug!(%unavailable, "running games are not looked through");
        }
    }
}

/// That all were looked through is noted in the backplane: if that loses its data, the note is lost too.
async fn look_if_due(node: &Node, archive: &Archive, wanted_at: Timestamp) -> Answer<()> {
    let backplane = &node.backplane;
    let done = backplane.get(DONE_KEY).await?;
    let done = done.and_then(|done| std::str::from_utf8(&done).ok()?.parse::<i64>().ok());
    if done.is_some_and(|begun| begun >= wanted_at.0) {
        return Ok(());
    }
    let lease = Bytes::from(node.name.clone());
    let holder = backplane
        .put(LEASE_KEY, lease.clone(), LEASE, Put::IfAbsent)
        .await?;
    if holder.is_some_and(|holder| holder != lease) {
        return Ok(());
    }
    let begun = node.now();
    let looked = look_through(node, archive, &lease).await;
    if looked.is_ok() {
        let begun = Bytes::from(begun.0.to_string());
        backplane
            .put(DONE_KEY, begun, DONE_FOR, Put::Replace)
            .await?;
    }
    backplane.remove(LEASE_KEY).await?;
    looked
}

async fn look_through(node: &Node, archive: &Archive, lease: &Bytes) -> Answer<()> {
    let (mut after, mut failed) = (String::new(), None);
    loop {
        let ids = archive.store.running(&after, PAGE_LEN).await;
        let ids = ids.map_err(|error| Unavailable(error.to_string()))?;
        let Some(last) = ids.last() else {
            return failed.map_or(Ok(()), Err);
        };
        after.clone_from(last);
        node.backplane
            .put(LEASE_KEY, lease.clone(), LEASE, Put::Replace)
            .await?;
        let games: Vec<GameId> = ids.iter().filter_map(|id| GameId::parse(id).ok()).collect();
        let mut answers = stream::iter(games)
            .map(|game| async move { look_at(node, &game).await })
            .buffer_unordered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            failed = answer.err().or(failed);
        }
    }
}

async fn look_at(node: &Node, game: &GameId) -> Answer<()> {
    if node.backplane.end(&room_of(game)).await?.is_none() {
        look(node, game).await?;
    }
    Ok(())
}
