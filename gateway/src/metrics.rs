//! What a node counts, by Prometheus' names and units, and how it is read.
//!
//! [`TABLE`] is all of it: a metric that is not there does not exist, and each of them is told from the start, as 0, so that an
//! alert can trust its absence to be a fault. What happens seldom is counted where it happens, by the macros of the crate
//! `metrics`; what happens for every event, through the handles of [`meters`], which are looked up once. Nothing is
//! counted a socket: a walk through a crowd is added up and told once.
//!
//! Counters are the process'. Gauges are filled in when somebody asks, from the node that is asked ([`crate::http::admin`]).

use hdrhistogram::Histogram;
use metrics::{Counter, Histogram as Distribution, counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its label, and the values that are told from the start.
    pub label: Option<(&'static str, &'static [&'static str])>,
    /// What it means.
    pub help: &'static str,
}

/// Kinds of metrics.
#[derive(Debug)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many were at most so large, for each of these bounds.
    Histogram(&'static [f64]),
}

/// Bounds for what people notice, in seconds: from what a local network takes to what makes them reload the page.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        label: None,
        help,
    }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        label: None,
        help,
    }
}

const fn seconds(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Histogram(SECONDS),
        label: None,
        help,
    }
}

impl Metric {
    const fn by(mut self, label: &'static str, values: &'static [&'static str]) -> Metric {
        self.label = Some((label, values));
        self
    }
}

/// What a connection is, for `rookery_connections`: a player in a running game of his, a spectator, or in no room.
pub const ROLES: [&str; 3] = ["player", "spectator", "lobby"];

/// Every metric, but those of the process (`process_…`).
pub const TABLE: &[Metric] = &[
    gauge("rookery_connections", "Open WebSocket connections, by what they are: a player of a running game, a spectator, or in no room.")
        .by("role", &ROLES),
    gauge("rookery_connections_limit", "Connections this node takes at most."),
    gauge("rookery_rooms", "Rooms open on this node."),
    gauge("rookery_ready", "1 if a load balancer should send people here."),
    gauge("rookery_redis_reachable", "1 if the backplane answers this node."),
    gauge("rookery_redis_hears", "1 if what this node publishes to itself comes back."),
    gauge("rookery_draining", "1 while the node leaves."),
    gauge("rookery_drain_connections_left", "Connections that a leaving node still has."),
    gauge("rookery_start_time_seconds", "When the node started, in seconds since the Unix epoch."),
    gauge("rookery_build_info", "1; the label tells the release.").by("version", &[env!("CARGO_PKG_VERSION")]),
    counter("rookery_connections_opened_total", "WebSocket connections that were welcomed."),
    counter("rookery_connections_closed_total", "WebSocket connections that ended."),
    counter("rookery_messages_received_total", "Messages that clients sent."),
    counter("rookery_deliveries_total", "Messages written to sockets."),
    counter("rookery_sent_bytes_total", "Bytes of WebSocket frames written to sockets."),
    seconds("rookery_fanout_delay_seconds", "From an event's time until it was written to the last socket of its room on this node, one observation an event."),
    seconds("rookery_append_seconds", "From asking the backplane to append until its answer."),
    counter("rookery_appends_total", "Appends, by how they ended.")
        .by("outcome", &["appended", "repeated", "conflict", "gone", "other_epoch", "bad_time", "unavailable"]),
    counter("rookery_slow_readers_skipped_total", "Spectators who were skipped because they do not keep up; each gets a snapshot later."),
    counter("rookery_slow_readers_closed_total", "Players closed with 4008 because they do not keep up."),
    counter("rookery_redis_reconnects_total", "Connections to Redis that were made anew, by what for.")
        .by("link", &["commands", "subscriber"]),
    counter("rookery_feed_gaps_filled_total", "Holes in what the channel brought that were filled from the log."),
    counter("rookery_feed_resyncs_total", "Rooms whose log's end was read because signals may have been missed."),
    counter("rookery_forks_total", "Branches of one log that were found after Redis lost data; its own won."),
    counter("rookery_restored_total", "Logs that lost something and were put back from what this node held."),
    counter("rookery_recovered_total", "Running games that nobody but the archive knew any more, brought back by this node."),
    gauge("rookery_held_bytes", "Bytes of logs of closed rooms that are kept in case Redis loses them, until they are archived."),
    counter("rookery_outages_total", "Times that this node learnt that for a while no node could write."),
    counter("rookery_clocks_credited_total", "Clocks that got back what an outage took, by this node."),
    counter("rookery_games_created_total", "Games of which this node wrote the first event."),
    counter("rookery_games_finished_total", "Games of which this node wrote the end."),
    counter("rookery_limited_total", "What was refused because it was too much, by the limit.").by(
        "limit",
        &[
            "messages",
            "costly_messages",
            "connections",
            "connections_per_address",
            "chat_per_room",
            "chat_per_user",
            "seeks_per_user",
            "muted",
            "archive_behind",
        ],
    ),
    counter("rookery_tokens_refused_total", "Tokens that were not accepted."),
    gauge("rookery_archive_database_up", "1 if the database took the last batch of this node's archiver."),
    gauge("rookery_archive_queue_entries", "Entries that wait for the archive, on all nodes; told by the node that archives."),
    gauge("rookery_archive_queue_age_seconds", "Age of the oldest of them."),
    seconds("rookery_archive_commit_seconds", "How long a batch took to be committed, waiting for the database included."),
    seconds("rookery_archive_lag_seconds", "How old the oldest event of a batch was when it was committed."),
    counter("rookery_archive_events_total", "Events written to the archive."),
    counter("rookery_archive_set_aside_total", "Entries that could not be archived, and stand in the table `set_aside`."),
    counter("rookery_jwks_refreshes_total", "Readings of operators' keys, by how they ended.").by("result", &["read", "failed"]),
];

/// A counter for the hot path: one addition, told to the recorder when somebody asks, and read back for the rates of a node's
/// own report.
#[derive(Debug)]
pub struct Count {
    counter: Counter,
    total: AtomicU64,
}

impl Count {
    fn new(counter: Counter) -> Count {
        Count {
            counter,
            total: AtomicU64::new(0),
        }
    }

