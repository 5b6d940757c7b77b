//! Where games come from: seeks that are paired, and invitations.
//!
//! A pairing takes two nodes. The newer seeker's node gets an offer made to the longest-waiting one, whose node accepts
//! only if that connection is still open; accepting writes the record that makes the game. Either node can make it from
//! the record, both do, and the log's first append makes sure that it is one game.

use crate::{
    connection::Conn,
    node::Node,
    random::Random,
    room::{Creation, INVITATION_TTL, Invitation, RoomInput},
    session::{LobbyAsk, LobbyKind, error},
};
use bytes::Bytes;
use dashmap::{DashMap, mapref::one::RefMut};
use futures::{FutureExt, future::BoxFuture};
use pubsub::{
    Answer, CALL_TIMEOUT, Message, OFFER_TTL, Offer, PAIRING_TTL, Put, Room, Seeker, Signal,
    Sought, topic,
};
use serde::{Deserialize, Serialize};
use shared::{
    GameId, Timestamp,
    game::{GameCreated, Player, TimeControl},
    protocol::{
        ErrorCode, RequestId, ServerMessage,
        server::{GameAdded, Waiting},
    },
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Before a call that failed is tried again; the backplane has tried for [`CALL_TIMEOUT`] already.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Seeks are renewed in this time: four times within [`pubsub::SEEK_TTL`].
const RENEW: Duration = Duration::from_secs(1);

/// Seeks and the way to them on this node.
#[derive(Debug)]
pub struct Lobby {
    mailbox: Room,
    /// By connection: a connection seeks once at a time.
    seeks: DashMap<u64, Seek>,
    /// Pairings whose message came before the answer to the seek that they end, by offer.
    early: DashMap<String, (Instant, Bytes)>,
}

#[derive(Debug, Clone)]
struct Seek {
    /// Unique in the cluster and of this one try.
    id: String,
    pool: String,
    user: Player,
    time_control: Option<TimeControl>,
    conn: Arc<Conn>,
    /// The offer made in its name, while that is not settled.
    offer: Option<String>,
    /// An offer made to it is being accepted.
    is_accepting: bool,
    /// It is on its way into the pool, or into an offer: what the pool says of it may be of before or after.
    is_asking: bool,
}

/// All that makes the room of two seekers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pairing {
    created: GameCreated,
    at: Timestamp,
}

/// What one seeker's node tells the other's.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeekData {
    player: Player,
    time_control: Option<TimeControl>,
}

impl Lobby {
    /// An empty lobby, with a mailbox of its own.
    pub fn new(random: &Random) -> Lobby {
        // Node names may hold anything; a mailbox needs to be unique only for as long as the process lives.
        let mailbox = Room::parse(&format!("node-{}", random.base62(16)))
            .expect("letters, digits and a dash");
        Lobby {
            mailbox,
            seeks: DashMap::new(),
            early: DashMap::new(),
        }
    }

    /// A connection asks something; the answer comes when it comes.
    pub fn ask(&self, node: &Arc<Node>, conn: Arc<Conn>, ask: LobbyAsk) {
        let node = node.clone();
        let mut turn = conn.lobby_turn();
        node.tasks.clone().spawn(async move {
            let id = ask.id.clone();
            let in_time = tokio::time::timeout(CALL_TIMEOUT, turn.come())
                .await
                .is_ok();
            if !in_time || node.lobby.answer(&node, &conn, ask).await.is_err() {
                let message = "the servers cannot be reached just now; ask again";
                conn.say(&error(ErrorCode::Unavailable, message, None), id.as_ref());
            }
            // Also one that was not waited for in time keeps its place before those after it.
            turn.come().await;
        });
    }

    /// A connection is gone, and with it its seek.
    pub fn gone(&self, node: &Arc<Node>, conn: u64) {
        if let Some((_, seek)) = self.seeks.remove(&conn) {
            let node = node.clone();
            // If this fails the seek lapses: nobody renews it.
            node.tasks
                .clone()
                .spawn(async move { drop(withdraw(&node, seek).await) });
        }
    }

    /// How many seek on this node.
    pub fn seeks_len(&self) -> usize {
        self.seeks.len()
    }

