//! The world of one seed: nodes on a backplane, clients, and what befalls them.

use crate::{
    client::{Asked, Client, Deed, Line, Link},
    mutants::Mutant,
    wire::Wire,
};
use bytes::Bytes;
use clap::Parser;
use gateway::{
    Config,
    connection::Connection,
    identity::Tokens,
    node::Node,
    random::Random,
    websocket::{Handler, outbox::Collected},
};
use pubsub::{Backplane, Embedded, Room};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;
use shared::{UserId, game::Player};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tests::{
    checker::{Evidence, Ledger, Record, verdict},
    faulty::{self, Faulty, Link as Cable},
};
use tokio::time::{Instant, sleep};

/// 2026-01-01, when every simulation begins.
const START: i64 = 1_767_225_600_000;

/// How long the world may take to become right after the faults have stopped: the slowest repair is the check of a quiet
/// room, 25 s, and a call under way then may take 5 s more.
const SETTLE: Duration = Duration::from_secs(60);

/// Leases of crashed nodes lapse after 25 s.
const QUIET: Duration = Duration::from_secs(40);

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    pub steps: u32,
    /// What happens is told on standard error.
    pub tell: bool,
    /// A promise that is broken on purpose.
    pub mutant: Option<Mutant>,
}

impl Plan {
    pub fn of(seed: u64) -> Plan {
        Plan {
            seed,
            // Short lives and long ones.
            steps: 40 + seed.wrapping_mul(0x9e37_79b9) as u32 % 220,
            tell: false,
            mutant: None,
        }
    }

    /// One seed in eight has a backplane that loses what it had, and no other fault: what one node alone knows is lost with it,
    /// and a node that is cut off comes too late.
    fn loses(&self) -> bool {
        self.seed.is_multiple_of(8)
    }

    /// One seed in four has a network without faults of its own, so that what is said in peace is looked at too.
    fn network(&self) -> faulty::Plan {
        if self.seed.is_multiple_of(4) {
            return faulty::Plan::calm(self.seed);
        }
        faulty::Plan {
            storms: None,
            ..faulty::Plan::any(self.seed)
        }
    }
}

struct Site {
    node: Arc<Node>,
    wire: Arc<Wire>,
    leaving: bool,
}

/// See the module.
pub struct World {
    plan: Plan,
    rng: StdRng,
    backplane: Embedded,
    sites: Vec<Option<Site>>,
    starts: u64,
    clients: Vec<Client>,
    ledger: Ledger,
    games: BTreeSet<String>,
    objections: Vec<String>,
    peace: bool,
    /// All that happened, in order.
    trace: Vec<String>,
    began: Instant,
}

impl World {
    pub fn new(plan: Plan) -> World {
        let mut rng = StdRng::seed_from_u64(plan.seed);
        let backplane = Embedded::new(pubsub::embedded::Options {
            start: Some(START),
            seed: Some(plan.seed),
            ..Default::default()
        })
        .unwrap();
        let mut clients = Vec::new();
        for index in 0..rng.random_range(3..7usize) {
            // Some users have two pages open.
            let user = if index > 2 && rng.random_bool(0.3) {
                index - 2
            } else {
                index
            };
            let player = Player {
                id: UserId::parse(&format!("u{user}")).unwrap(),
                name: format!("User {user}"),
                is_guest: true,
            };
            clients.push(Client::new(index, &format!("c{index}"), player));
        }
        let sites = (0..rng.random_range(1..4)).map(|_| None).collect();
        let mut world = World {
            plan,
            rng,
            backplane,
            sites,
            starts: 0,
            clients,
            ledger: Ledger::default(),
            games: BTreeSet::new(),
            objections: Vec::new(),
            peace: false,
            trace: Vec::new(),
            began: Instant::now(),
        };
        for site in 0..world.sites.len() {
            world.start(site);
        }
        world
    }

    fn note(&mut self, what: &str) {
        let line = format!("{:>7} {what}", self.began.elapsed().as_millis());
        if self.plan.tell {
            eprintln!("{line}");
        }
        self.trace.push(line);
    }

