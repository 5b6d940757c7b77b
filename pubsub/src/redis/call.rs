//! One call to one partition: finds its server, follows redirections, waits out failovers, and gives up in time.

use super::{
    keys::Partition,
    link::{Failure, Link, jittered},
    script::Script,
    server::Address,
    topology::{Shard, Topology, cluster::redirection},
};
use crate::{Answer, Unavailable};
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Pause before a call is tried again; doubles to [`PAUSE_MAX`]. Cut short when a connection stands or the map changes.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// See [`PAUSE_MIN`].
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How long one attempt may take before another is worth it.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2500);

/// What a failure calls for.
#[derive(Debug, PartialEq, Eq)]
enum Remedy {
    /// The slot is there now.
    Follow(u16, Address),
    /// The slot is moving; this key is there already.
    AskThere(Address),
    /// The script is not loaded.
    SendSource,
    /// Wait a little; look at the arrangement of the servers.
    Wait,
    /// Nothing.
    GiveUp,
}

/// An answer, and whether it came by way of a slot that is being moved: what was published there was not heard by those who
/// listen at the old place.
#[derive(Debug)]
pub(super) struct Answered {
    pub value: Value,
    pub while_moving: bool,
    /// Whether an earlier attempt was sent whose outcome is unknown.
    pub asked_before: bool,
    /// Local time when the request was sent, and who answered.
    pub sent_us: i64,
    pub by: Arc<Link>,
}

impl Topology {
    /// Sends a command to the primary of a partition until it is answered or `until` comes.
    pub async fn call(
        self: &Arc<Topology>,
        partition: Partition,
        command: &Cmd,
        until: Instant,
    ) -> Answer<Value> {
        let answered = self.insist(partition, command, None, until).await?;
        Ok(answered.value)
    }

    /// Runs a script likewise. `command` is its EVALSHA.
    pub async fn run_script(
        self: &Arc<Topology>,
        partition: Partition,
        script: &Script,
        command: &Cmd,
        until: Instant,
    ) -> Answer<Answered> {
        self.insist(partition, command, Some(script), until).await
    }

    /// The same, but not while others may be about to restore what servers lost.
    pub async fn run_settled(
        self: &Arc<Topology>,
        partition: Partition,
        script: &Script,
        command: &Cmd,
        until: Instant,
    ) -> Answer<Answered> {
        self.insist_when(partition, command, Some(script), until, true)
            .await
    }

    /// Either.
    pub async fn insist(
        self: &Arc<Topology>,
        partition: Partition,
        command: &Cmd,
        script: Option<&Script>,
        until: Instant,
    ) -> Answer<Answered> {
        self.insist_when(partition, command, script, until, false)
            .await
    }

