//! How to reach Redis, and what can be wrong with it at start, in words for whoever is on call.

use super::{
    acl::ACL_RULE,
    server::{Address, Ca, Dialer},
};
use crate::Ack;
use std::{fmt, str::FromStr};

/// Partitions when nothing else is said.
pub const PARTITIONS: u16 = 256;

/// Partitions at most: one for each slot of a Redis Cluster.
pub const PARTITIONS_MAX: u16 = 16384;

/// The word among the subscribe URLs that means: whatever replicas the primary has.
pub const REPLICAS: &str = "replicas";

/// Name of the primary when a Sentinel URL has no `master=`.
const MASTER_NAME: &str = "mymaster";

/// How the Redis servers are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// One server.
    #[default]
    Single,
    /// A primary and replicas watched by Sentinels.
    Sentinel,
    /// Redis Cluster.
    Cluster,
}

impl FromStr for Mode {
    type Err = String;
    fn from_str(text: &str) -> Result<Mode, String> {
        match text {
            "single" => Ok(Mode::Single),
            "sentinel" => Ok(Mode::Sentinel),
            "cluster" => Ok(Mode::Cluster),
            other => Err(format!("{other:?} is none of single, sentinel, cluster")),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Single => "single",
            Mode::Sentinel => "sentinel",
            Mode::Cluster => "cluster",
        })
    }
}

/// How to reach Redis.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS (whoever starts the process installs a rustls
    /// provider; `#insecure` is not supported). One for a single server; any of a cluster's nodes; each of the Sentinels, with
    /// `?master=name` (default `mymaster`). Of several, user, password, TLS and database are taken from the first.
    /// With Sentinels they are the data servers'; the Sentinels' own are `&sentinel-user=` and `&sentinel-password=`.
    pub urls: Vec<String>,
    /// How the servers are arranged.
    pub mode: Mode,
    /// Where to listen instead of at the primaries: URLs of replicas, dealt to the nodes by their names and left for another
    /// when one dies (for the primary itself when all are dead), or the one word `replicas` for those that Sentinel or the
    /// cluster knows.
    pub subscribe_urls: Vec<String>,
    /// Into how many partitions rooms are dealt. The same on all nodes; the first writes it into Redis.
    pub partitions: u16,
    /// Name of this node, unique in the cluster.
    pub node: String,
    /// Certificates (PEM) that vouch for the servers of `rediss://` URLs, instead of the system's.
    pub ca: Option<Vec<u8>>,
    /// Put each append into the queue of the archive. Only where an archive reads it: nothing else ever trims it.
    pub queue: bool,
    /// What must hold before an append is answered.
    pub ack: Ack,
}

impl RedisOptions {
    /// Options with defaults for all but the URL: a single server, listened to itself, no queue.
    pub fn new(url: impl Into<String>, node: impl Into<String>) -> RedisOptions {
        RedisOptions {
            urls: vec![url.into()],
            mode: Mode::Single,
            subscribe_urls: Vec::new(),
            partitions: PARTITIONS,
            node: node.into(),
            ca: None,
            queue: false,
            ack: Ack::Memory,
        }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URLs hold passwords.
        f.debug_struct("RedisOptions")
            .field("mode", &self.mode)
            .field("partitions", &self.partitions)
            .field("node", &self.node)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// Why the node cannot start on this Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// A setting that cannot be.
    #[error("{0}")]
    BadSetting(String),
    /// Nobody answered.
    #[error("cannot reach Redis at {server}: {why}")]
    Unreachable {
        /// Host and port, or several.
        server: String,
        /// The last error.
        why: String,
    },
    /// The password, or the user, was refused.
    #[error("Redis at {server} refuses this user or password: {why}")]
    WrongPassword {
        /// Host and port.
        server: String,
        /// Its answer.
        why: String,
    },
    /// The user may not do what is needed.
    #[error(
        "Redis at {server} does not allow this user what Rookery needs: {why}; the rule is: {ACL_RULE}"
    )]
    NotPermitted {
        /// Host and port.
        server: String,
        /// Its answer.
        why: String,
    },
    /// Older than 7.
    #[error(
        "{server} runs Redis {version}; Rookery needs Redis 7.0 or Valkey, for sharded Pub/Sub"
    )]
    TooOld {
        /// Host and port.
        server: String,
        /// As it says.
        version: String,
    },
    /// The servers are arranged in another way than was said.
    #[error(
        "{server} is {found}, but the mode is set to {mode}: set the mode to {should}, or give the address of another server"
    )]
    OtherMode {
        /// Host and port.
        server: String,
        /// What it is.
        found: &'static str,
        /// What was said.
        mode: Mode,
        /// What would fit.
        should: Mode,
    },
    /// The one server is a replica and cannot be written to.
    #[error("{server} is a replica and cannot be written to: give the address of its primary")]
    IsReplica {
        /// Host and port.
        server: String,
    },
    /// The Sentinels answer, but do not know the primary.
    #[error("the Sentinels do not know a primary named {name:?}: set ?master= in the URL: {why}")]
    UnknownMaster {
        /// The name asked for.
        name: String,
        /// Their answer.
        why: String,
    },
    /// Other nodes run with another number of partitions.
    #[error(
        "this Redis holds rooms in {there} partitions, and this node is set to {here}: all nodes need the same number"
    )]
    OtherPartitions {
        /// As set here.
        here: u16,
        /// As the first node wrote it.
        there: String,
    },
}

