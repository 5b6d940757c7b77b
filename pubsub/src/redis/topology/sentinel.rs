//! Asks all Sentinels for the primary, and believes the one that knows the latest failover.

use super::super::start;
use crate::redis::{
    options::{Listen, Plan, SentinelPlan, StartError},
    server::{Address, Dialer},
};
use redis::{RedisResult, Value, aio::MultiplexedConnection};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{sync::Mutex, task::JoinSet};

/// How long the Sentinels are waited for; whoever has answered by then is heard.
const ASK_TIMEOUT: Duration = Duration::from_millis(800);

#[derive(Debug)]
pub(super) struct Sentinels {
    peers: Vec<Arc<Peer>>,
    want_replicas: bool,
}

#[derive(Debug)]
struct Peer {
    address: Address,
    dialer: Dialer,
    master: String,
    connection: Mutex<Option<MultiplexedConnection>>,
}

/// What the Sentinels say.
#[derive(Debug)]
pub(super) struct Answer {
    config_epoch: u64,
    pub primary: Address,
    /// Only if they are wanted.
    pub replicas: Vec<Address>,
    /// A failover is under way: what was said may be wrong in a moment, and the old primary goes on taking writes that nobody
    /// will ever see, for some seconds.
    pub unsettled: bool,
}

impl Sentinels {
    pub fn new(plan: &Plan, sentinel: &SentinelPlan) -> Sentinels {
        let peers = plan.seeds.iter().map(|address| {
            Arc::new(Peer {
                address: address.clone(),
                dialer: sentinel.dialer.clone(),
                master: sentinel.master.clone(),
                connection: Mutex::default(),
            })
        });
        Sentinels {
            peers: peers.collect(),
            want_replicas: matches!(plan.listen, Listen::Replicas),
        }
    }

    /// The answer of the Sentinel that knows the latest failover.
    pub async fn ask(&self) -> Result<Answer, StartError> {
        let mut asked = JoinSet::new();
        for peer in &self.peers {
            let (peer, want_replicas) = (peer.clone(), self.want_replicas);
            asked.spawn(async move {
                let answer = tokio::time::timeout(ASK_TIMEOUT, peer.ask(want_replicas)).await;
                answer.unwrap_or_else(|_| {
                    Err(StartError::Unreachable {
                        server: peer.address.to_string(),
                        why: "the Sentinel did not answer in time".to_owned(),
                    })
                })
            });
        }
        let mut best: Option<Answer> = None;
        let mut unsettled = false;
        let mut refused = None;
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(answer)) => {
                    unsettled |= answer.unsettled;
                    if best
                        .as_ref()
                        .is_none_or(|b| b.config_epoch < answer.config_epoch)
                    {
                        best = Some(answer);
                    }
                }
                // "Unknown primary" says more than "unreachable".
                Ok(Err(error)) => {
                    if refused.is_none() || matches!(error, StartError::UnknownMaster { .. }) {
                        refused = Some(error);
                    }
                }
                Err(_) => {}
            }
        }
        let Some(answer) = best else {
            return Err(refused.unwrap_or_else(|| {
                let addresses: Vec<_> = self.peers.iter().map(|p| p.address.clone()).collect();
                StartError::Unreachable {
                    server: start::list(&addresses),
                    why: "no Sentinel answers".to_owned(),
                }
            }));
        };
        Ok(Answer {
            unsettled,
            ..answer
        })
    }
}

impl Peer {
    async fn ask(&self, want_replicas: bool) -> Result<Answer, StartError> {
        let master = self.query("MASTER").await?;
        let unknown = |why: &str| StartError::UnknownMaster {
            name: self.master.clone(),
            why: why.to_owned(),
        };
        let fields = fields(master).ok_or_else(|| unknown("an answer of another kind"))?;
        // During a failover this names the new primary as soon as it has been promoted, and MASTER the old one to the end.
        let primary = self.query("GET-MASTER-ADDR-BY-NAME").await?;
        let primary = redis::from_redis_value::<(String, u16)>(primary);
        let (host, port) = primary.map_err(|_| unknown("no address"))?;
        let flags = fields.get("flags").map_or("", String::as_str);
        let unsettled = flags.contains("failover_in_progress") || flags.contains("down");
        let config_epoch = fields.get("config-epoch").and_then(|n| n.parse().ok());
        let replicas = if want_replicas {
            let listed = match self.query("REPLICAS").await? {
                Value::Array(items) => items,
                _ => Vec::new(),
            };
            let alive = |fields: &HashMap<String, String>| {
                let flags = fields.get("flags").map_or("", String::as_str);
                !flags.contains("down") && !flags.contains("disconnected")
            };
            let listed = listed.into_iter().filter_map(self::fields).filter(alive);
            listed.filter_map(|fields| address(&fields)).collect()
        } else {
            Vec::new()
        };
        Ok(Answer {
            config_epoch: config_epoch.unwrap_or(0),
            primary: Address { host, port },
            replicas,
            unsettled,
        })
    }

    /// `SENTINEL what master`, over a connection that is kept.
    async fn query(&self, what: &str) -> Result<Value, StartError> {
        let command = redis::cmd("SENTINEL")
            .arg(what)
            .arg(&self.master)
            .to_owned();
        let mut kept = self.connection.lock().await;
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answer = connection.send_packed_command(&command).await;
        let answer: RedisResult<Value> = answer.and_then(Value::extract_error);
        match answer {
            Ok(value) => {
                *kept = Some(connection);
                Ok(value)
            }
            Err(error) if error.detail().is_some_and(|d| d.contains("No such master")) => {
                *kept = Some(connection);
                Err(StartError::UnknownMaster {
                    name: self.master.clone(),
                    why: error.to_string(),
                })
            }
            Err(error) => Err(start::refused(&self.address, error)),
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, StartError> {
        let dialed = self.dialer.dial(&self.address, |_| {}).await;
        let (connection, hello) = dialed.map_err(|error| start::refused(&self.address, error))?;
        start::check_mode(&self.address, &hello, crate::redis::Mode::Sentinel)?;
        Ok(connection)
    }
}

fn fields(value: Value) -> Option<HashMap<String, String>> {
    redis::from_redis_value(value).ok()
}

fn address(fields: &HashMap<String, String>) -> Option<Address> {
    Some(Address {
        host: fields.get("ip")?.clone(),
        port: fields.get("port")?.parse().ok()?,
    })
}
