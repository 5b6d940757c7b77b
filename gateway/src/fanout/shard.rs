//! One thread's loop over its sockets: what they say, what is said to them, what is due, and a part of a walk through a crowd.
//!
//! A turn is short: whatever a crowd's size, the loop is back for players, pings, newcomers and those who leave after
//! [`STEPS_MAX`] sockets.

use super::{
    crowd::{Crowd, Moved, Start, Step},
    line::{self, CatchUp, Class, Command, Line, To},
    link::{Link, Membership, Standing},
    timers::Timers,
};
use crate::{
    metrics::{Delivery, meters},
    websocket::Frame,
};
use mio::{Events, Poll, Token};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

/// Sockets that are written to in one step of a walk: one to three milliseconds.
const STEPS_MAX: usize = 256;

/// Sockets the kernel tells of in one turn.
const EVENTS_MAX: usize = 256;

/// Sockets whose time has come that are looked after in one turn: thousands may have come together, and be pinged together.
const REMINDERS_MAX: usize = 256;

/// The read buffer, bytes, for all sockets: large enough that even a message of 16 MiB takes few calls.
const READ_BUFFER_LEN: usize = 64 * 1024;

/// How long the loop sleeps when nothing is due.
const LONG: Duration = Duration::from_secs(60);

const WAKER: Token = Token(usize::MAX);

/// What one group has here.
struct Group {
    owner: Arc<dyn CatchUp>,
    players: Vec<u32>,
    crowd: Crowd,
    /// Spectators on this node, when last heard.
    spectators: usize,
}

type Links = Vec<Option<Box<Link>>>;

pub(super) struct Shard {
    poll: Poll,
    line: Arc<Line>,
    links: Links,
    free: Vec<u32>,
    /// Slots by the numbers that others know the sockets by.
    slots: HashMap<u64, u32>,
    groups: HashMap<u64, Group>,
    /// Groups with a walk under way: each takes its turn.
    walks: VecDeque<u64>,
    /// Groups with a walk to come.
    due: BTreeSet<(Instant, u64)>,
    /// Sockets to look after before the turn ends.
    touched: VecDeque<u32>,
    /// Sockets from which not everything was read.
    unread: Vec<u32>,
    timers: Timers,
    /// Sockets whose time has come.
    reminded: VecDeque<u32>,
    buffer: Box<[u8]>,
    delivered: Delivered,
}

/// What went to the kernel without being queued in this turn.
#[derive(Default)]
struct Delivered {
    messages: u64,
    bytes: u64,
}

impl Delivered {
    fn add(&mut self, messages: u64, frame: &Frame) {
        self.messages += messages;
        self.bytes += frame.wire_len() as u64;
    }

    /// Counts it for the operator: once a turn, because all threads share the counters.
    fn note(&mut self) {
        if self.messages > 0 {
            meters().deliveries.add(self.messages);
            meters().sent_bytes.add(self.bytes);
            *self = Delivered::default();
        }
    }
}

impl Shard {
    /// A shard, and the way to it.
    pub fn new() -> io::Result<(Shard, Arc<Line>)> {
        let poll = Poll::new()?;
        let line = line::line(&poll, WAKER)?;
        let shard = Shard {
            poll,
            line: Arc::clone(&line),
            links: Links::new(),
            free: Vec::new(),
            slots: HashMap::new(),
            groups: HashMap::new(),
            walks: VecDeque::new(),
            due: BTreeSet::new(),
            touched: VecDeque::new(),
            unread: Vec::new(),
            timers: Timers::new(Instant::now()),
            reminded: VecDeque::new(),
            buffer: vec![0; READ_BUFFER_LEN].into_boxed_slice(),
            delivered: Delivered::default(),
        };
        Ok((shard, line))
    }

