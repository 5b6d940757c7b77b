//! One process that holds many sockets: a single thread, an epoll, one read buffer for all, and some eighty bytes a socket.
//!
//! It does what the coordinator's orders on its standard input say, and answers on its standard output.

use crate::{
    meter,
    orders::{Crowd, Dialect, Duty, Order, Progress, Table, Word},
};
use anyhow::Context;
use rustix::{
    event::{
        Timespec,
        epoll::{self, Event, EventData, EventFlags},
    },
    fd::OwnedFd,
    io::Errno,
    net::SendFlags,
};
use std::{
    collections::{HashMap, VecDeque},
    io::Write,
};
use tables::Tables;
use tally::{Counts, Stamps};

pub mod frame;
mod hear;
mod socket;
mod tables;
pub mod tally;
pub mod text;

/// Where the orders come in, as an event's name.
const ORDERS: u64 = u64::MAX;

/// Bytes read from a socket at once, in a buffer that all sockets share.
const READ_BUFFER_LEN: usize = 256 * 1024;

/// Connections under way at a time: below the servers' backlogs, so that no SYN is dropped and sent again a second later.
const UNDER_WAY_MAX: usize = 256;

/// Nanoseconds between two words about progress.
const PROGRESS_EVERY: u64 = 250_000_000;

/// Nanoseconds between two looks at whether everybody has heard everything.
const SETTLE_EVERY: u64 = 10_000_000;

/// A connection that did not get into its room after so many nanoseconds has failed.
const JOIN_TIMEOUT: u64 = 60_000_000_000;

/// What a socket is in its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Spectator,
    /// Sits at that table, as White (0) or Black (1), or is a further door of one who publishes at every server.
    Player(u32, u8),
}

/// How far a socket has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not asked for yet, or to be asked for again.
    Waiting,
    Connecting,
    Handshaking,
    /// The handshake is through, the room is not.
    Joining,
    Ready,
    Gone,
}

#[derive(Debug)]
struct Conn {
    fd: Option<OwnedFd>,
    /// A frame that is not whole yet.
    rest: Vec<u8>,
    room: u32,
    door: u16,
    role: Role,
    stage: Stage,
    /// Stops reading once it is ready.
    stalls: bool,
    /// The event that must come next; `None` before the first.
    next: Option<u32>,
    /// When it was begun to connect.
    begun: u64,
    /// When it was lost.
    lost_at: u64,
}

/// A room as its sockets know it.
#[derive(Debug, Default)]
struct Room {
    game: Option<String>,
    epoch: Option<String>,
}

struct Settling {
    last: HashMap<u32, u32>,
    until: u64,
}

struct Talk {
    every: u64,
    next: u64,
    until: u64,
    speaker: usize,
}

struct Worker {
    epoll: OwnedFd,
    duty: Duty,
    conns: Vec<Conn>,
    rooms: HashMap<u32, Room>,
    tables: Tables,
    counts: Counts,
    /// Sockets to connect, in order, one each `pace` nanoseconds.
    waiting: VecDeque<u32>,
    pace: u64,
    next_connect: u64,
    under_way: usize,
    ready: u64,
    failed: u64,
    settling: Option<Settling>,
    talk: Option<Talk>,
    next_progress: u64,
    out: Vec<u8>,
}

/// Works until its orders end.
pub fn run() -> anyhow::Result<()> {
    let mut orders = Orders::default();
    let stdin = rustix::stdio::stdin();
    let first = loop {
        if let Some(order) = orders.next()? {
            break order;
        }
        if !orders.read(stdin)? {
            return Ok(());
        }
    };
    let Order::Begin(duty) = first else {
        anyhow::bail!("the first order must be to begin");
    };
    let result = Worker::new(duty).and_then(|worker| worker.work(orders));
    if let Err(error) = &result {
        say(&Word::Failed(format!("{error:#}")))?;
    }
    result
}

fn say(word: &Word) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line)?;
    Ok(stdout.flush()?)
}

/// Lines of standard input.
#[derive(Default)]
struct Orders {
    bytes: Vec<u8>,
}

impl Orders {
    /// Reads what there is, at least something; false at the end.
    fn read(&mut self, stdin: rustix::fd::BorrowedFd<'_>) -> anyhow::Result<bool> {
        let mut buffer = [0; 64 * 1024];
        let len = rustix::io::read(stdin, &mut buffer).context("reading orders")?;
        self.bytes.extend(&buffer[..len]);
        Ok(len > 0)
    }

    fn next(&mut self) -> anyhow::Result<Option<Order>> {
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let line: Vec<u8> = self.bytes.drain(..=end).collect();
        Ok(Some(
            serde_json::from_slice(&line).context("an order that cannot be read")?,
        ))
    }
}