    fn start(&mut self, site: usize) {
        self.starts += 1;
        self.note(&format!("node {site} starts"));
        let config = config();
        let random = Random::seeded(self.plan.seed << 16 | self.starts);
        let network = if self.peace {
            faulty::Plan::calm(self.plan.seed)
        } else {
            self.plan.network()
        };
        let faulty = Faulty::new(Arc::new(self.backplane.clone()), network, self.starts);
        let wire = Arc::new(Wire::new(faulty, self.plan.mutant));
        let tokens = Tokens::new(&[SECRET.to_vec()], &[], &[]);
        let node = Node::new(config, format!("node-{site}"), wire.clone(), tokens, random);
        self.sites[site] = Some(Site {
            node,
            wire,
            leaving: false,
        });
    }

    fn stop(&mut self, site: usize) {
        let Some(Site { node, wire, .. }) = self.sites[site].take() else {
            return;
        };
        self.note(&format!("node {site} is gone"));
        wire.kill();
        node.leaving.cancel();
        node.stopped.cancel();
        for client in &mut self.clients {
            let here = match &client.line {
                Line::Up(link) => link.node == site,
                Line::Opening(at, _) => *at == site,
                Line::Down => false,
            };
            if here {
                client.lost();
            }
        }
    }

    fn connect(&mut self, index: usize) {
        let up: Vec<usize> = (0..self.sites.len())
            .filter(|site| self.sites[*site].as_ref().is_some_and(|site| !site.leaving))
            .collect();
        let Some(&site) = up.choose(&mut self.rng) else {
            return;
        };
        let Some(Site { node, .. }) = &self.sites[site] else {
            return;
        };
        let (node, player) = (node.clone(), self.clients[index].player.clone());
        // As the gateway's HTTP side does.
        let opening = tokio::spawn(async move {
            let running =
                tokio::time::timeout(Duration::from_millis(500), node.running(&player.id)).await;
            let running = running.map_or_else(|_| Vec::new(), Result::unwrap_or_default);
            let token = node.tokens.issue(&player);
            Connection::open(node, player, token, running)
        });
        self.clients[index].line = Line::Opening(site, opening);
        self.note(&format!("c{index} connects to node {site}"));
    }

    /// Handshakes that are through, and frames that are there.
    async fn deliver(&mut self, all: bool) {
        for index in 0..self.clients.len() {
            if let Line::Opening(site, opening) = &mut self.clients[index].line
                && opening.is_finished()
            {
                let (node, (connection, conn)) = (*site, opening.await.unwrap());
                let link = Box::new(Link {
                    node,
                    connection,
                    conn,
                });
                self.clients[index].line = Line::Up(link);
                self.clients[index].witness.connected();
            }
            // Some read late.
            if all || self.rng.random_bool(0.9) {
                self.read(index);
            }
        }
    }

    fn read(&mut self, index: usize) {
        loop {
            let Some(link) = self.clients[index].link() else {
                return;
            };
            let mut frames = Vec::new();
            let Collected { close, woken } = link.conn.outbox.collect(&mut frames);
            if frames.is_empty() && close.is_none() && !woken {
                return;
            }
            let len = frames.iter().map(|frame| frame.wire_len()).sum();
            if link.conn.outbox.settle(len) {
                link.connection.on_drained();
            }
            if woken {
                link.connection.on_wake();
            }
            for frame in frames {
                let text = String::from_utf8(frame.payload().to_vec()).unwrap();
                let texts = match self.plan.mutant {
                    Some(mutant) => mutant.on_the_way(&mut self.rng, text),
                    None => vec![text],
                };
                for text in texts {
                    self.hear(index, &text);
                }
            }
            if let Some(close) = close {
                self.note(&format!(
                    "c{index} is closed: {:?} {}",
                    close.code, close.reason
                ));
                return self.clients[index].lost();
            }
        }
    }

    fn hear(&mut self, index: usize, text: &str) {
        // Tokens hold the wall's time.
        if !text.starts_with("{\"type\":\"welcome\"") {
            self.note(&format!("c{index} <- {text}"));
        }
        let client = &mut self.clients[index];
        self.ledger.heard(client.player.id.as_str(), text);
        client.hears(text);
        // Games are first heard of by name; a rematch is an event.
        if !text.starts_with("{\"seq\":") || text.contains("\"type\":\"rematch\"") {
            let rematches = client
                .views
                .values()
                .filter_map(|view| view.rematch.as_ref());
            let games = client.views.keys().chain(&client.invited).chain(rematches);
            self.games.extend(games.cloned());
        }
    }

