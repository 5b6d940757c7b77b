//! What a run showed, as numbers.

use crate::{
    meter::{Kernel, Machine, Memory},
    orders::Tally,
    worker::tally::delays,
};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Points of a delay's curve: percentiles at which it is drawn.
const CURVE: [f64; 16] = [
    1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0,
];

/// A run of the generator: one load on one target.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    pub name: String,
    pub servers: usize,
    pub workers: usize,
    pub rooms: u32,
    pub spectators: u64,
    pub players: u64,
    pub stalled: u64,
    pub heartbeat_seconds: Option<u64>,
    pub machine: Machine,

    pub join: Joins,
    pub memory: MemoryFigures,

    pub seconds: f64,
    pub events: u64,
    pub events_per_second: f64,
    /// Events that came to sockets while this was measured.
    pub deliveries: u64,
    pub bytes_per_delivery: f64,

    /// All three must be 0.
    pub lost: u64,
    pub repeated: u64,
    pub reordered: u64,
    /// Unasked snapshots, and the events that they stand for.
    pub snapshots: u64,
    pub skipped: u64,
    /// Connections that failed or were lost.
    pub failed: u64,
    pub closed: u64,
    pub troubles: BTreeMap<String, u64>,
    pub pings: u64,

    /// Events that not all sockets had, for whatever reason; not part of `last_socket`.
    pub incomplete: u64,
    /// From the sending of an event to the last socket of its room, of rooms with spectators if there are any.
    pub last_socket: Delay,
    /// From the sending of an event to each socket.
    pub spectator: Delay,
    pub player: Delay,
    pub chat: Delay,
    pub chat_sent: u64,
    pub chat_delivered: u64,

    /// Microseconds of CPU, user and system.
    pub cpu_per_delivery_us: f64,
    pub redis_cpu_per_event_us: f64,
    pub client_cpu_per_delivery_us: f64,
    /// Shares of one core.
    pub cpu_cores: f64,

    pub returned: Option<Returned>,
    pub series: Vec<Sample>,
}

/// How the crowd came in.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Joins {
    pub seconds: f64,
    pub per_second: f64,
    /// Server CPU from the handshake to the first snapshot.
    pub cpu_us: f64,
}

/// Memory of the servers.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct MemoryFigures {
    pub before: Memory,
    pub joined: Memory,
    pub after: Memory,
    /// Growth of their own memory by each spectator that joined.
    pub user_bytes_per_spectator: f64,
    pub kernel_before: Kernel,
    pub kernel_joined: Kernel,
    pub kernel_after: Kernel,
    /// Growth of the kernel's memory by each connection, both its ends.
    pub kernel_bytes_per_connection: f64,
}

/// A mass reconnect.
#[derive(Debug, Clone, Serialize)]
pub struct Returned {
    pub sockets: u64,
    pub seconds: f64,
    pub cpu_us: f64,
    pub delay: Delay,
}

/// A moment of a run.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sample {
    pub second: f64,
    pub ready: u64,
    pub delivered: u64,
    /// CPU seconds of the servers since the start.
    pub cpu: f64,
    pub memory: u64,
}

/// A delay's distribution, in milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Delay {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// Percentile and milliseconds.
    pub curve: Vec<(f64, f64)>,
}

impl Delay {
    /// Of values in microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Delay {
        if histogram.is_empty() {
            return Delay::default();
        }
        let at = |percentile: f64| histogram.value_at_percentile(percentile) as f64 / 1e3;
        Delay {
            count: histogram.len(),
            mean: histogram.mean() / 1e3,
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p999: at(99.9),
            max: histogram.max() as f64 / 1e3,
            curve: CURVE
                .map(|percentile| (percentile, at(percentile)))
                .to_vec(),
        }
    }
}

/// What several workers counted, as one.
pub struct Sum {
    pub tally: Tally,
    pub spectators: Histogram<u64>,
    pub players: Histogram<u64>,
    pub chat: Histogram<u64>,
    pub returns: Histogram<u64>,
    pub last: Histogram<u64>,
    pub events: u64,
    pub incomplete: u64,
}

impl Sum {
    /// `members` says how many sockets of a room must get each of its events, and whether it is one of those whose last socket is
    /// of interest: where a million watch one room, the two players of another one are not.
    pub fn of(tallies: Vec<Tally>, members: impl Fn(u32) -> (u32, bool)) -> Sum {
        let mut sum = Sum {
            tally: Tally::default(),
            spectators: delays(),
            players: delays(),
            chat: delays(),
            returns: delays(),
            last: delays(),
            events: 0,
            incomplete: 0,
        };
        let mut events: HashMap<(u32, u32), (u64, u64, u32)> = HashMap::new();
        for tally in tallies {
            let whole = &mut sum.tally;
            whole.delivered += tally.delivered;
            whole.bytes += tally.bytes;
            whole.lost += tally.lost;
            whole.repeated += tally.repeated;
            whole.reordered += tally.reordered;
            whole.snapshots += tally.snapshots;
            whole.skipped += tally.skipped;
            whole.closed += tally.closed;
            whole.chat_sent += tally.chat_sent;
            whole.chat_delivered += tally.chat_delivered;
            whole.pings += tally.pings;
            whole.cpu += tally.cpu;
            whole.troubles.extend(tally.troubles);
            for (histogram, pairs) in [
                (&mut sum.spectators, tally.spectators),
                (&mut sum.players, tally.players),
                (&mut sum.chat, tally.chat),
                (&mut sum.returns, tally.returns),
            ] {
                for (value, count) in pairs {
                    histogram.saturating_record_n(value, count);
                }
            }
            for seen in tally.events {
                let event = events
                    .entry((seen.room, seen.seq))
                    .or_insert((seen.sent, 0, 0));
                event.1 = event.1.max(seen.last);
                event.2 += seen.count;
            }
        }
        for ((room, _), (sent, last, count)) in events {
            sum.events += 1;
            let (members, is_watched) = members(room);
            if count != members {
                sum.incomplete += 1;
            } else if is_watched {
                let delay = crate::worker::tally::micros(last, sent);
                sum.last.saturating_record(delay);
            }
        }
        sum
    }
}