    async fn insist_when(
        self: &Arc<Topology>,
        partition: Partition,
        command: &Cmd,
        script: Option<&Script>,
        until: Instant,
        settled: bool,
    ) -> Answer<Answered> {
        let mut with_source: Option<Cmd> = None;
        let mut pause = PAUSE_MIN;
        let mut why;
        let mut asked_before = false;
        loop {
            // Enabled before the attempt, so that a change during it is not missed.
            let stirred = self.stir.notified();
            tokio::pin!(stirred);
            stirred.as_mut().enable();
            let shard: Option<Arc<Shard>> = self.map().owner(partition).cloned();
            match shard {
                None => {
                    self.report_trouble();
                    why = "no server serves this slot".to_owned();
                }
                Some(shard) => {
                    let command = with_source.as_ref().unwrap_or(command);
                    let sent_us = super::clock::local_us();
                    let before = asked_before;
                    let answered = |value, while_moving, by| Answered {
                        value,
                        while_moving,
                        asked_before: before,
                        sent_us,
                        by,
                    };
                    let attempt_until = until.min(Instant::now() + ATTEMPT_TIMEOUT);
                    let asked = match settled {
                        true => shard.link.ask_settled(command, attempt_until).await,
                        false => shard.link.ask(command, attempt_until).await,
                    };
                    let failure = match asked {
                        Ok(value) => return Ok(answered(value, false, shard.link.clone())),
                        Err(Failure::Settling(at)) if at < until => {
                            tokio::select! {
                                () = tokio::time::sleep_until(at) => {}
                                () = stirred => {}
                            }
                            continue;
                        }
                        Err(failure) => failure,
                    };
                    asked_before |=
                        matches!(&failure, Failure::Redis(error) if error.is_io_error());
                    why = in_words(&failure, &shard.link.address);
                    match remedy(&failure, &shard.link.address) {
                        Remedy::Follow(slot, address) => {
                            self.moved(slot, &address, &shard.link.address);
                            // At once, unless two servers send us to and fro.
                            if pause == PAUSE_MIN {
                                pause *= 2;
                                continue;
                            }
                        }
                        Remedy::AskThere(address) => {
                            let link = self.link_to(&address);
                            let asked = ask_there(&link, command, script, attempt_until).await;
                            match asked {
                                Ok(value) => return Ok(answered(value, true, link)),
                                Err(failure) => why = in_words(&failure, &address),
                            }
                        }
                        Remedy::SendSource => {
                            with_source = script.map(|script| script.with_source(command));
                            if with_source.is_some() {
                                continue;
                            }
                        }
                        Remedy::Wait => self.report_trouble(),
                        Remedy::GiveUp => {
                            tracing::error!(why, "redis refuses a command");
                            return Err(Unavailable(why));
                        }
                    }
                }
            }
            if Instant::now() >= until {
                return Err(Unavailable(why));
            }
            tokio::select! {
                () = tokio::time::sleep(jittered(pause)) => {}
                () = tokio::time::sleep_until(until) => {}
                () = stirred => {}
                () = self.closed.cancelled() => return Err(Unavailable("closed".to_owned())),
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// Asks the server to which a slot is moving. Needs its connection to stand: it is tried for a moment.
async fn ask_there(
    link: &Link,
    command: &Cmd,
    script: Option<&Script>,
    until: Instant,
) -> Result<Value, Failure> {
    let mut command = command.clone();
    loop {
        let mut pipeline = redis::pipe();
        pipeline.cmd("ASKING").add_command(command.clone());
        let last = match link.ask_all(&pipeline, until).await {
            Ok(mut values) => values.pop().unwrap_or(Value::Nil).extract_error(),
            Err(Failure::Down(_)) if Instant::now() < until => {
                tokio::time::sleep(PAUSE_MIN).await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        match (last, script) {
            (Err(error), Some(script))
                if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) =>
            {
                command = script.with_source(&command);
            }
            (last, _) => return last.map_err(Failure::Redis),
        }
    }
}

fn in_words(failure: &Failure, address: &Address) -> String {
    match failure {
        Failure::Down(why) => format!("{address}: {why}"),
        Failure::Settling(_) => format!("{address}: what it lost is being restored"),
        Failure::Redis(error) => format!("{address}: {error}"),
    }
}

fn remedy(failure: &Failure, asked: &Address) -> Remedy {
    let Failure::Redis(error) = failure else {
        return Remedy::Wait;
    };
    use ServerErrorKind as Kind;
    match error.kind() {
        ErrorKind::Server(Kind::Moved) => match redirection(error, asked) {
            Some((slot, address)) => Remedy::Follow(slot, address),
            None => Remedy::Wait,
        },
        ErrorKind::Server(Kind::Ask) => match redirection(error, asked) {
            Some((_, address)) => Remedy::AskThere(address),
            None => Remedy::Wait,
        },
        ErrorKind::Server(Kind::NoScript) => Remedy::SendSource,
        _ if is_final(error) => Remedy::GiveUp,
        // Broken connections, and all the states a server can be in for a while: LOADING, READONLY, CLUSTERDOWN, TRYAGAIN,
        // MASTERDOWN, NOREPLICAS, BUSY, OOM, MISCONF, and whatever later versions think of.
        _ => Remedy::Wait,
    }
}

/// Errors that no waiting mends: the request itself is refused.
fn is_final(error: &RedisError) -> bool {
    use ServerErrorKind as Kind;
    let by_kind = matches!(
        error.kind(),
        ErrorKind::Server(Kind::ResponseError | Kind::NoPerm | Kind::CrossSlot | Kind::ExecAbort)
            | ErrorKind::UnexpectedReturnType
            | ErrorKind::InvalidClientConfig
            | ErrorKind::Client
    );
    by_kind || error.code() == Some("WRONGTYPE")
}