    async fn answer(&self, node: &Arc<Node>, conn: &Arc<Conn>, ask: LobbyAsk) -> Answer<()> {
        let LobbyAsk { id, user, kind } = ask;
        match kind {
            LobbyKind::Seek(time_control) => self.seek(node, conn, id, user, time_control).await,
            LobbyKind::CancelSeek => {
                if let Some((_, seek)) = self.seeks.remove(&conn.id) {
                    withdraw(node, seek).await?;
                }
                conn.say(&crate::session::ack(None), id.as_ref());
                Ok(())
            }
            LobbyKind::Create {
                time_control,
                color,
                key,
            } => {
                let record =
                    key.map(|key| crate::node::key_of("invited", &[user.id.as_str(), &key]));
                // What was granted before is answered as before, whatever holds by now.
                let is_repeated = match &record {
                    Some(record) => node.backplane.get(record).await?.is_some(),
                    None => false,
                };
                if !is_repeated {
                    if !node.takes_new_games() {
                        conn.say(&crate::session::archive_behind(None), id.as_ref());
                        return Ok(());
                    }
                    if !self.has_room(node, conn, id.as_ref(), &user).await? {
                        return Ok(());
                    }
                }
                let game = self.invite(node, user, time_control, color, record).await?;
                let invite_url = format!("/game/{game}");
                let added = ServerMessage::GameAdded(GameAdded {
                    game_id: game.clone(),
                    invite_url,
                });
                conn.say(&added, id.as_ref());
                node.rooms.tell(node, game, RoomInput::Await(conn.clone()));
                Ok(())
            }
        }
    }

    async fn has_room(
        &self,
        node: &Node,
        conn: &Conn,
        id: Option<&RequestId>,
        user: &Player,
    ) -> Answer<bool> {
        let max = node.config.games_per_user as usize;
        let has = node.running(&user.id).await?.len() < max;
        if !has {
            let message = format!("a user may have {max} running games; finish one first");
            conn.say(&error(ErrorCode::TooManyGames, message, None), id);
        }
        Ok(has)
    }

    async fn invite(
        &self,
        node: &Node,
        by: Player,
        time_control: Option<TimeControl>,
        color: shared::protocol::client::ColorChoice,
        record: Option<String>,
    ) -> Answer<GameId> {
        let mut game = node.random.game_id();
        if let Some(record) = record {
            let mine = Bytes::from(game.to_string());
            let earlier = node
                .backplane
                .put(&record, mine, INVITATION_TTL, Put::IfAbsent)
                .await?;
            let earlier =
                earlier.and_then(|bytes| GameId::parse(std::str::from_utf8(&bytes).ok()?).ok());
            game = earlier.unwrap_or(game);
        }
        let expires_at = node
            .now()
            .plus_ms(i64::try_from(INVITATION_TTL.as_millis()).unwrap_or(i64::MAX));
        let invitation = Invitation {
            by,
            time_control,
            color,
            expires_at,
        };
        let bytes = Bytes::from(
            serde_json::to_vec(&invitation).expect("no map keys or IO that could fail"),
        );
        // A repeated request leaves the first invitation as it is; an answered one stays answered, since the log rules.
        node.backplane
            .put(
                &Invitation::key(&game),
                bytes,
                INVITATION_TTL,
                Put::IfAbsent,
            )
            .await?;
        Ok(game)
    }

    async fn seek(
        &self,
        node: &Arc<Node>,
        conn: &Arc<Conn>,
        id: Option<RequestId>,
        user: Player,
        time_control: Option<TimeControl>,
    ) -> Answer<()> {
        if !self.has_room(node, conn, id.as_ref(), &user).await? {
            return Ok(());
        }
        let waiting = ServerMessage::Waiting(Waiting { time_control });
        let pool = pool_of(time_control);
        let earlier = self.seeks.get(&conn.id).map(|seek| seek.clone());
        if let Some(earlier) = earlier {
            if earlier.pool == pool {
                conn.say(&waiting, id.as_ref());
                return Ok(());
            }
            if let Some((_, earlier)) = self.seeks.remove(&conn.id) {
                withdraw(node, earlier).await?;
            }
        }
        if !node.takes_new_games() {
            conn.say(&crate::session::archive_behind(None), id.as_ref());
            return Ok(());
        }
        let seek = Seek {
            id: node.random.base62(16),
            pool,
            user,
            time_control,
            conn: conn.clone(),
            offer: None,
            is_accepting: false,
            is_asking: true,
        };
        self.seeks.insert(conn.id, seek.clone());
        if node.connection(conn.id).is_none() {
            // The connection went between its request and now; nobody else would take this back.
            self.seeks.remove(&conn.id);
            return Ok(());
        }
        conn.say(&waiting, id.as_ref());
        if let Err(unavailable) = self.try_pair(node, &seek).await {
            // If it is off the list already, an offer made to it was accepted meanwhile, or it was taken back.
            let is_this = |_: &u64, current: &Seek| current.id == seek.id;
            if let Some((_, seek)) = self.seeks.remove_if(&conn.id, is_this) {
                resolve(node, seek);
            }
            return Err(unavailable);
        }
        Ok(())
    }