    /// Counts so many.
    pub fn add(&self, n: u64) {
        self.total.fetch_add(n, Ordering::Relaxed);
    }

    fn tell(&self) {
        self.counter.absolute(self.total());
    }

    /// How many since the process started.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

/// What is counted for every event or message.
#[derive(Debug)]
pub struct Meters {
    /// Messages that clients sent.
    pub received: Count,
    /// Messages written to sockets.
    pub deliveries: Count,
    /// Bytes written to sockets.
    pub sent_bytes: Count,
    /// From an event's time until it was written to the last socket of its room here.
    pub fanout_delay: Distribution,
    /// From asking to append until the answer.
    pub append_seconds: Distribution,
}

/// The handles.
pub fn meters() -> &'static Meters {
    static METERS: OnceLock<Meters> = OnceLock::new();
    METERS.get_or_init(|| {
        install();
        Meters {
            received: Count::new(counter!("rookery_messages_received_total")),
            deliveries: Count::new(counter!("rookery_deliveries_total")),
            sent_bytes: Count::new(counter!("rookery_sent_bytes_total")),
            fanout_delay: histogram!("rookery_fanout_delay_seconds"),
            append_seconds: histogram!("rookery_append_seconds"),
        }
    })
}

struct Recorder {
    handle: PrometheusHandle,
    process: metrics_process::Collector,
}

/// The process' recorder, which is installed at the first call. (Should a program that embeds a node have installed one of its own,
/// that one is told, and this has nothing to show.)
fn install() -> &'static Recorder {
    static RECORDER: OnceLock<Recorder> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let mut builder = PrometheusBuilder::new();
        for metric in TABLE {
            if let Kind::Histogram(bounds) = metric.kind {
                let name = Matcher::Full(metric.name.to_owned());
                builder = builder
                    .set_buckets_for_metric(name, bounds)
                    .expect("there are bounds");
            }
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("metrics go to a recorder that was there before");
        }
        TABLE.iter().for_each(tell_from_the_start);
        let process = metrics_process::Collector::default();
        process.describe();
        Recorder { handle, process }
    })
}

fn tell_from_the_start(metric: &Metric) {
    let Metric {
        name,
        kind,
        label,
        help,
    } = metric;
    let values = label.map_or(&[""][..], |(_, values)| values);
    for value in values {
        let labels: Vec<metrics::Label> = label
            .iter()
            .map(|(key, _)| metrics::Label::new(*key, *value))
            .collect();
        match kind {
            Kind::Counter => counter!(*name, labels).absolute(0),
            Kind::Gauge => gauge!(*name, labels).set(0.0),
            Kind::Histogram(_) => drop(histogram!(*name, labels)),
        }
    }
    match kind {
        Kind::Counter => metrics::describe_counter!(*name, *help),
        Kind::Gauge => metrics::describe_gauge!(*name, *help),
        Kind::Histogram(_) => metrics::describe_histogram!(*name, *help),
    }
}

/// All of it in Prometheus' text format.
pub fn render() -> String {
    let (recorder, meters) = (install(), meters());
    for count in [&meters.received, &meters.deliveries, &meters.sent_bytes] {
        count.tell();
    }
    recorder.process.collect();
    recorder.handle.render()
}

/// How often [`upkeep`] is called: observations wait in memory until then, eight bytes each.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Sorts waiting observations into their histograms. Without it they would pile up where nobody reads the metrics.
pub fn upkeep() {
    install().handle.run_upkeep();
}

/// The delays of one node's events since they were last taken, for its report.
#[derive(Debug)]
pub struct Delays(Mutex<Histogram<u32>>);

/// Longest delay told apart from longer ones, in milliseconds.
const DELAY_MAX_MS: u64 = 60_000;