    fn send(&mut self, index: usize, asked: Asked, arrives: bool) {
        self.note(&format!(
            "c{index} -> {}{}",
            asked.text,
            if arrives { "" } else { " (lost)" }
        ));
        let client = &mut self.clients[index];
        self.ledger
            .sent(client.player.id.as_str(), &asked.text, asked.sound);
        client.witness.sends(&asked.text);
        client.done.retain(|done| done.id != asked.id);
        let text = asked.text.clone();
        // A line of chat is not for asking again: it would be said again.
        if !text.contains("\"type\":\"chat\"") {
            client.open.insert(asked.id, asked);
        }
        if let Some(link) = client.link().filter(|_| arrives)
            && let Some(Site { node, .. }) = &self.sites[link.node]
        {
            let now = node.now();
            let Some(link) = self.clients[index].link() else {
                return;
            };
            link.connection.text(&text, now);
        }
    }

    /// Games and faults, for as long as the plan says.
    pub async fn play(&mut self) {
        for _ in 0..self.plan.steps {
            let pause = match self.rng.random_range(0..100) {
                0 => self.rng.random_range(1_000..20_000),
                1..40 => self.rng.random_range(0..5),
                _ => self.rng.random_range(5..150),
            };
            sleep(Duration::from_millis(pause)).await;
            self.deliver(false).await;
            self.befall();
            for _ in 0..self.rng.random_range(1..3) {
                let index = self.rng.random_range(0..self.clients.len());
                self.act(index);
            }
        }
    }

    fn act(&mut self, index: usize) {
        match self.clients[index].line {
            Line::Down if self.rng.random_bool(0.5) => return self.connect(index),
            Line::Up(_) => {}
            _ => return,
        }
        if self.rng.random_bool(0.1) {
            let games: Vec<String> = self.games.iter().cloned().collect();
            if let Some(game) = games.choose(&mut self.rng) {
                self.clients[index].heard_of.push(game.clone());
            }
        }
        match self.clients[index].next(&mut self.rng) {
            Deed::Nothing => {}
            Deed::Send(asked) => {
                let arrives = self.rng.random_bool(0.98);
                self.send(index, asked, arrives);
                if !arrives {
                    self.clients[index].lost();
                }
            }
            Deed::HangUp => {
                self.note(&format!("c{index} hangs up"));
                if self.rng.random_bool(0.5) {
                    self.read(index);
                }
                self.clients[index].lost();
            }
        }
    }

    /// Faults.
    fn befall(&mut self) {
        if self.plan.loses() {
            return self.lose();
        }
        let site = self.rng.random_range(0..self.sites.len());
        match self.rng.random_range(0..1000) {
            0..8 if self.sites[site].is_some() => self.stop(site),
            8..100 if self.sites[site].is_none() => self.start(site),
            100..103 => {
                if let Some(at) = &mut self.sites[site] {
                    at.leaving = true;
                    let node = at.node.clone();
                    tokio::spawn(async move { node.drain().await });
                    self.note(&format!("node {site} leaves"));
                }
            }
            103..120 => {
                if let Some(at) = &self.sites[site] {
                    let cables = [Cable::Cut, Cable::Deaf, Cable::Whole, Cable::Whole];
                    let cable = *cables.choose(&mut self.rng).unwrap();
                    at.wire.faulty.set_link(cable);
                    self.note(&format!("node {site} is {cable:?}"));
                }
            }
            120..122 => {
                for at in self.sites.iter().flatten() {
                    at.wire.faulty.set_link(Cable::Cut);
                }
                self.note("the backplane is away");
            }
            122..132 => {
                for at in self.sites.iter().flatten() {
                    at.wire.faulty.set_link(Cable::Whole);
                }
                self.note("the backplane is there");
            }
            _ => {}
        }
        for site in 0..self.sites.len() {
            if self.sites[site]
                .as_ref()
                .is_some_and(|site| site.leaving && site.node.stopped.is_cancelled())
            {
                self.stop(site);
            }
        }
    }

    /// The backplane loses logs, or the ends of logs.
    fn lose(&mut self) {
        if !self.rng.random_bool(0.02) {
            return;
        }
        let (rng, kind) = (&mut self.rng, self.plan.seed % 3);
        self.backplane.lose(|_, end| match kind {
            0 => 0,
            1 => end.saturating_sub(rng.random_range(0..3)),
            _ => rng.random_range(0..=end),
        });
        self.note("the backplane loses what it had");
    }

