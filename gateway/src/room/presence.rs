//! Who is in the room on all nodes: this node reports its members under a lease, and tells them when a player comes or goes
//! and how many watch.

use super::task::{State, Task};
use crate::{
    fanout::{Audience, Members, Role},
    websocket::Frame,
};
use futures::{FutureExt, future::BoxFuture};
use pubsub::{Answer, Attendance, Millis};
use shared::{
    Color, Timestamp,
    protocol::{
        ServerMessage,
        server::{Presence, PresenceChange, Viewers},
    },
};
use std::time::Duration;
use tokio::time::Instant;

/// A node that has not reported for this long is forgotten, its people with it.
const LEASE: Duration = Duration::from_secs(25);

/// A report is renewed in this time: twice within a lease.
const RENEW: Duration = Duration::from_secs(10);

/// Comings and goings are gathered for this long before they are reported.
const GATHER: Duration = Duration::from_millis(100);

/// A report that changed something is made once more after this long: a mere change of numbers is published at most once a
/// second, so the last one of many may have been heard by nobody.
const AGAIN: Duration = Duration::from_millis(1_100);

/// At most one `viewers` message a room in this time, for each so many who watch.
const VIEWERS_PAUSE: Duration = Duration::from_secs(1);

/// See [`VIEWERS_PAUSE`]: everybody is told, so in a large room a count a second would cost far more than the moves, which come
/// every few seconds; and most while a crowd comes in and the count changes all the time.
const VIEWERS_PER_PAUSE: u64 = 1_000;

/// Not even the largest room waits longer, in times [`VIEWERS_PAUSE`].
const VIEWERS_PAUSES_MAX: u64 = 30;

/// A player may claim the win when the opponent has been away this long, in milliseconds.
pub const CLAIM_AFTER_MS: i64 = 60_000;

/// What this node knows of who is in the room.
#[derive(Default)]
pub(super) struct Attending {
    /// Members changed since the last report.
    pub is_due: bool,
    report: Option<BoxFuture<'static, Answer<Attendance>>>,
    reported: Option<[u32; 3]>,
    reported_at: Option<Instant>,
    again_at: Option<Instant>,
    known: Attendance,
    presence: Presence,
    viewers_told: u64,
    viewers_told_at: Option<Instant>,
}

impl Attending {
    /// Waits for the report's answer; for ever if there is none under way.
    pub async fn answered(attending: &mut Attending) -> Answer<Attendance> {
        match &mut attending.report {
            Some(report) => report.await,
            None => std::future::pending().await,
        }
    }

    /// A report is under way, or must be made before the room closes.
    pub fn is_busy(&self) -> bool {
        self.report.is_some() || self.reported.is_some_and(|counts| counts != [0; 3])
    }

    /// When something is to be done.
    pub fn wake_at(&self, members: &Members) -> Option<Instant> {
        let viewers = (self.viewers() != self.viewers_told).then(|| {
            self.viewers_told_at
                .map_or_else(Instant::now, |at| at + viewers_pause(self.viewers()))
        });
        [self.report_at(members), viewers]
            .into_iter()
            .flatten()
            .min()
    }

    fn report_at(&self, members: &Members) -> Option<Instant> {
        if self.report.is_some() {
            return None;
        }
        let changed = self.is_due
            || self
                .reported
                .is_some_and(|counts| counts != members.counts());
        let pause = match (changed, members.is_empty()) {
            (true, _) => GATHER,
            (false, false) => RENEW,
            (false, true) => return self.again_at,
        };
        let at = self.reported_at.map_or_else(Instant::now, |at| at + pause);
        Some(self.again_at.map_or(at, |again| again.min(at)))
    }

    /// Whether the players are connected anywhere, given that this seat is.
    pub fn presence_with(&self, seat: Option<Color>) -> Presence {
        super::follow::with_self(self.presence, seat)
    }

    /// How many watch, rounded in large rooms.
    pub fn viewers(&self) -> u64 {
        self.known
            .groups
            .get(2)
            .map_or(0, |group| rounded(group.count))
    }
}

/// In a large room only the magnitude is of interest, and every step would be sent to everybody: two digits of it.
fn rounded(count: u64) -> u64 {
    let step = match count {
        0..=100 => 1,
        101..=1_000 => 10,
        1_001..=10_000 => 50,
        _ => 10_u64.pow(count.ilog10() - 1),
    };
    count / step * step
}

/// Time between two counts in a room of this size.
fn viewers_pause(count: u64) -> Duration {
    let pauses = (count / VIEWERS_PER_PAUSE).clamp(1, VIEWERS_PAUSES_MAX);
    VIEWERS_PAUSE * u32::try_from(pauses).unwrap_or(1)
}

/// Whether the players are connected to any node.
pub fn presence_of(attendance: &Attendance) -> Presence {
    let is_here = |color: Color| {
        attendance
            .groups
            .get(color.index())
            .is_some_and(|group| group.count > 0)
    };
    Presence {
        white: is_here(Color::White),
        black: is_here(Color::Black),
    }
}

