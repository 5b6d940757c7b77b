//! This node and the archive: it may run an archiver, reads games that nobody else remembers, and, where that is wanted, lets
//! movers wait until their move is archived.

use crate::{
    config::{Config, Persistence},
    node::Node,
    status::ArchiverState,
};
use ::archive::{Archiver, Options, Store, StoredLog, archiver::Pulse};
use anyhow::Context;
use bytes::Bytes;
use pubsub::{
    Answer, Backplane, CALL_TIMEOUT, Message, Progress, QueuePosition, Room, Unavailable,
    queue::{QUEUED, queue_room},
};
use shared::GameId;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How long a mover waits for the archive: as long as for the backplane.
const PATIENCE: Duration = CALL_TIMEOUT;

/// How long the start waits for the database; then games begin without it.
const START_PATIENCE: Duration = Duration::from_secs(5);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// See the module.
#[derive(Debug)]
pub struct Archive {
    /// The database.
    pub store: Store,
    /// How far it is.
    pub progress: Arc<Progress>,
    persistence: Persistence,
    /// Of this node's own archiver, if it has one.
    pulse: Option<Arc<Pulse>>,
}

/// The archiver's options that settings name.
pub fn options(config: &Config, consumer: String) -> Options {
    Options {
        consumer,
        claim_after: ::archive::archiver::CLAIM_AFTER,
        finished_ttl: Duration::from_secs(config.finished_ttl_seconds),
        keep: (config.archive_keep_days > 0).then(|| DAY * config.archive_keep_days),
    }
}

/// Opens a database. One that does not answer is waited for a moment, and then reached when it is back.
pub async fn open(url: &str) -> anyhow::Result<Store> {
    let store = Store::connect(url).context("--database-url")?;
    match tokio::time::timeout(START_PATIENCE, store.migrate()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the database is not to be had yet"),
        Err(_) => tracing::warn!("the database does not answer yet"),
    }
    Ok(store)
}

impl Archive {
    /// Opens the database, and starts what belongs to it on this node.
    pub async fn start(node: &Arc<Node>, url: &str) -> anyhow::Result<Archive> {
        let store = open(url).await?;
        let progress = Progress::follow(node.backplane.clone(), node.stopped.clone());
        let mut pulse = None;
        if !node.config.no_archive {
            let archiver = Archiver::new(
                node.backplane.clone(),
                store.clone(),
                options(&node.config, node.name.clone()),
                node.stopped.clone(),
            );
            pulse = Some(archiver.pulse());
            node.tasks.spawn(archiver.run());
        }
        Ok(Archive {
            store,
            progress,
            persistence: node.config.persistence,
            pulse,
        })
    }

    /// What this node's own archiver is at; `None` if it has none.
    pub fn archiver(&self) -> Option<ArchiverState> {
        let pulse = self.pulse.as_ref()?;
        Some(match pulse.is_database_up() {
            true => ArchiverState::Working,
            false => ArchiverState::DatabaseAway,
        })
    }

    /// Whether movers wait.
    pub fn is_write_through(&self) -> bool {
        self.persistence == Persistence::WriteThrough
    }

    /// The log of a game, as far as it is archived.
    pub async fn log(&self, game: &GameId) -> Answer<Option<StoredLog>> {
        let log = self.store.log(game.as_str()).await;
        log.map_err(|error| Unavailable(error.to_string()))
    }

    /// Waits until what stands at that position, or all of a room, is archived; not for ever.
    pub async fn settled(
        &self,
        backplane: &dyn Backplane,
        room: &Room,
        queued: Option<QueuePosition>,
    ) -> Answer<()> {
        let waiting = async {
            let position = match queued {
                Some(position) => position,
                None => match backplane.queue_end(room).await? {
                    Some(position) => position,
                    None => return Ok(()),
                },
            };
            if !self.progress.is_archived(&position) {
                let ring = Message {
                    topic: QUEUED.to_owned(),
                    body: Bytes::from(position.partition.to_string()),
                };
                // Unheard, the archiver finds it a moment later.
                let _ = backplane.publish(&queue_room(), ring).await;
                self.progress.archived(&position).await;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| Err(Unavailable("the archive has not committed in time".into())))
    }
}

/// `rookery archive`: an archiver without a gateway, until `stop`.
pub async fn run_alone(config: &Config, stop: CancellationToken) -> anyhow::Result<()> {
    if config.redis_url.is_empty() {
        anyhow::bail!("without --redis-url, `rookery serve` archives its games itself");
    }
    let url = config
        .database()
        .context("--database-url is needed: archive where?")?;
    let name = config
        .node_id
        .clone()
        .unwrap_or_else(|| format!("archive-{}-{}", crate::server::host(), std::process::id()));
    crate::logs::belong_to(&name);
    let backplane = crate::server::backplane(config, &name).await?;
    let store = open(&url).await?;
    tracing::info!(consumer = name, "archiving");
    Archiver::new(backplane, store, options(config, name), stop)
        .run()
        .await;
    Ok(())
}