/// Checked options.
#[derive(Debug)]
pub(super) struct Plan {
    pub mode: Mode,
    pub seeds: Vec<Address>,
    pub dialer: Dialer,
    pub sentinel: Option<SentinelPlan>,
    pub listen: Listen,
    pub partitions: u16,
    pub node: String,
    pub queue: bool,
    pub ack: Ack,
}

#[derive(Debug)]
pub(super) struct SentinelPlan {
    pub master: String,
    pub dialer: Dialer,
}

/// Where to listen.
#[derive(Debug, Clone)]
pub(super) enum Listen {
    Primaries,
    Replicas,
    At(Vec<(Address, Dialer)>),
}

impl RedisOptions {
    pub(super) fn plan(&self) -> Result<Plan, StartError> {
        let bad = |why: String| Err(StartError::BadSetting(why));
        if self.partitions == 0 || self.partitions > PARTITIONS_MAX {
            return bad(format!(
                "the number of partitions is 1 to {PARTITIONS_MAX}, not {}",
                self.partitions
            ));
        }
        if self.node.is_empty() || self.node.len() > 200 {
            return bad("the node's name has 1 to 200 bytes".to_owned());
        }
        let ca = self.ca.as_deref().map(Ca::parse).transpose();
        let ca = ca.map_err(|why| StartError::BadSetting(format!("the CA for Redis: {why}")))?;
        let parse = |url: &String| parse(url, ca.as_ref());
        let parsed: Vec<Url> = self.urls.iter().map(parse).collect::<Result<_, _>>()?;
        let Some(first) = parsed.first() else {
            return bad("no Redis URL is set".to_owned());
        };
        if ca.is_some() && !first.dialer.is_tls() {
            return bad("a CA for Redis is set, but its URL is not rediss://".to_owned());
        }
        if self.mode == Mode::Single && parsed.len() > 1 {
            return bad(format!(
                "{} Redis URLs are set, and mode single takes one: set the mode to sentinel or cluster",
                parsed.len()
            ));
        }
        if self.mode == Mode::Cluster && first.dialer.database() != 0 {
            return bad("a Redis Cluster has only database 0".to_owned());
        }
        let sentinel = (self.mode == Mode::Sentinel).then(|| SentinelPlan {
            master: first.master.clone(),
            dialer: first
                .dialer
                .with_user(first.sentinel_user.clone(), first.sentinel_password.clone()),
        });
        let listen = match self.subscribe_urls.as_slice() {
            [] => Listen::Primaries,
            [word] if word == REPLICAS && self.mode == Mode::Single => {
                return bad(format!(
                    "with a single server, name the replicas to subscribe at by URL instead of {REPLICAS:?}"
                ));
            }
            [word] if word == REPLICAS => Listen::Replicas,
            _ if self.mode == Mode::Cluster => {
                return bad(format!(
                    "in a cluster every shard has its own replicas: the only subscribe URL is the word {REPLICAS:?}"
                ));
            }
            urls => Listen::At(
                urls.iter()
                    .map(|url| parse(url).map(|url| (url.address, url.dialer)))
                    .collect::<Result<_, _>>()?,
            ),
        };
        Ok(Plan {
            mode: self.mode,
            dialer: first.dialer.clone(),
            sentinel,
            listen,
            partitions: self.partitions,
            node: self.node.clone(),
            queue: self.queue,
            ack: self.ack,
            seeds: parsed.into_iter().map(|url| url.address).collect(),
        })
    }
}

