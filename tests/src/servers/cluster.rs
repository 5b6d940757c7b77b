//! A Redis Cluster of three primaries with a replica each.

use super::{RedisServer, free_port, until};
use ::redis::{Value, cmd};
use std::time::Duration;

/// How long a node may be silent before the others give it up, in milliseconds: short, so that tests are.
const NODE_TIMEOUT_MS: u16 = 2000;

const SLOTS: u16 = 16384;
const PRIMARIES: u16 = 3;

/// Six servers; the first three begin as primaries, and server 3 + n as the replica of n.
#[derive(Debug)]
pub struct RedisCluster {
    /// All of them.
    pub servers: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts it; answers when every node says that all is well, and every replica is in step.
    pub async fn start() -> RedisCluster {
        let timeout = NODE_TIMEOUT_MS.to_string();
        let launch = |_| {
            let bus = free_port().to_string();
            RedisServer::launch(&[
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                &timeout,
                "--cluster-port",
                &bus,
                "--cluster-replica-validity-factor",
                "0",
            ])
        };
        let servers: Vec<_> = (0..2 * PRIMARIES).map(launch).collect();
        for server in &servers {
            server.wait_ready().await;
        }
        let cluster = RedisCluster { servers };
        cluster.assemble().await;
        cluster
    }

    async fn assemble(&self) {
        let share = SLOTS / PRIMARIES;
        for (index, server) in (0..).zip(&self.servers) {
            let epoch = usize::from(index) + 1;
            server
                .ask::<()>(cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(epoch))
                .await;
            if index < PRIMARIES {
                let last = if index == PRIMARIES - 1 {
                    SLOTS
                } else {
                    share * (index + 1)
                } - 1;
                let mut add = cmd("CLUSTER");
                add.arg("ADDSLOTSRANGE").arg(share * index).arg(last);
                server.ask::<()>(&add).await;
            }
        }
        let first = &self.servers[0];
        for server in &self.servers[1..] {
            let bus = bus_port(server).await;
            let mut meet = cmd("CLUSTER");
            meet.arg("MEET")
                .arg("127.0.0.1")
                .arg(server.port())
                .arg(bus);
            first.ask::<()>(&meet).await;
        }
        for (index, server) in self.servers.iter().enumerate() {
            until("every node knows all", async || {
                nodes(server).await.len() == self.servers.len()
            })
            .await;
            if let Some(primary) = index.checked_sub(usize::from(PRIMARIES)) {
                let primary = self.id(primary).await;
                until("a replica knows its primary", async || {
                    let mut replicate = cmd("CLUSTER");
                    replicate.arg("REPLICATE").arg(&primary);
                    server.try_ask(&replicate).await.is_ok()
                })
                .await;
            }
        }
        self.wait_well().await;
    }

    /// Waits until every running node finds all slots served, and every replica is in step and known to all.
    pub async fn wait_well(&self) {
        for server in &self.servers {
            until("the cluster is well", async || {
                let info = server.try_ask(cmd("CLUSTER").arg("INFO")).await;
                let info: String = match info {
                    Ok(info) => ::redis::from_redis_value(info).unwrap_or_default(),
                    Err(_) => return false,
                };
                let replicas = self.servers.len() - usize::from(PRIMARIES);
                let nodes = nodes(server).await;
                let known = nodes.iter().filter(|node| node.is_replica).count();
                info.contains("cluster_state:ok") && known == replicas
            })
            .await;
            if server.info("replication", "role").await.as_deref() == Some("slave") {
                server.wait_in_step().await;
            }
        }
    }

