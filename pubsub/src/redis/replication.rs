//! Waiting until replicas have what was appended.
//!
//! `WAIT` speaks of the writes of its own connection, and blocks it. So it has a connection of its own to each primary, over
//! which a round goes: a small write, which stands behind everything that was answered before, then `WAIT`. Whoever comes while
//! a round is under way is in the next one: many appends share a round, and none waits for more than two.
//!
//! A connection that broke says nothing of what was written before: another server may answer now, or the same one without its
//! data. Whoever waited then must look again whether his events are in the log.

use super::{
    keys::{Keys, Partition},
    server::{Address, Dialer, timed_out},
    topology::Topology,
};
use redis::{RedisResult, aio::MultiplexedConnection};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Replicas that must have it.
const REPLICAS: u32 = 1;

/// How long one round waits for them. A replica that is well answers within a millisecond.
const ROUND: Duration = Duration::from_millis(500);

/// Those who wait for one server's next round. Each is a call in progress, and those are bounded already.
const WAITING_MAX: usize = 8_192;

/// Pause before a connection that failed is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// What came of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// Enough replicas have it.
    Copied,
    /// Not yet.
    NotYet,
    /// The connection broke: it is not certain any more that the primary has it.
    Broken,
}

type Waiter = oneshot::Sender<Waited>;

/// Rounds to every primary.
#[derive(Debug)]
pub(super) struct Replication {
    dialer: Dialer,
    keys: Keys,
    servers: Mutex<HashMap<Address, mpsc::Sender<Waiter>>>,
    closed: CancellationToken,
}

impl Replication {
    pub fn new(topology: &Topology, keys: &Keys) -> Replication {
        Replication {
            dialer: topology.dialer.clone(),
            keys: keys.clone(),
            servers: Mutex::default(),
            closed: topology.closed.clone(),
        }
    }

    /// Waits until replicas of the server have all that it answered before the call. `partition` is one of its own.
    pub async fn wait(&self, server: &Address, partition: Partition, until: Instant) -> Waited {
        loop {
            let (waiter, waited) = oneshot::channel();
            let rounds = self.rounds(server, partition);
            let asked = async {
                // Neither fails but when everything ends.
                rounds.send(waiter).await.ok()?;
                waited.await.ok()
            };
            match tokio::time::timeout_at(until, asked).await {
                Ok(Some(Waited::NotYet)) if Instant::now() < until => {}
                Ok(Some(waited)) => return waited,
                Ok(None) => return Waited::Broken,
                Err(_) => return Waited::NotYet,
            }
        }
    }

    fn rounds(&self, server: &Address, partition: Partition) -> mpsc::Sender<Waiter> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = servers.get(server).filter(|rounds| !rounds.is_closed());
        if let Some(rounds) = known {
            return rounds.clone();
        }
        let (sender, waiters) = mpsc::channel(WAITING_MAX);
        let rounds = Rounds {
            address: server.clone(),
            dialer: self.dialer.clone(),
            key: self.keys.replicated(partition),
            waiters,
        };
        let closed = self.closed.clone();
        tokio::spawn(async move { closed.run_until_cancelled(rounds.run()).await });
        servers.insert(server.clone(), sender.clone());
        sender
    }
}

/// The rounds to one server.
struct Rounds {
    address: Address,
    dialer: Dialer,
    key: String,
    waiters: mpsc::Receiver<Waiter>,
}

impl Rounds {
    async fn run(mut self) {
        loop {
            let mut connection = match self.dialer.dial(&self.address, |_| {}).await {
                Ok((connection, hello)) if hello.is_primary() => connection,
                _ => {
                    self.dismiss();
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            // They came before this connection, and it knows nothing of them.
            self.dismiss();
            let mut batch = Vec::new();
            while self.waiters.recv_many(&mut batch, WAITING_MAX).await > 0 {
                let round = self.round(&mut connection).await;
                let waited = round.as_ref().copied().unwrap_or(Waited::Broken);
                for waiter in batch.drain(..) {
                    // Who has given up does not hear it.
                    let _ = waiter.send(waited);
                }
                if let Err(error) = round {
                    tracing::warn!(server = %self.address, %error, "no round of waiting for replicas");
                    break;
                }
            }
            if self.waiters.is_closed() && self.waiters.is_empty() {
                return;
            }
        }
    }

    fn dismiss(&mut self) {
        while let Ok(waiter) = self.waiters.try_recv() {
            let _ = waiter.send(Waited::Broken);
        }
    }

    async fn round(&self, connection: &mut MultiplexedConnection) -> RedisResult<Waited> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("SET").arg(&self.key).arg(1).ignore();
        pipeline
            .cmd("WAIT")
            .arg(REPLICAS)
            .arg(ROUND.as_millis() as u64);
        let answer = pipeline.query_async::<(u32,)>(connection);
        let (copies,) = tokio::time::timeout(ROUND * 3, answer)
            .await
            .unwrap_or_else(|_| Err(timed_out("no answer to WAIT")))?;
        Ok(match copies >= REPLICAS {
            true => Waited::Copied,
            false => Waited::NotYet,
        })
    }
}
