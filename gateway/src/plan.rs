//! `rookery plan`: what it takes to show one room to so many, from constants that were measured.
//!
//! A model on paper, pure arithmetic: it asks no server. What it knows of costs stands in [`CONSTANTS`], each with its source.

use clap::Args;
use std::fmt;

/// What is asked of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Args)]
pub struct Ask {
    /// People who watch one room at once.
    #[arg(long)]
    pub watchers: u64,
    /// Events a second in that room; a fast game has one every five seconds (0.2), its end some five a second.
    #[arg(long, default_value_t = 0.2)]
    pub events_per_second: f64,
    /// Times a second that the count of viewers changes: at most 1, and less in large rooms, where it is rounded.
    #[arg(long, default_value_t = 0.1)]
    pub viewer_counts_per_second: f64,
    /// Connections one gateway may hold: its `--max-connections`.
    #[arg(long, default_value_t = 100_000)]
    pub connections_per_gateway: u64,
    /// Cores of a gateway.
    #[arg(long, default_value_t = 4.0)]
    pub cores: f64,
    /// Network of a gateway, in Gbit/s.
    #[arg(long, default_value_t = 10.0)]
    pub network_gbit: f64,
    /// An event should be with the last watcher of a gateway after so many milliseconds.
    #[arg(long, default_value_t = 1_000.0)]
    pub last_socket_ms: f64,
    /// The crowd comes within so many seconds, or comes back within them after a fault.
    #[arg(long, default_value_t = 60.0)]
    pub arrive_seconds: f64,
}

/// A measured cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constant {
    /// Its value.
    pub value: f64,
    /// Its unit and what it is.
    pub what: &'static str,
    /// Where it comes from.
    pub source: &'static str,
}

/// All of them; docs/performance.md has the machine and the commands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constants {
    /// Gateway CPU to bring one event to one socket, µs.
    pub delivery_us: Constant,
    /// Gateway CPU to take one watcher in, from the handshake to the first snapshot, µs.
    pub join_us: Constant,
    /// Redis CPU to pass one message to one subscriber, µs.
    pub publish_us: Constant,
    /// Redis CPU of one append, µs.
    pub append_us: Constant,
    /// A gateway's own memory for one idle watcher, bytes.
    pub user_bytes: Constant,
    /// The kernel's memory for one socket, bytes.
    pub kernel_bytes: Constant,
    /// One event on the wire, with the heads of frame, TCP, IP and Ethernet, bytes.
    pub event_bytes: Constant,
    /// One count of viewers on the wire, likewise.
    pub viewers_bytes: Constant,
    /// What a joining watcher is sent in all, bytes.
    pub join_bytes: Constant,
}

/// What was measured.
pub const CONSTANTS: Constants = Constants {
    delivery_us: Constant {
        value: 12.0,
        what: "µs of gateway CPU per delivery",
        source: "`make load`, 10,000 spectators at 5/s: 12.4, the receiver's half of loopback's TCP included",
    },
    join_us: Constant {
        value: 360.0,
        what: "µs of gateway CPU per join",
        source: "`make load`: 360 at 1,900 joins/s; 170 where a crowd keeps the machine busy (`make bench-million`)",
    },
    publish_us: Constant {
        value: 12.0,
        what: "µs of Redis CPU per message and subscriber",
        source: "`make bench-tree`, 1,000 subscribers at 20/s: 12; 3.3 to 5 where they are busy anyway",
    },
    append_us: Constant {
        value: 21.0,
        what: "µs of Redis CPU per append",
        source: "append script without subscribers: 38,000–46,000 a second on a core",
    },
    user_bytes: Constant {
        value: 1_340.0,
        what: "bytes of a gateway's own memory per idle watcher",
        source: "growth of the resident set: 1,210 by `make load`, up to 1,480 by `make bench-million`",
    },
    kernel_bytes: Constant {
        value: 4_900.0,
        what: "bytes of kernel memory per idle socket",
        source: "`make bench-million`: 8 to 10 KB for both ends on loopback",
    },
    event_bytes: Constant {
        value: 350.0,
        what: "bytes of an event on the wire",
        source: "a move is some 270 bytes; frame 4, TCP with timestamps 32, IP 20, Ethernet 18",
    },
    viewers_bytes: Constant {
        value: 160.0,
        what: "bytes of a count of viewers on the wire",
        source: "84 bytes and the same heads",
    },
    join_bytes: Constant {
        value: 8_000.0,
        what: "bytes sent to one who joins",
        source: "handshake, welcome with token, and a snapshot of 40 moves",
    },
};