    /// Runs until it is told to stop.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut commands = Vec::new();
        loop {
            self.wait(&mut events);
            for event in &events {
                if event.token() != WAKER {
                    self.ready(event);
                }
            }
            for slot in std::mem::take(&mut self.unread) {
                self.read(slot);
            }
            let now = Instant::now();
            self.line.take(&mut commands);
            for command in commands.drain(..) {
                if matches!(command, Command::Stop) {
                    return;
                }
                self.command(command, now);
            }
            self.remind(now);
            self.begin_walks(now);
            self.walk(now);
            self.delivered.note();
            self.look_after(now);
        }
    }

    fn wait(&mut self, events: &mut Events) {
        let busy = !self.walks.is_empty()
            || !self.unread.is_empty()
            || !self.reminded.is_empty()
            || !self.touched.is_empty();
        let sleeps = !busy && self.line.falls_asleep();
        let timeout = if sleeps {
            let walk = self.due.first().map(|(at, _)| *at);
            let at = walk.into_iter().chain(self.timers.next_at()).min();
            at.map_or(LONG, |at| at.saturating_duration_since(Instant::now()))
        } else {
            Duration::ZERO
        };
        if let Err(error) = self.poll.poll(events, Some(timeout))
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(%error, "a shard cannot wait for its sockets");
        }
        if sleeps {
            self.line.wakes_up();
        }
    }

    fn ready(&mut self, event: &mio::event::Event) {
        let slot = event.token().0;
        let Some(link) = self.links.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        let slot = u32::try_from(slot).unwrap_or(u32::MAX);
        if event.is_writable() {
            link.writable();
            touch(&mut self.touched, slot, link);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(slot);
        }
    }

    fn read(&mut self, slot: u32) {
        let now = Instant::now();
        let Some(link) = link(&mut self.links, slot) else {
            return;
        };
        let buffer = &mut self.buffer;
        if guarded(link, now, |link| link.read(buffer)) {
            self.unread.push(slot);
        }
        touch(&mut self.touched, slot, link);
    }

    fn command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Adopt(id, arrival) => self.adopt(id, *arrival, now),
            Command::Push(id, frame) => {
                self.with(id, now, |link| link.connection.passed_on(frame, now));
            }
            Command::Close(id) => self.with(id, now, |link| link.connection.passed_close(now)),
            Command::Wake(id) => self.with(id, now, |link| link.connection.passed_wake(now)),
            Command::Enter {
                group,
                link,
                class,
                member,
                owner,
            } => self.enter(group, link, class, member, owner),
            Command::Leave { group, link } => {
                if let Some(slot) = self.slots.get(&link) {
                    self.leave(group, *slot);
                }
            }
            Command::Send { group, link, frame } => self.send(group, link, &frame, now),
            Command::Broadcast {
                group,
                frame,
                to,
                spectators,
                delivery,
            } => self.broadcast(group, frame, to, spectators, delivery, now),
            Command::Dissolve(group) => self.dissolve(group),
            Command::Stop => {}
        }
    }

    fn adopt(&mut self, id: u64, arrival: super::line::Arrival, now: Instant) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.links.push(None);
            u32::try_from(self.links.len() - 1).expect("there are fewer sockets than that")
        });
        let (mut link, leftover) = Link::new(id, arrival, now);
        if let Err(error) = link.register(self.poll.registry(), Token(slot as usize)) {
            tracing::warn!(%error, "a socket cannot be waited for");
            link.connection.lost();
        }
        guarded(&mut link, now, |link| {
            link.connection.collect(now);
            if !leftover.is_empty() {
                link.receive(&mut Vec::from(leftover), now);
            }
        });
        self.slots.insert(id, slot);
        let link = self.links[slot as usize].insert(Box::new(link));
        touch(&mut self.touched, slot, link);
    }

    /// Does something with a socket that needs looking after then.
    fn with(&mut self, id: u64, now: Instant, act: impl FnOnce(&mut Link)) {
        let Some(slot) = self.slots.get(&id).copied() else {
            return;
        };
        if let Some(link) = link(&mut self.links, slot) {
            guarded(link, now, act);
            touch(&mut self.touched, slot, link);
        }
    }

    fn enter(&mut self, group: u64, id: u64, class: Class, member: u64, owner: Arc<dyn CatchUp>) {
        let Some(slot) = self.slots.get(&id).copied() else {
            return;
        };
        self.leave(group, slot);
        let Some(link) = link(&mut self.links, slot) else {
            return;
        };
        let here = self.groups.entry(group).or_insert_with(|| Group {
            owner,
            players: Vec::new(),
            crowd: Crowd::default(),
            spectators: 0,
        });
        let place = match class {
            Class::Player => {
                here.players.push(slot);
                u32::try_from(here.players.len() - 1).expect("there are fewer sockets than that")
            }
            Class::Spectator => here.crowd.enter(slot),
        };
        link.memberships.reserve_exact(1);
        link.memberships.push(Membership {
            group,
            class,
            place,
            member,
            standing: Standing::Good,
        });
    }

    fn leave(&mut self, group: u64, slot: u32) {
        let Some(link) = link(&mut self.links, slot) else {
            return;
        };
        let mut memberships = link.memberships.iter();
        let Some(at) = memberships.position(|membership| membership.group == group) else {
            return;
        };
        let gone = link.memberships.swap_remove(at);
        link.note_standings();
        let Some(here) = self.groups.get_mut(&group) else {
            return;
        };
        match gone.class {
            Class::Player => {
                here.players.swap_remove(gone.place as usize);
                if let Some(slot) = here.players.get(gone.place as usize).copied() {
                    let place = gone.place;
                    stand(&mut self.links, group, Moved { slot, place });
                }
            }
            Class::Spectator => {
                for moved in here.crowd.leave(gone.place) {
                    stand(&mut self.links, group, moved);
                }
            }
        }
        if here.players.is_empty() && here.crowd.is_empty() {
            self.groups.remove(&group);
        }
    }

    fn send(&mut self, group: u64, id: u64, frame: &Frame, now: Instant) {
        let Some(slot) = self.slots.get(&id).copied() else {
            return;
        };
        let (Some(link), Some(here)) = (link(&mut self.links, slot), self.groups.get_mut(&group))
        else {
            return;
        };
        let Some(membership) = link.membership(group) else {
            return;
        };
        let (class, place, standing) = (membership.class, membership.place, membership.standing);
        if class == Class::Spectator {
            match here.crowd.catch_up(place) {
                _ if standing != Standing::Good => return,
                Some(Step::Give { frame, .. }) => link.wait(&frame, true, now),
                Some(Step::Missed(_)) => link.skip(),
                None => {}
            }
        }
        // What comes before may have been too much.
        let standing = link.membership(group).map(|membership| membership.standing);
        if standing == Some(Standing::Good) {
            link.wait(frame, class == Class::Spectator, now);
        }
        touch(&mut self.touched, slot, link);
    }

    fn broadcast(
        &mut self,
        group: u64,
        frame: Frame,
        to: To,
        spectators: usize,
        delivery: Option<Arc<Delivery>>,
        now: Instant,
    ) {
        let Some(here) = self.groups.get_mut(&group) else {
            return;
        };
        if to.players {
            for slot in &here.players {
                let Some(link) = link(&mut self.links, *slot) else {
                    continue;
                };
                if link.give(&frame, false, now) {
                    self.delivered.add(1, &frame);
                } else {
                    touch(&mut self.touched, *slot, link);
                }
            }
        }
        if to.spectators {
            here.spectators = spectators;
            let start = here.crowd.push(frame, delivery, spectators, now);
            self.schedule(group, start, now);
        }
    }

    fn dissolve(&mut self, group: u64) {
        let Some(gone) = self.groups.remove(&group) else {
            return;
        };
        for slot in gone.players.into_iter().chain(gone.crowd.slots()) {
            if let Some(link) = link(&mut self.links, slot) {
                link.memberships
                    .retain(|membership| membership.group != group);
                link.note_standings();
            }
        }
    }

    fn schedule(&mut self, group: u64, start: Start, now: Instant) {
        match start {
            Start::Now => drop(self.due.insert((now, group))),
            Start::At(at) => drop(self.due.insert((at, group))),
            Start::Known => {}
        }
    }

    fn begin_walks(&mut self, now: Instant) {
        while let Some((at, group)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            if let Some(here) = self.groups.get_mut(&group)
                && here.crowd.begin(now)
            {
                self.walks.push_back(group);
            }
        }
    }

    /// A part of the walks under way.
    fn walk(&mut self, now: Instant) {
        let mut left = STEPS_MAX;
        while left > 0
            && let Some(group) = self.walks.pop_front()
        {
            let Some(here) = self.groups.get_mut(&group) else {
                continue;
            };
            let through = loop {
                if left == 0 {
                    break false;
                }
                let Some(step) = here.crowd.step() else {
                    break true;
                };
                left -= 1;
                let (Step::Give { slot, .. } | Step::Missed(slot)) = step;
                let Some(link) = link(&mut self.links, slot) else {
                    continue;
                };
                if link.is_behind
                    && link
                        .membership(group)
                        .is_none_or(|membership| membership.standing != Standing::Good)
                {
                    continue;
                }
                match &step {
                    Step::Give {
                        frame, messages, ..
                    } if link.give(frame, true, now) => self.delivered.add(*messages, frame),
                    Step::Give { .. } => touch(&mut self.touched, slot, link),
                    Step::Missed(_) => {
                        link.skip();
                        touch(&mut self.touched, slot, link);
                    }
                }
            };
            if !through {
                self.walks.push_back(group);
            } else if let Some(start) = here.crowd.end_walk(here.spectators, now) {
                self.schedule(group, start, now);
            }
        }
    }

    /// Looks after those whose time has come.
    fn remind(&mut self, now: Instant) {
        while let Some((tick, slots)) = self.timers.take_due(now) {
            for slot in slots {
                if let Some(link) = link(&mut self.links, slot)
                    && link.timer == tick
                {
                    link.timer = 0;
                    self.reminded.push_back(slot);
                }
            }
        }
        for _ in 0..REMINDERS_MAX.min(self.reminded.len()) {
            let Some(slot) = self.reminded.pop_front() else {
                return;
            };
            if let Some(link) = link(&mut self.links, slot) {
                // Written before time is looked at: a peer that takes its bytes is not slow because this process was stopped.
                guarded(link, now, |link| link.write(now));
                if now >= link.connection.deadline() {
                    guarded(link, now, |link| link.connection.tick(now));
                }
                touch(&mut self.touched, slot, link);
            }
        }
    }

    /// Writes what waits for those who were touched, and lets those go that are through.
    fn look_after(&mut self, now: Instant) {
        for _ in 0..self.touched.len() {
            let Some(slot) = self.touched.pop_front() else {
                return;
            };
            let Some(link) = link(&mut self.links, slot) else {
                continue;
            };
            link.is_touched = false;
            guarded(link, now, |link| link.write(now));
            if link.connection.ended().is_some() {
                self.remove(slot);
                continue;
            }
            if link.may_write() {
                // Its handler had more to say when all was written: it comes again in the next turn.
                touch(&mut self.touched, slot, link);
            }
            if link.is_hungry() {
                self.unread.push(slot);
            }
            if link.may_catch_up() {
                for membership in &mut link.memberships {
                    if membership.standing == Standing::Behind {
                        membership.standing = Standing::Told;
                        if let Some(group) = self.groups.get(&membership.group) {
                            group.owner.caught_up(membership.member);
                        }
                    }
                }
            }
            let tick = self.timers.tick_of(link.connection.deadline());
            if link.timer == 0 || tick < link.timer {
                link.timer = tick;
                self.timers.add(tick, slot);
            }
        }
    }

    fn remove(&mut self, slot: u32) {
        while let Some(link) = link(&mut self.links, slot)
            && let Some(membership) = link.memberships.last()
        {
            let group = membership.group;
            self.leave(group, slot);
        }
        if let Some(link) = self.links[slot as usize].take() {
            if link.connection.wants_reset() {
                link.reset_on_drop();
            }
            self.slots.remove(&link.id);
            self.free.push(slot);
            // Its handler goes with it, and may panic too.
            let _ = catch_unwind(AssertUnwindSafe(move || drop(link)));
        }
    }
}

fn link(links: &mut Links, slot: u32) -> Option<&mut Link> {
    links.get_mut(slot as usize)?.as_deref_mut()
}

fn touch(touched: &mut VecDeque<u32>, slot: u32, link: &mut Link) {
    if !std::mem::replace(&mut link.is_touched, true) {
        touched.push_back(slot);
    }
}

fn stand(links: &mut Links, group: u64, moved: Moved) {
    if let Some(membership) = link(links, moved.slot).and_then(|link| link.membership(group)) {
        membership.place = moved.place;
    }
}

/// A handler that panics takes its own connection along, and nobody else's.
fn guarded<T: Default>(link: &mut Link, now: Instant, act: impl FnOnce(&mut Link) -> T) -> T {
    let called = AssertUnwindSafe(|| line::inside(link.id, || act(link)));
    match catch_unwind(called) {
        Ok(done) => {
            link.connection.said_inside(now);
            done
        }
        Err(_) => {
            line::inside_no_more();
            tracing::error!("a connection's handler panicked; the connection is dropped");
            link.connection.abandon();
            T::default()
        }
    }
}