    fn seeker(&self, seek: &Seek) -> Seeker {
        let data = SeekData {
            player: seek.user.clone(),
            time_control: seek.time_control,
        };
        Seeker {
            id: seek.id.clone(),
            user: seek.user.id.to_string(),
            mailbox: self.mailbox.clone(),
            data: Bytes::from(
                serde_json::to_vec(&data).expect("no map keys or IO that could fail"),
            ),
        }
    }

    /// Puts a seek to the pool; if that makes an offer, sees to it that the offer is settled.
    async fn try_pair(&self, node: &Arc<Node>, seek: &Seek) -> Answer<()> {
        let seeker = self.seeker(seek);
        let sought = node.backplane.seek(&seek.pool, &seeker).await?;
        if let Some(mut current) = self.current(seek) {
            current.is_asking = false;
        }
        let Sought::Offered { offer } = sought else {
            // Cancelled while it was put there?
            if !self.is_current(seek) {
                node.backplane.cancel_seek(&seek.pool, &seek.id).await?;
            }
            return Ok(());
        };
        match self.current(seek) {
            Some(mut current) => current.offer = Some(offer.clone()),
            // Its connection is gone, or seeks another game: nobody is to be paired with it.
            None => {
                if let Some(pairing) = node.backplane.settle_offer(&seek.pool, &offer).await? {
                    make_game(node, &pairing, seek.conn.clone());
                }
                return Ok(());
            }
        }
        if let Some((_, (_, pairing))) = self.early.remove(&offer) {
            self.paired(node, &offer, &pairing);
            return Ok(());
        }
        let (node, seek) = (node.clone(), seek.clone());
        node.tasks.clone().spawn(async move {
            // Normally the answer comes to the mailbox at once; this is for the case that it does not.
            tokio::time::sleep(OFFER_TTL).await;
            node.lobby.settle(&node, &seek, &offer).await;
        });
        Ok(())
    }

    /// Puts a seek to the pool again, for as long as it takes to know that it is there or made an offer.
    async fn try_again(&self, node: &Arc<Node>, seek: &Seek) {
        while self.is_current(seek) {
            match self.try_pair(node, seek).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "a seek waits for the backplane"),
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    fn current(&self, seek: &Seek) -> Option<RefMut<'_, u64, Seek>> {
        self.seeks
            .get_mut(&seek.conn.id)
            .filter(|current| current.id == seek.id)
    }

    fn is_current(&self, seek: &Seek) -> bool {
        self.current(seek).is_some()
    }