impl Task {
    /// Since when that player has been away from all nodes; outages since then are not counted.
    pub(super) fn absent_since(&self, color: Color) -> Option<Timestamp> {
        let group = self.attending.known.groups.get(color.index())?;
        let since = group.absent_since?;
        let outages = self.node.backplane.outages_known(&self.room);
        let lost_ms = outages.lost_between(since, Millis::MAX);
        Some(Timestamp(since).plus_ms(lost_ms))
    }

    /// Reports this node's members if it is time to.
    pub(super) fn attend(&mut self) {
        if !matches!(self.state, State::Live(_)) {
            return;
        }
        if self
            .attending
            .report_at(&self.members)
            .is_none_or(|at| at > Instant::now())
        {
            return;
        }
        let counts = self.members.counts();
        let (backplane, room, node) = (
            self.node.backplane.clone(),
            self.room.clone(),
            self.node.name.clone(),
        );
        let now = Instant::now();
        let changed = self.attending.reported != Some(counts);
        self.attending.is_due = false;
        self.attending.reported = Some(counts);
        self.attending.reported_at = Some(now);
        self.attending.again_at = changed.then(|| now + AGAIN);
        let report = async move { backplane.attend(&room, &node, &counts, LEASE).await };
        self.attending.report = Some(report.boxed());
    }

    /// The report was answered.
    pub(super) fn attended(&mut self, answer: Answer<Attendance>) {
        self.attending.report = None;
        match answer {
            Ok(attendance) => self.attendance(attendance),
            // Said again in a while; the lease may lapse meanwhile, as it does for everybody.
            Err(_) => self.attending.is_due = !self.members.is_empty(),
        }
        if self.members.is_empty()
            && self
                .attending
                .reported
                .is_some_and(|counts| counts != [0; 3])
        {
            self.attending.is_due = true;
        }
    }

    /// Who is here changed, on some node.
    pub(super) fn attendance(&mut self, attendance: Attendance) {
        let told = Color::ALL.map(|color| self.presence_change(color));
        self.attending.presence = presence_of(&attendance);
        self.attending.known = attendance;
        for (color, told) in Color::ALL.into_iter().zip(told) {
            let change = self.presence_change(color);
            if change != told {
                self.members.broadcast(
                    &framed(ServerMessage::Presence(change)),
                    Audience::All,
                    None,
                );
            }
        }
        self.tell_viewers();
        self.list();
    }

    /// What members are told of that player; and from when on his absence may be claimed, in a game that runs.
    fn presence_change(&self, color: Color) -> PresenceChange {
        let presence = self.attending.presence;
        let online = match color {
            Color::White => presence.white,
            Color::Black => presence.black,
        };
        let runs = matches!(&self.state, State::Live(live) if live.game.over().is_none());
        let absent_since = self.absent_since(color);
        PresenceChange {
            game_id: self.game.clone(),
            color,
            online,
            claimable_at: absent_since
                .filter(|_| !online && runs)
                .map(|since| since.plus_ms(CLAIM_AFTER_MS)),
        }
    }

    /// Tells a new member what the others were told before. A snapshot says who is here, but not what may be claimed.
    pub(super) fn tell_newcomer(&mut self, conn: u64, has_snapshot: bool) {
        let own = self.members.role(conn).and_then(Role::color);
        for color in Color::ALL {
            let mut change = self.presence_change(color);
            if own == Some(color) {
                change.online = true;
                change.claimable_at = None;
            }
            if !has_snapshot || change.claimable_at.is_some() {
                self.members
                    .send(conn, &framed(ServerMessage::Presence(change)));
            }
        }
        if self.attending.viewers_told > 0 {
            let viewers = self.viewers_message(self.attending.viewers_told);
            self.members.send(conn, &framed(viewers));
        }
    }

    fn viewers_message(&self, count: u64) -> ServerMessage {
        ServerMessage::Viewers(Viewers {
            game_id: self.game.clone(),
            count,
        })
    }

    /// Tells how many watch, if that changed and was not told just now.
    pub(super) fn tell_viewers(&mut self) {
        let count = self.attending.viewers();
        let now = Instant::now();
        let soon = self
            .attending
            .viewers_told_at
            .is_some_and(|at| at + viewers_pause(count) > now);
        if count == self.attending.viewers_told || soon {
            return;
        }
        self.attending.viewers_told = count;
        self.attending.viewers_told_at = Some(now);
        self.members
            .broadcast(&framed(self.viewers_message(count)), Audience::All, None);
    }
}

fn framed(message: ServerMessage) -> Frame {
    Frame::text(&message.encode(None))
}

#[cfg(test)]
mod tests {
    use super::{VIEWERS_PAUSE, rounded, viewers_pause};

    #[test]
    fn large_counts_are_rounded() {
        for (count, told) in [
            (0, 0),
            (100, 100),
            (101, 100),
            (119, 110),
            (1_049, 1_000),
            (10_149, 10_000),
            (129_999, 120_000),
            (1_234_567, 1_200_000),
        ] {
            assert_eq!(rounded(count), told);
        }
    }

    #[test]
    fn large_rooms_are_counted_less_often() {
        for (count, pauses) in [(0, 1), (1_999, 1), (2_000, 2), (1_000_000, 30)] {
            assert_eq!(viewers_pause(count), VIEWERS_PAUSE * pauses);
        }
    }
}