    /// URLs of some of its nodes.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().take(3).map(RedisServer::url).collect()
    }

    /// A node's name in the cluster.
    pub async fn id(&self, index: usize) -> String {
        self.servers[index].ask(cmd("CLUSTER").arg("MYID")).await
    }

    /// Which server owns a slot, as the first that answers says.
    pub async fn owner(&self, slot: u16) -> usize {
        let owner = self.owner_but(slot, usize::MAX).await;
        owner.unwrap_or_else(|| panic!("nobody owns slot {slot}"))
    }

    async fn owner_but(&self, slot: u16, dead: usize) -> Option<usize> {
        for (index, server) in self.servers.iter().enumerate() {
            if index == dead {
                continue;
            }
            let Ok(Value::Array(ranges)) = server.try_ask(cmd("CLUSTER").arg("SLOTS")).await else {
                continue;
            };
            for range in ranges {
                type Node = (String, u16);
                let Value::Array(range) = range else { continue };
                let number = |index: usize| ::redis::from_redis_value::<u16>(range[index].clone());
                let (Ok(first), Ok(last)) = (number(0), number(1)) else {
                    continue;
                };
                if !(first..=last).contains(&slot) {
                    continue;
                }
                let Value::Array(owner) = &range[2] else {
                    continue;
                };
                let pair = Value::Array(owner[..2].to_vec());
                if let Ok((_, port)) = ::redis::from_redis_value::<Node>(pair) {
                    let found = self.servers.iter().position(|server| server.port() == port);
                    return found;
                }
            }
        }
        None
    }

    /// Slots with keys in them, at one server.
    pub async fn slots_with_keys(&self, server: usize) -> Vec<u16> {
        let mut cursor = 0u64;
        let mut slots = Vec::new();
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg("*:log:*")
                .arg("COUNT")
                .arg(1000);
            let (next, keys): (u64, Vec<String>) = self.servers[server].ask(&scan).await;
            for key in keys {
                slots.push(self.slot(&key).await);
            }
            cursor = next;
            if cursor == 0 {
                return slots;
            }
        }
    }

    /// Waits until each replica has all its primary has; nobody must write meanwhile.
    pub async fn wait_replicas_have_all(&self) {
        let replicas = &self.servers[usize::from(PRIMARIES)..];
        for (primary, replica) in self.servers.iter().zip(replicas) {
            primary.wait_copied_by(&[replica]).await;
        }
    }

    /// The server that is a replica of this one, or of which this one is: pairs stay, whoever of them leads.
    pub fn pair_of(&self, server: usize) -> usize {
        (server + usize::from(PRIMARIES)) % self.servers.len()
    }

    /// The slot of a key.
    pub async fn slot(&self, key: &str) -> u16 {
        self.servers[0]
            .ask(cmd("CLUSTER").arg("KEYSLOT").arg(key))
            .await
    }

    /// Waits until the replica of a dead primary has taken its place; answers which that is.
    pub async fn wait_promoted(&self, dead: usize, slot: u16) -> usize {
        let mut owner = dead;
        until("the replica is promoted", async || {
            owner = self.owner_but(slot, dead).await.unwrap_or(dead);
            owner != dead
        })
        .await;
        owner
    }

    /// Begins to move a slot: from now on keys that are not at the old place are asked for at the new one.
    pub async fn open_slot(&self, slot: u16, to: usize) {
        let from = self.owner(slot).await;
        let [source, target] = [self.id(from).await, self.id(to).await];
        let set = |state: &str, node: &str| {
            let mut set = cmd("CLUSTER");
            set.arg("SETSLOT").arg(slot).arg(state).arg(node);
            set
        };
        self.servers[to].ask::<()>(&set("IMPORTING", &source)).await;
        self.servers[from]
            .ask::<()>(&set("MIGRATING", &target))
            .await;
    }

    /// Moves the keys of a slot that was opened; `pause` between one key and the next.
    pub async fn move_keys(&self, slot: u16, from: usize, to: usize, pause: Duration) -> usize {
        let mut moved = 0;
        loop {
            let mut get = cmd("CLUSTER");
            get.arg("GETKEYSINSLOT").arg(slot).arg(10);
            let keys: Vec<String> = self.servers[from].ask(&get).await;
            if keys.is_empty() {
                return moved;
            }
            for key in keys {
                let mut migrate = cmd("MIGRATE");
                migrate
                    .arg("127.0.0.1")
                    .arg(self.servers[to].port())
                    .arg(&key)
                    .arg(0)
                    .arg(5000);
                self.servers[from].ask::<Value>(&migrate).await;
                moved += 1;
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Says to all that a slot has moved.
    pub async fn close_slot(&self, slot: u16, from: usize, to: usize) {
        let target = self.id(to).await;
        let mut set = cmd("CLUSTER");
        set.arg("SETSLOT").arg(slot).arg("NODE").arg(target);
        // The new owner first, or nobody would own it for a moment.
        for index in [to, from] {
            self.servers[index].ask::<()>(&set).await;
        }
        until("all know where the slot is", async || {
            let mut agreed = true;
            for server in &self.servers {
                let owners = nodes(server).await;
                let port = self.servers[to].port();
                agreed &= owners
                    .iter()
                    .any(|node| node.port == port && node.owns(slot));
            }
            agreed
        })
        .await;
    }

    /// Moves a slot with all that is in it; answers how many keys there were.
    pub async fn move_slot(&self, slot: u16, to: usize) -> usize {
        let from = self.owner(slot).await;
        self.open_slot(slot, to).await;
        let moved = self.move_keys(slot, from, to, Duration::ZERO).await;
        self.close_slot(slot, from, to).await;
        moved
    }
}

struct Node {
    port: u16,
    is_replica: bool,
    slots: Vec<(u16, u16)>,
}

impl Node {
    fn owns(&self, slot: u16) -> bool {
        self.slots
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&slot))
    }
}

/// CLUSTER NODES, without those only met yet.
async fn nodes(server: &RedisServer) -> Vec<Node> {
    let Ok(text) = server.try_ask(cmd("CLUSTER").arg("NODES")).await else {
        return Vec::new();
    };
    let text: String = ::redis::from_redis_value(text).unwrap_or_default();
    let nodes = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let flags = *words.get(2)?;
        let address = words.get(1)?.split('@').next()?;
        let port = address.rsplit(':').next()?.parse().ok()?;
        let ranges = words.iter().skip(8).filter_map(|word| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        (!flags.contains("handshake")).then(|| Node {
            port,
            is_replica: flags.contains("slave"),
            slots: ranges.collect(),
        })
    });
    nodes.collect()
}

async fn bus_port(server: &RedisServer) -> u16 {
    let mut get = cmd("CONFIG");
    get.arg("GET").arg("cluster-port");
    let (_, port): (String, u16) = server.ask(&get).await;
    port
}