/// Share of a resource that may be planned with; the rest is for peaks, and for the neighbours of a gateway that died.
const USABLE: f64 = 0.5;

/// Subscribers of one Redis server: at 12 µs each an event is with the last of them after this many × 12 µs = 12 ms.
const SUBSCRIBERS_PER_REDIS_MAX: u64 = 1_000;

/// What it takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// What was asked.
    pub ask: Ask,
    /// Gateways, and what their number comes from.
    pub gateways: u64,
    /// The tightest limit.
    pub limit: &'static str,
    /// Watchers of each.
    pub watchers_each: f64,
    /// Milliseconds from an event's coming to a gateway until its last socket has it.
    pub last_socket_ms: f64,
    /// Share of a gateway's CPU that deliveries take.
    pub cpu: f64,
    /// Gbit/s of each gateway.
    pub gbit_each: f64,
    /// Gbit/s of all.
    pub gbit: f64,
    /// Bytes of a gateway's memory, kernel included.
    pub memory_each: f64,
    /// Replicas of Redis that gateways subscribe at; none while the primary serves them all.
    pub replicas: u64,
    /// Milliseconds until the last gateway has heard of an event.
    pub tree_ms: f64,
    /// Share of one core that the busiest Redis server spends on passing on.
    pub redis_cpu: f64,
    /// Joins a second of each gateway while the crowd comes.
    pub joins_each: f64,
    /// Share of a gateway's CPU that those take.
    pub join_cpu: f64,
    /// Gbit/s of each gateway that those take.
    pub join_gbit: f64,
}

/// Works it out.
#[must_use]
pub fn plan(ask: Ask) -> Plan {
    let c = CONSTANTS;
    let watchers = ask.watchers as f64;
    let deliveries_per_second = ask.events_per_second + ask.viewer_counts_per_second;
    let bytes_per_second = ask.events_per_second * c.event_bytes.value
        + ask.viewer_counts_per_second * c.viewers_bytes.value;
    let wire = ask.network_gbit * 1e9 / 8.0 * USABLE;
    let cpu = ask.cores * 1e6 * USABLE;
    // Watchers that one gateway can have, by each limit.
    let limits = [
        ("connections", ask.connections_per_gateway as f64),
        (
            "CPU for deliveries",
            cpu / (deliveries_per_second * c.delivery_us.value).max(f64::MIN_POSITIVE),
        ),
        (
            "time to the last socket",
            ask.last_socket_ms * 1_000.0 * ask.cores / c.delivery_us.value,
        ),
        ("network", wire / bytes_per_second.max(f64::MIN_POSITIVE)),
        ("CPU for joins", cpu * ask.arrive_seconds / c.join_us.value),
        (
            "network for joins",
            wire * ask.arrive_seconds / c.join_bytes.value,
        ),
    ];
    let (limit, most) = limits
        .into_iter()
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or(("connections", 1.0));
    let gateways = whole(watchers / most.max(1.0)).max(1);
    let each = watchers / gateways as f64;
    let replicas = if gateways <= SUBSCRIBERS_PER_REDIS_MAX {
        0
    } else {
        gateways.div_ceil(SUBSCRIBERS_PER_REDIS_MAX)
    };
    let subscribers = (gateways as f64 / replicas.max(1) as f64).max(replicas as f64);
    // Two steps of the tree where there are replicas.
    let tree_us = c.append_us.value
        + c.publish_us.value * (replicas as f64 + gateways as f64 / replicas.max(1) as f64);
    let gbit_each = each * bytes_per_second * 8.0 / 1e9;
    let joins_each = each / ask.arrive_seconds;
    Plan {
        ask,
        gateways,
        limit,
        watchers_each: each,
        last_socket_ms: each * c.delivery_us.value / ask.cores / 1_000.0,
        cpu: each * deliveries_per_second * c.delivery_us.value / (ask.cores * 1e6),
        gbit_each,
        gbit: gbit_each * gateways as f64,
        memory_each: each * (c.user_bytes.value + c.kernel_bytes.value),
        replicas,
        tree_ms: tree_us / 1_000.0,
        redis_cpu: (ask.events_per_second * c.append_us.value
            + deliveries_per_second * subscribers * c.publish_us.value)
            / 1e6,
        joins_each,
        join_cpu: joins_each * c.join_us.value / (ask.cores * 1e6),
        join_gbit: joins_each * c.join_bytes.value * 8.0 / 1e9,
    }
}