struct Url {
    address: Address,
    dialer: Dialer,
    master: String,
    sentinel_user: Option<String>,
    sentinel_password: Option<String>,
}

fn parse(text: &str, ca: Option<&Ca>) -> Result<Url, StartError> {
    // The text itself may hold a password, so it is not repeated.
    let bad = |why: &str| StartError::BadSetting(format!("a Redis URL is wrong: {why}"));
    let url = redis::parse_redis_url(text)
        .filter(|url| matches!(url.scheme(), "redis" | "rediss" | "valkey" | "valkeys"))
        .ok_or_else(|| {
            bad("it must be redis://[user:password@]host[:port] or rediss://… for TLS")
        })?;
    if url.fragment().is_some() {
        return Err(bad("it ends in #…, which is not supported"));
    }
    let query = |name: &str| {
        let mut pairs = url.query_pairs();
        let found = pairs.find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    };
    let master = query("master").unwrap_or_else(|| MASTER_NAME.to_owned());
    let [sentinel_user, sentinel_password] = ["sentinel-user", "sentinel-password"].map(query);
    let info = redis::IntoConnectionInfo::into_connection_info(url)
        .map_err(|error| bad(&error.to_string()))?;
    let (address, dialer) =
        Dialer::of(&info, ca).ok_or_else(|| bad("it names no host and port"))?;
    Ok(Url {
        address,
        dialer,
        master,
        sentinel_user,
        sentinel_password,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plan(change: impl FnOnce(&mut RedisOptions)) -> Result<Plan, StartError> {
        let mut options = RedisOptions::new("redis://:secret@127.0.0.1:7000", "a");
        change(&mut options);
        options.plan()
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        type Change = fn(&mut RedisOptions);
        let table: &[(Change, &str)] = &[
            (|o| o.partitions = 0, "number of partitions"),
            (|o| o.partitions = 20_000, "number of partitions"),
            (|o| o.node = String::new(), "node's name"),
            (|o| o.urls.clear(), "no Redis URL"),
            (|o| o.urls[0] = "http://a".into(), "redis://"),
            (|o| o.urls[0] = "redis+unix:///tmp/s".into(), "redis://"),
            (
                |o| o.urls[0] = "rediss://a/#insecure".into(),
                "not supported",
            ),
            (|o| o.urls[0] = "redis://a/x".into(), "database"),
            (|o| o.urls.push("redis://b".into()), "mode single takes one"),
            (
                |o| {
                    o.mode = Mode::Cluster;
                    o.urls[0] = "redis://a/2".into();
                },
                "only database 0",
            ),
            (|o| o.subscribe_urls = vec!["replicas".into()], "by URL"),
            (|o| o.ca = Some(b"no PEM".to_vec()), "no certificate"),
            (
                |o| {
                    o.urls[0] = "rediss://a".into();
                    o.ca = Some(b"-----BEGIN CERTIFICATE-----\nAAAA".to_vec());
                },
                "certificate",
            ),
            (
                |o| {
                    o.mode = Mode::Cluster;
                    o.subscribe_urls = vec!["redis://b".into()];
                },
                "replicas",
            ),
        ];
        for (change, words) in table {
            let text = plan(change).unwrap_err().to_string();
            assert!(text.contains(words), "{text:?} lacks {words:?}");
            assert!(!text.contains("secret"));
        }
    }

    #[test]
    fn sentinel_urls_name_the_primary() {
        let plan = plan(|o| {
            o.mode = Mode::Sentinel;
            o.urls = vec![
                "redis://u:p@a:26379/?master=chess&sentinel-password=s".into(),
                "redis://b:26380".into(),
            ];
        })
        .unwrap();
        let sentinel = plan.sentinel.unwrap();
        assert_eq!(sentinel.master, "chess");
        let named: Vec<_> = plan.seeds.iter().map(Address::to_string).collect();
        assert_eq!(named, ["a:26379", "b:26380"]);
        assert_eq!(plan.dialer.user(), (Some("u"), Some("p")));
        assert_eq!(sentinel.dialer.user(), (None, Some("s")));
    }

    #[test]
    fn passwords_are_not_shown() {
        let options = RedisOptions::new("redis://:secret@127.0.0.1:7000", "a");
        let shown = format!("{options:?} {:?}", options.plan().unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