impl Worker {
    fn new(duty: Duty) -> anyhow::Result<Worker> {
        let stamps = Stamps::open(&duty.stamps, duty.stamps_per_room).context("the stamps")?;
        let tables = Tables::new(duty.dialect, duty.event_len);
        Ok(Worker {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            duty,
            conns: Vec::new(),
            rooms: HashMap::new(),
            tables,
            counts: Counts::new(stamps),
            waiting: VecDeque::new(),
            pace: 0,
            next_connect: 0,
            under_way: 0,
            ready: 0,
            failed: 0,
            settling: None,
            talk: None,
            next_progress: 0,
            out: Vec::new(),
        })
    }

    fn work(mut self, mut orders: Orders) -> anyhow::Result<()> {
        let stdin = rustix::stdio::stdin();
        epoll::add(
            &self.epoll,
            stdin,
            EventData::new_u64(ORDERS),
            EventFlags::IN,
        )?;
        let mut events: Vec<Event> = Vec::with_capacity(1024);
        let mut buffer = vec![0; READ_BUFFER_LEN];
        loop {
            while let Some(order) = orders.next()? {
                self.obey(order)?;
            }
            let timeout = self.timeout();
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&timeout),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("waiting for sockets"),
            }
            for event in &events {
                match (event.data.u64(), event.flags) {
                    (ORDERS, _) => {
                        if !orders.read(stdin)? {
                            return Ok(());
                        }
                    }
                    (index, flags) => {
                        let index = usize::try_from(index)?;
                        if flags.contains(EventFlags::OUT) {
                            self.connected(index);
                        }
                        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                            self.read(index, &mut buffer);
                        }
                    }
                }
            }
            self.pass_time()?;
        }
    }

    fn obey(&mut self, order: Order) -> anyhow::Result<()> {
        match order {
            Order::Begin(_) => anyhow::bail!("begun twice"),
            Order::Watch { crowds, per_second } => self.watch(crowds, per_second),
            Order::Seat { tables, per_second } => self.seat(tables, per_second),
            Order::Play { from, every, until } => self.tables.play(from, every, until),
            Order::Chat { per_second, until } => {
                let every = nanos_each(per_second);
                self.talk = Some(Talk {
                    every,
                    next: meter::now() + every,
                    until,
                    speaker: 0,
                });
            }
            Order::Measure(window) => {
                self.counts.measure(window);
                say(&Word::Measuring)?;
            }
            Order::Settle { last, within } => {
                self.settling = Some(Settling {
                    last: last.into_iter().collect(),
                    until: meter::now() + within,
                });
            }
            Order::Return {
                from,
                to,
                per_second,
            } => self.come_back(from, to, per_second)?,
            Order::Report { from } => say(&Word::Report(Box::new(self.counts.report(from))))?,
        }
        Ok(())
    }

    fn watch(&mut self, crowds: Vec<Crowd>, per_second: f64) {
        // One of each crowd after the other, so that all servers and rooms fill alike.
        let largest = crowds.iter().map(|crowd| crowd.count).max().unwrap_or(0);
        for crowd in &crowds {
            self.rooms.entry(crowd.room).or_default().game = Some(crowd.game.clone());
        }
        for place in 0..largest {
            for crowd in crowds.iter().filter(|crowd| place < crowd.count) {
                let stalls = place < crowd.stalled;
                self.invite(crowd.room, crowd.door, Role::Spectator, stalls);
            }
        }
        self.connect_at(per_second);
    }

    fn seat(&mut self, tables: Vec<Table>, per_second: f64) {
        for table in tables {
            let number = u32::try_from(self.tables.len()).unwrap_or(u32::MAX);
            let doors: Vec<usize> = match self.duty.dialect {
                // Nothing carries an event from one server of the floor to the next, so it is published at each.
                Dialect::Bare => (0..self.duty.doors.len()).collect(),
                _ => vec![table.white, table.black],
            };
            let first = self.conns.len();
            for (place, door) in doors.iter().enumerate() {
                let side = u8::try_from(place.min(2)).unwrap_or(2);
                self.invite(table.room, *door, Role::Player(number, side), false);
            }
            self.rooms.entry(table.room).or_default();
            self.tables.add(table, (first..self.conns.len()).collect());
        }
        self.connect_at(per_second);
    }

    fn invite(&mut self, room: u32, door: usize, role: Role, stalls: bool) {
        let index = self.conns.len();
        self.conns.push(Conn {
            fd: None,
            rest: Vec::new(),
            room,
            door: u16::try_from(door).unwrap_or(u16::MAX),
            role,
            stage: Stage::Waiting,
            stalls,
            next: None,
            begun: 0,
            lost_at: 0,
        });
        self.waiting
            .push_back(u32::try_from(index).unwrap_or(u32::MAX));
    }

    fn connect_at(&mut self, per_second: f64) {
        self.pace = nanos_each(per_second);
        self.next_connect = meter::now();
    }

    fn timeout(&self) -> Timespec {
        let mut next = self.next_progress;
        if !self.waiting.is_empty() && self.under_way < UNDER_WAY_MAX {
            next = next.min(self.next_connect);
        }
        if let Some(due) = self.tables.next_due() {
            next = next.min(due);
        }
        if let Some(talk) = &self.talk {
            next = next.min(talk.next);
        }
        let mut left = next.saturating_sub(meter::now());
        if self.settling.is_some() {
            left = left.min(SETTLE_EVERY);
        }
        Timespec {
            tv_sec: (left / 1_000_000_000).cast_signed(),
            tv_nsec: i64::try_from(left % 1_000_000_000).unwrap_or(0),
        }
    }

    fn pass_time(&mut self) -> anyhow::Result<()> {
        let now = meter::now();
        while self.under_way < UNDER_WAY_MAX && self.next_connect <= now {
            let Some(index) = self.waiting.pop_front() else {
                break;
            };
            // Who fell behind his pace hurries, but not for longer than a second of it.
            self.next_connect =
                (self.next_connect + self.pace).max(now.saturating_sub(1_000_000_000));
            self.connect(index as usize);
        }
        while let Some((table, mover, text)) = self.tables.due(now, &self.conns, &self.rooms) {
            self.make_move(table, mover, &text);
        }
        if let Some(last) = self.tables.finished(now) {
            say(&Word::Played { last })?;
        }
        self.talk(now);
        if now >= self.next_progress {
            self.next_progress = now + PROGRESS_EVERY;
            self.fail_the_late(now);
            say(&Word::Progress(Progress {
                ready: self.ready,
                failed: self.failed,
                delivered: self.counts.tally.delivered,
            }))?;
        }
        if let Some(games) = self.tables.seated(&self.conns, &self.rooms) {
            say(&Word::Seated(games))?;
        }
        if let Some(settling) = &self.settling {
            let missing = self.missing(&settling.last);
            if missing == 0 || now >= settling.until {
                self.settling = None;
                say(&Word::Settled { missing })?;
            }
        }
        Ok(())
    }

    /// Events that sockets which read have not got yet. Those that lost their connection are counted as such.
    fn missing(&self, last: &HashMap<u32, u32>) -> u64 {
        let reads = |conn: &&Conn| !conn.stalls && conn.stage == Stage::Ready;
        let missing = self.conns.iter().filter(reads).map(|conn| {
            let last = last.get(&conn.room).copied();
            let heard = conn.next.unwrap_or(0);
            last.map_or(0, |last| u64::from((last + 1).saturating_sub(heard)))
        });
        missing.sum()
    }

    fn fail_the_late(&mut self, now: u64) {
        if self.under_way == 0 {
            return;
        }
        for index in 0..self.conns.len() {
            let conn = &self.conns[index];
            let under_way = matches!(
                conn.stage,
                Stage::Connecting | Stage::Handshaking | Stage::Joining
            );
            if under_way && now.saturating_sub(conn.begun) > JOIN_TIMEOUT {
                self.lose(index, "not in the room in time");
            }
        }
    }

    fn talk(&mut self, now: u64) {
        while let Some(talk) = &mut self.talk {
            if talk.next >= talk.until {
                self.talk = None;
                return;
            }
            if talk.next > now || self.conns.is_empty() {
                return;
            }
            talk.next += talk.every;
            talk.speaker = (talk.speaker + 1) % self.conns.len();
            let conn = &self.conns[talk.speaker];
            let game = self.rooms.get(&conn.room).and_then(|r| r.game.as_deref());
            if conn.stage == Stage::Ready
                && !conn.stalls
                && let (Some(game), Some(fd)) = (game, &conn.fd)
            {
                let text = format!(
                    r#"{{"type":"chat","payload":{{"gameId":"{game}","text":"load {}"}}}}"#,
                    meter::now()
                );
                self.out.clear();
                frame::write(&mut self.out, frame::TEXT, text.as_bytes());
                if rustix::net::send(fd, &self.out, SendFlags::NOSIGNAL).is_ok() {
                    self.counts.tally.chat_sent += 1;
                }
            }
        }
    }

    fn make_move(&mut self, table: usize, mover: usize, text: &str) {
        let (room, seq) = self.tables.moving(table);
        if let Err(error) = self.counts.stamps().write(room, seq, meter::now()) {
            self.counts
                .trouble(&format!("a stamp was not written: {error}"));
        }
        // One who plays sends at one door, one who publishes at the floor's servers at all of them.
        let movers = match self.duty.dialect {
            Dialect::Bare => self.tables.conns(table).to_vec(),
            _ => vec![mover],
        };
        for mover in movers {
            self.send_text(mover, text);
        }
    }
}

/// Nanoseconds between two of so many a second.
fn nanos_each(per_second: f64) -> u64 {
    let nanos = (1e9 / per_second.max(1e-9)) as u64;
    nanos.max(1)
}