    /// Learns what became of an offer: a game, or a new try.
    /// (Boxed, because a new try may lead here again.)
    fn settle<'a>(
        &'a self,
        node: &'a Arc<Node>,
        seek: &'a Seek,
        offer: &'a str,
    ) -> BoxFuture<'a, ()> {
        self.settle_once(node, seek, offer).boxed()
    }

    async fn settle_once(&self, node: &Arc<Node>, seek: &Seek, offer: &str) {
        let is_unsettled = || {
            self.current(seek)
                .is_some_and(|current| current.offer.as_deref() == Some(offer))
        };
        if !is_unsettled() {
            return;
        }
        match insist(|| node.backplane.settle_offer(&seek.pool, offer)).await {
            Ok(Some(pairing)) => self.paired(node, offer, &pairing),
            Ok(None) | Err(_) => {
                if !is_unsettled() {
                    return;
                }
                if let Some(mut current) = self.current(seek) {
                    current.offer = None;
                    current.is_asking = true;
                }
                self.try_again(node, seek).await;
            }
        }
    }

    /// A message to this node.
    async fn mail(&self, node: &Arc<Node>, message: &Message) {
        match message.topic.as_str() {
            topic::OFFER => {
                if let Some(offer) = Offer::decode(&message.body) {
                    self.offered(node, offer).await;
                }
            }
            topic::PAIRED => {
                let mut parts = message.body.splitn(2, |byte| *byte == b'\n');
                let offer = parts
                    .next()
                    .and_then(|offer| std::str::from_utf8(offer).ok());
                if let (Some(offer), Some(pairing)) = (offer, parts.next()) {
                    self.paired(node, offer, pairing);
                }
            }
            topic::REFUSED => {
                let Ok(offer) = std::str::from_utf8(&message.body) else {
                    return;
                };
                let refused = self
                    .seeks
                    .iter()
                    .find(|seek| seek.offer.as_deref() == Some(offer));
                let Some(seek) = refused.map(|entry| entry.value().clone()) else {
                    return;
                };
                self.settle(node, &seek, offer).await;
            }
            _ => {}
        }
    }

    /// A seeker of this node, who waited, is offered a game: yes, if he is still here.
    async fn offered(&self, node: &Arc<Node>, offer: Offer) {
        let waiting = self
            .seeks
            .iter_mut()
            .find(|seek| seek.id == offer.waiting && !seek.is_accepting);
        let waiting = waiting
            .filter(|seek| node.connection(seek.conn.id).is_some() && !node.is_draining())
            .map(|mut seek| {
                seek.is_accepting = true;
                seek.clone()
            });
        let data = serde_json::from_slice::<SeekData>(&offer.data).ok();
        let (Some(seek), Some(other)) = (waiting, data) else {
            drop(node.backplane.refuse_offer(&offer.pool, &offer.id).await);
            return;
        };
        let (white, black) = match node.random.coin() {
            true => (seek.user.clone(), other.player),
            false => (other.player, seek.user.clone()),
        };
        let created = GameCreated {
            game_id: node.random.game_id(),
            white_player: white,
            black_player: black,
            time_control: seek.time_control,
            fen: crate::room::initial_fen(),
            unlisted: false,
        };
        let pairing = Pairing {
            created,
            at: node.now(),
        };
        let record =
            Bytes::from(serde_json::to_vec(&pairing).expect("no map keys or IO that could fail"));
        let accept = || {
            let (pool, offer) = (&offer.pool, &offer.id);
            node.backplane.accept_offer(pool, offer, record.clone())
        };
        match insist(accept).await {
            Ok(Some(record)) => {
                self.seeks
                    .remove_if(&seek.conn.id, |_, current| current.id == seek.id);
                make_game(node, &record, seek.conn);
            }
            // Too late, or not known: he is out of the pool, and the renewal puts him back.
            Ok(None) | Err(_) => {
                if let Some(mut current) = self.current(&seek) {
                    current.is_accepting = false;
                }
            }
        }
    }

    /// A seek of this node became a game.
    fn paired(&self, node: &Arc<Node>, offer: &str, pairing: &[u8]) {
        let seek = self
            .seeks
            .iter()
            .find(|seek| seek.offer.as_deref() == Some(offer))
            .map(|entry| *entry.key());
        match seek.and_then(|conn| self.seeks.remove(&conn)) {
            Some((_, seek)) => make_game(node, pairing, seek.conn),
            None => {
                let pairing = Bytes::copy_from_slice(pairing);
                self.early
                    .insert(offer.to_owned(), (Instant::now(), pairing));
            }
        }
    }

    /// Keeps the seeks of this node alive, and puts back those that are out of the pool without a game.
    async fn renew(&self, node: &Arc<Node>) -> Answer<()> {
        self.early.retain(|_, (came, _)| came.elapsed() < OFFER_TTL);
        // In the order they came, because that is their order in the pool should all have lapsed.
        let mut pools: BTreeMap<String, BTreeMap<u64, String>> = BTreeMap::new();
        for seek in self.seeks.iter().filter(|seek| seek.may_be_renewed()) {
            let ids = pools.entry(seek.pool.clone()).or_default();
            ids.insert(seek.conn.id, seek.id.clone());
        }
        for (pool, ids) in pools {
            let ids: Vec<String> = ids.into_values().collect();
            for lost in node.backplane.renew_seeks(&pool, &ids).await? {
                // Put back under another name: an offer to the old one that is still on its way is then refused, and
                // nobody is paired twice.
                let seek = self
                    .seeks
                    .iter_mut()
                    .find(|seek| seek.id == lost && seek.may_be_renewed())
                    .map(|mut seek| {
                        seek.id = node.random.base62(16);
                        seek.is_asking = true;
                        seek.clone()
                    });
                if let Some(seek) = seek {
                    let node = node.clone();
                    node.tasks
                        .clone()
                        .spawn(async move { node.lobby.try_again(&node, &seek).await });
                }
            }
        }
        Ok(())
    }
}