    /// The faults stop; everything must become right.
    pub async fn settle(&mut self) {
        self.note("the faults stop");
        self.peace = true;
        for at in self.sites.iter().flatten() {
            at.wire.faulty.make_peace();
        }
        for site in 0..self.sites.len() {
            match &self.sites[site] {
                None => self.start(site),
                Some(at) if at.leaving => {
                    self.stop(site);
                    self.start(site);
                }
                Some(_) => {}
            }
        }
        let end = Instant::now() + SETTLE;
        let unsettled = loop {
            sleep(Duration::from_millis(100)).await;
            self.deliver(true).await;
            self.finish_up();
            let unsettled = self.unsettled().await;
            if unsettled.is_empty() || Instant::now() > end {
                break unsettled;
            }
        };
        for what in unsettled {
            self.objections.push(format!(
                "{} s after the last fault {what}",
                SETTLE.as_secs()
            ));
        }
        self.note("quiet");
        let end = Instant::now() + QUIET;
        while Instant::now() < end {
            sleep(Duration::from_millis(500)).await;
            self.deliver(true).await;
        }
        self.check_presence().await;
        self.check_ends().await;
    }

    /// All clients come back, join their games, and ask again what was not answered.
    fn finish_up(&mut self) {
        for index in 0..self.clients.len() {
            match &self.clients[index].line {
                Line::Down => self.connect(index),
                Line::Opening(..) => {}
                Line::Up(_) => {
                    let client = &mut self.clients[index];
                    let joining = |game: &str| {
                        client.open.values().any(|asked| {
                            asked.text.contains("\"join_room\"") && asked.text.contains(game)
                        })
                    };
                    let known = client
                        .views
                        .iter()
                        .filter(|(_, view)| !view.joined)
                        .map(|(game, _)| game.clone());
                    let fresh = client
                        .heard_of
                        .iter()
                        .filter(|game| !client.views.contains_key(*game))
                        .cloned();
                    let next: Vec<String> =
                        known.chain(fresh).filter(|game| !joining(game)).collect();
                    let mut asks: Vec<Asked> =
                        next.iter().map(|game| client.join(game, true)).collect();
                    client.heard_of.clear();
                    // Once a second, or when the connection is new.
                    if self.rng.random_bool(0.1) {
                        asks.extend(client.open.values().cloned());
                    }
                    for asked in asks {
                        self.send(index, asked, true);
                    }
                }
            }
        }
    }

    /// What is not as it should be in the end.
    async fn unsettled(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        for client in &self.clients {
            if !client.is_up() {
                wrong.push(format!("{} is not connected", client.name));
            }
            for asked in client.open.values() {
                wrong.push(format!("{} has no answer to {}", client.name, asked.text));
            }
            for game in &client.awaits {
                if self.end(game).await.is_some() {
                    wrong.push(format!(
                        "{} invited to game {game}, and was not told that it began",
                        client.name
                    ));
                }
            }
            for (game, view) in &client.views {
                let end = self.end(game).await;
                if !view.joined || end != Some((view.epoch.clone(), view.seq)) {
                    wrong.push(format!(
                        "{} is at {} of game {game}, whose log ends at {end:?}",
                        client.name, view.seq
                    ));
                }
            }
        }
        let mut seekers: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for client in &self.clients {
            if let Some(pool) = &client.seeking {
                seekers
                    .entry(pool.to_string())
                    .or_default()
                    .insert(client.player.id.as_str());
            }
        }
        for (pool, users) in seekers {
            if users.len() > 1 {
                wrong.push(format!("{users:?} wait in the pool {pool}"));
            }
        }
        wrong
    }

    /// Everybody is told rightly who is there.
    async fn check_presence(&mut self) {
        let mut wrong = Vec::new();
        for game in &self.games {
            let Some((_, lines)) = self.log(game).await else {
                continue;
            };
            let Ok(record) = Record::begin(&lines[0]) else {
                continue;
            };
            let members: Vec<&Client> = self
                .clients
                .iter()
                .filter(|client| client.views.get(game).is_some_and(|view| view.joined))
                .collect();
            let online = |side: usize| {
                members
                    .iter()
                    .any(|client| client.player.id.as_str() == record.users[side])
            };
            let watching = members
                .iter()
                .filter(|client| record.side_of(client.player.id.as_str()).is_none())
                .count();
            for client in &members {
                let seen = &client.witness.rooms[game];
                let told = seen.online.map(|online| online == Some(true));
                if told != [online(0), online(1)] {
                    wrong.push(format!(
                        "{} believes of game {game} that {:?} are online, it is {:?}",
                        client.name,
                        seen.online,
                        [online(0), online(1)]
                    ));
                }
                if seen.viewers.unwrap_or(0) != watching as u64 {
                    wrong.push(format!(
                        "{} believes that {:?} watch game {game}, {watching} do",
                        client.name, seen.viewers
                    ));
                }
            }
        }
        self.objections.extend(wrong);
    }