impl Default for Delays {
    fn default() -> Delays {
        let histogram = Histogram::new_with_bounds(1, DELAY_MAX_MS, 2);
        Delays(Mutex::new(histogram.expect("the bounds are in order")))
    }
}

impl Delays {
    /// An event was written to the last socket of its room so long after its time.
    pub fn note(&self, delay_ms: i64) {
        // Clocks differ by a little: an event may seem to come from the future.
        let ms = u64::try_from(delay_ms).unwrap_or(0);
        meters().fanout_delay.record(Duration::from_millis(ms));
        let mut delays = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        delays.saturating_record(ms);
    }

    /// The delay that 99 of 100 events kept below since the last call, in milliseconds; `None` if there was none.
    pub fn take_p99_ms(&self) -> Option<u64> {
        let mut delays = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let p99 = (!delays.is_empty()).then(|| delays.value_at_quantile(0.99));
        delays.reset();
        p99
    }
}

/// An event on its way to the members of its room on this node. Each shard that serves some of them holds it until it has written to
/// the last; when nobody holds it any more, that is noted. A socket whose kernel takes nothing at that moment counts as served: what
/// waits for it is a slow reader's, and counted there.
#[derive(Debug)]
pub struct Delivery {
    delays: Arc<Delays>,
    /// How old the event was when it set out.
    age_ms: i64,
    begun: Instant,
    #[cfg(feature = "otel")]
    trace: Option<crate::traces::Trace>,
}

impl Delivery {
    /// An event of that age sets out.
    pub fn begin(delays: &Arc<Delays>, age_ms: i64) -> Delivery {
        Delivery {
            delays: delays.clone(),
            age_ms,
            begun: Instant::now(),
            #[cfg(feature = "otel")]
            trace: None,
        }
    }

    /// Its end is told to that trace as well.
    #[cfg(feature = "otel")]
    pub fn traced(mut self, trace: Option<crate::traces::Trace>) -> Delivery {
        self.trace = trace;
        self
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let way_ms = i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.delays.note(self.age_ms.saturating_add(way_ms));
        #[cfg(feature = "otel")]
        if let Some(trace) = &self.trace {
            trace.delivered(self.begun);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_told_from_the_start() {
        let text = render();
        for metric in TABLE {
            let Metric {
                name,
                kind,
                label,
                help,
            } = metric;
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            assert!(
                text.contains(&format!("# TYPE {name} {kind}\n")),
                "{name} is missing or no {kind}:\n{text}"
            );
            assert!(
                text.contains(&format!("# HELP {name} {help}")),
                "{name} is not described"
            );
            for value in label.iter().flat_map(|(_, values)| *values) {
                let (key, _) = label.expect("it has a label");
                assert!(
                    text.contains(&format!("{name}{{{key}=\"{value}\"}} ")),
                    "{name} lacks {key}={value}"
                );
            }
        }
        assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
    }

    /// `UPDATE_DOCS=1` writes it.
    #[test]
    fn the_document_lists_every_metric() {
        const MARKS: [&str; 2] = [
            "<!-- metrics: made by the test `the_document_lists_every_metric` -->\n",
            "<!-- end of metrics -->\n",
        ];
        let mut table = String::from("\n| metric | kind | meaning |\n| --- | --- | --- |\n");
        for Metric {
            name,
            kind,
            label,
            help,
        } in TABLE
        {
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            let label = label.map_or_else(String::new, |(key, values)| match values.len() {
                1 => format!("`{{{key}}}`"),
                _ => format!("`{{{key}}}`: {}", values.join(", ")),
            });
            table += &format!("| `{name}` {label} | {kind} | {help} |\n");
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
        let text = std::fs::read_to_string(path).expect("the document");
        let (before, rest) = text.split_once(MARKS[0]).expect("the first mark");
        let (_, after) = rest.split_once(MARKS[1]).expect("the second mark");
        let should = format!("{before}{}{table}\n{}{after}", MARKS[0], MARKS[1]);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, should).expect("a disk");
        } else {
            assert_eq!(
                text, should,
                "docs/operations.md is stale: UPDATE_DOCS=1 cargo test -p gateway the_document_lists_every_metric"
            );
        }
    }

    #[test]
    fn names_and_units_are_prometheus() {
        for Metric { name, kind, .. } in TABLE {
            let total = name.ends_with("_total");
            assert_eq!(
                total,
                matches!(kind, Kind::Counter),
                "{name}: counters, and only they, end in _total"
            );
            if matches!(kind, Kind::Histogram(_)) {
                assert!(
                    name.ends_with("_seconds") || name.ends_with("_bytes"),
                    "{name} has no unit"
                );
            }
        }
    }

    #[test]
    fn the_delay_is_that_of_the_last_report_on() {
        let delays = Delays::default();
        assert_eq!(delays.take_p99_ms(), None);
        (0..100).for_each(|ms| delays.note(ms - 1));
        delays.note(100_000_000);
        let p99 = delays.take_p99_ms().expect("there were some");
        assert!((97..=99).contains(&p99), "{p99}");
        assert_eq!(delays.take_p99_ms(), None);
    }
}