fn whole(number: f64) -> u64 {
    number.ceil() as u64
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ask {
            watchers,
            events_per_second,
            viewer_counts_per_second,
            cores,
            arrive_seconds,
            ..
        } = self.ask;
        writeln!(
            f,
            "{watchers} watchers of one room, {events_per_second} events/s, {viewer_counts_per_second} counts of viewers/s"
        )?;
        let mut line = |name: &str, value: String| writeln!(f, "  {name:<28}{value}");
        line(
            "gateways",
            format!(
                "{} of {cores} cores, {:.0} watchers each (limit: {})",
                self.gateways, self.watchers_each, self.limit
            ),
        )?;
        line(
            "to a gateway's last socket",
            format!("{:.0} ms", self.last_socket_ms),
        )?;
        line(
            "a gateway's CPU",
            format!("{:.0} % for deliveries", 100.0 * self.cpu),
        )?;
        line(
            "bandwidth",
            format!("{:.3} Gbit/s each, {:.1} in all", self.gbit_each, self.gbit),
        )?;
        line(
            "a gateway's memory",
            format!(
                "{:.2} GiB with the kernel's",
                self.memory_each / 1_073_741_824.0
            ),
        )?;
        line(
            "Redis",
            match self.replicas {
                0 => "one primary, at which all gateways subscribe".to_owned(),
                replicas => format!("one primary, {replicas} replicas to subscribe at"),
            },
        )?;
        line(
            "to the last gateway",
            format!(
                "{:.1} ms; the busiest Redis passes on with {:.1} % of a core",
                self.tree_ms,
                100.0 * self.redis_cpu
            ),
        )?;
        line(
            "the crowd comes",
            format!(
                "in {arrive_seconds} s: {:.0} joins/s each, {:.0} % of its CPU, {:.2} Gbit/s",
                self.joins_each,
                100.0 * self.join_cpu,
                self.join_gbit
            ),
        )?;
        let c = CONSTANTS;
        writeln!(
            f,
            "With these constants, half of CPU and network kept free:"
        )?;
        for constant in [
            c.delivery_us,
            c.join_us,
            c.publish_us,
            c.append_us,
            c.user_bytes,
            c.kernel_bytes,
            c.event_bytes,
            c.viewers_bytes,
            c.join_bytes,
        ] {
            writeln!(
                f,
                "  {:>6} {:<50} {}",
                constant.value, constant.what, constant.source
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(watchers: u64, events_per_second: f64) -> Ask {
        Ask {
            watchers,
            events_per_second,
            viewer_counts_per_second: 0.1,
            connections_per_gateway: 100_000,
            cores: 4.0,
            network_gbit: 10.0,
            last_socket_ms: 1_000.0,
            arrive_seconds: 60.0,
        }
    }

    #[test]
    fn what_limits_a_cluster() {
        // Watchers, events a second, what else is asked; limit, gateways.
        type Case = (u64, f64, fn(Ask) -> Ask, &'static str, u64);
        let same = |ask: Ask| ask;
        let cases: [Case; 6] = [
            (1_000, 0.2, same, "connections", 1),
            (10_000_000, 0.2, same, "connections", 100),
            (10_000_000, 50.0, same, "CPU for deliveries", 3_006),
            (
                1_000_000,
                0.2,
                |ask| Ask {
                    last_socket_ms: 50.0,
                    ..ask
                },
                "time to the last socket",
                60,
            ),
            (
                1_000_000,
                1.0,
                |ask| Ask {
                    network_gbit: 0.1,
                    ..ask
                },
                "network",
                59,
            ),
            (
                1_000_000,
                0.2,
                |ask| Ask {
                    arrive_seconds: 1.0,
                    ..ask
                },
                "CPU for joins",
                180,
            ),
        ];
        for (watchers, rate, change, limit, gateways) in cases {
            let plan = plan(change(ask(watchers, rate)));
            assert_eq!((plan.limit, plan.gateways), (limit, gateways), "{plan}");
        }
    }

    #[test]
    fn replicas_come_when_one_server_has_too_many_subscribers() {
        assert_eq!(plan(ask(10_000_000, 0.2)).replicas, 0);
        let many = plan(ask(10_000_000, 50.0));
        assert_eq!(many.replicas, 4);
        let most = plan(Ask {
            connections_per_gateway: 1_000,
            ..ask(10_000_000, 0.2)
        });
        assert_eq!((most.gateways, most.replicas), (10_000, 10));
        assert!(most.tree_ms < 15.0, "{most}");
    }

    #[test]
    fn nobody_needs_one_gateway() {
        let none = plan(ask(0, 0.0));
        assert_eq!((none.gateways, none.replicas), (1, 0));
        assert!(none.to_string().contains("one primary"));
    }
}