impl Seek {
    /// What the pool says of it is all there is to know of it.
    fn may_be_renewed(&self) -> bool {
        self.offer.is_none() && !self.is_accepting && !self.is_asking
    }
}

/// Asks again until the backplane answers, for as long as an answer matters: whether there is a pairing must be known, or
/// one side plays alone.
async fn insist<T, F: Future<Output = Answer<T>>>(ask: impl Fn() -> F) -> Answer<T> {
    let end = Instant::now() + PAIRING_TTL;
    loop {
        match ask().await {
            Err(_) if Instant::now() < end => tokio::time::sleep(RETRY_AFTER).await,
            answer => return answer,
        }
    }
}

/// Finds out what became of a seek that is off the list and was put to the pool with an unknown outcome: asked again, the
/// pool says. Either it is taken back, or there is a game.
fn resolve(node: &Arc<Node>, seek: Seek) {
    let node = node.clone();
    node.tasks.clone().spawn(async move {
        let seeker = node.lobby.seeker(&seek);
        if let Ok(Sought::Offered { offer }) =
            insist(|| node.backplane.seek(&seek.pool, &seeker)).await
        {
            let settle = || node.backplane.settle_offer(&seek.pool, &offer);
            if let Ok(Some(pairing)) = insist(settle).await {
                make_game(&node, &pairing, seek.conn);
            }
        } else {
            drop(insist(|| node.backplane.cancel_seek(&seek.pool, &seek.id)).await);
        }
    });
}

/// Takes a seek back that is off the list: out of the pool, or what it offered meanwhile. If that was accepted already, there
/// is a game.
async fn withdraw(node: &Arc<Node>, seek: Seek) -> Answer<()> {
    let Some(offer) = &seek.offer else {
        node.backplane.cancel_seek(&seek.pool, &seek.id).await?;
        return Ok(());
    };
    if let Some(pairing) = node.backplane.settle_offer(&seek.pool, offer).await? {
        make_game(node, &pairing, seek.conn);
    }
    Ok(())
}

/// Makes the game of a pairing, and seats this connection in it.
fn make_game(node: &Arc<Node>, pairing: &[u8], conn: Arc<Conn>) {
    match serde_json::from_slice::<Pairing>(pairing) {
        Ok(Pairing { created, at }) => {
            let game = created.game_id.clone();
            let creation = Creation {
                created,
                at,
                seats: vec![conn],
            };
            node.rooms
                .tell(node, game, RoomInput::Create(Box::new(creation)));
        }
        Err(error) => tracing::error!(%error, "a pairing that is none"),
    }
}

fn pool_of(time_control: Option<TimeControl>) -> String {
    match time_control {
        Some(TimeControl {
            initial_ms,
            increment_ms,
        }) => format!("{initial_ms}-{increment_ms}"),
        None => "untimed".to_owned(),
    }
}

/// Reads the node's mail and renews its seeks, until the node stops.
pub async fn run(node: Arc<Node>) {
    tokio::select! {
        biased;
        () = node.stopped.cancelled() => {}
        () = read_mail(&node) => {}
        // By itself, for an offer stands no longer than a renewal may have to wait.
        () = renew_seeks(&node) => {}
    }
}

async fn read_mail(node: &Arc<Node>) {
    let mut mailbox = node.backplane.subscribe(&node.lobby.mailbox);
    while let Some(signal) = mailbox.recv().await {
        if let Signal::Message(message) = signal {
            let node = node.clone();
            node.tasks
                .clone()
                .spawn(async move { node.lobby.mail(&node, &message).await });
        }
    }
}

async fn renew_seeks(node: &Arc<Node>) {
    let mut renewal = tokio::time::interval(RENEW);
    renewal.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        renewal.tick().await;
        if let Err(error) = node.lobby.renew(node).await {
            tracing::debug!(%error, "seeks are not renewed");
        }
    }
}