    /// Games that nobody looks after end by time.
    async fn check_ends(&mut self) {
        for index in 0..self.clients.len() {
            self.clients[index].lost();
        }
        // A game that nobody looks after gets back what it lost to an outage when its time seems to be up.
        for _ in 0..2 {
            let mut last = 0;
            for game in self.games.clone() {
                let Some(record) = self.record(&game).await else {
                    continue;
                };
                if record.over.is_none() && !record.created["timeControl"].is_null() {
                    last = last.max(record.deadline());
                }
            }
            let wait = last - self.backplane.now() + 5_000;
            sleep(Duration::from_millis(wait.max(0).unsigned_abs())).await;
        }
        for game in self.games.clone() {
            let Some(record) = self.record(&game).await else {
                continue;
            };
            if record.over.is_none() && !record.created["timeControl"].is_null() {
                let late = self.backplane.now() - record.deadline();
                self.objections
                    .push(format!("game {game} goes on {late} ms after its time"));
            }
            if let Some(rematch) = &record.rematch {
                let next = rematch["newGameId"].as_str().unwrap_or_default();
                let Some(next) = self.record(next).await else {
                    self.objections
                        .push(format!("the rematch {next} of game {game} was not made"));
                    continue;
                };
                if next.users != [record.users[1].clone(), record.users[0].clone()] {
                    self.objections
                        .push(format!("the rematch of game {game} has other players"));
                }
            }
        }
    }

    /// The log's life and last event.
    async fn end(&self, game: &str) -> Option<(String, u64)> {
        let room = Room::parse(game).ok()?;
        let (epoch, end) = self.backplane.end(&room).await.ok()??;
        Some((epoch.to_string(), end - 1))
    }

    async fn record(&self, game: &str) -> Option<Record> {
        let (_, lines) = self.log(game).await?;
        Record::read(lines.iter().map(String::as_str)).ok()
    }

    async fn log(&self, game: &str) -> Option<(String, Vec<String>)> {
        let log = self
            .backplane
            .read(&Room::parse(game).ok()?, 0)
            .await
            .ok()??;
        let lines = log
            .events
            .iter()
            .map(|event: &Bytes| String::from_utf8_lossy(event).into_owned());
        Some((log.epoch.to_string(), lines.collect()))
    }

    /// What the checkers object to, and all that happened.
    pub async fn judge(mut self) -> (Vec<String>, Vec<String>) {
        let mut logs = BTreeMap::new();
        for game in &self.games {
            if let Some(log) = self.log(game).await {
                logs.insert(game.clone(), log);
            }
        }
        let evidence = Evidence {
            logs: &logs,
            witnesses: self.clients.iter().map(|client| &client.witness).collect(),
            ledger: &self.ledger,
        };
        let mut objections = verdict(&evidence);
        objections.append(&mut self.objections);
        if self.plan.tell {
            let events: usize = logs.values().map(|(_, lines)| lines.len()).sum();
            eprintln!(
                "{} games, {events} events, {} requests",
                logs.len(),
                self.ledger.requests().count()
            );
            let summary: BTreeMap<String, usize> =
                self.ledger
                    .requests()
                    .fold(BTreeMap::new(), |mut sums, request| {
                        for answer in &request.answers {
                            let code = answer["payload"]["code"].as_str().unwrap_or_default();
                            let key = format!(
                                "{} {} {code}",
                                request.kind(),
                                answer["type"].as_str().unwrap_or_default()
                            );
                            *sums.entry(key).or_default() += 1;
                        }
                        sums
                    });
            eprintln!("{}", serde_json::to_string_pretty(&json!(summary)).unwrap());
        }
        (objections, self.trace)
    }
}

/// Signs tokens.
pub const SECRET: &[u8] = b"not a secret, but long enough to be one";

/// A node's settings: limits that are no matter here are far away.
pub fn config() -> Config {
    #[derive(Parser)]
    struct Settings {
        #[command(flatten)]
        config: Config,
    }
    let settings = [
        "sim",
        "--messages-per-second",
        "1000",
        "--games-per-user",
        "1000",
        "--drain-seconds",
        "2",
    ];
    Settings::parse_from(settings).config
}
