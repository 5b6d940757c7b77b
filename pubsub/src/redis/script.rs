//! The Lua scripts, and how they are called.

use redis::{Arg, Cmd};
use std::sync::LazyLock;

/// A script and its digest.
#[derive(Debug)]
pub(super) struct Script {
    source: &'static str,
    digest: String,
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $($(#[$doc])* pub(super) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!($file)));)*
    };
}

scripts! {
    APPEND = "append.lua";
    RESTORE = "restore.lua";
    READ = "read.lua";
    END = "end.lua";
    LEASE = "lease.lua";
    ACKNOWLEDGE = "acknowledge.lua";
    BACKLOG = "backlog.lua";
    QUEUE_END = "queue_end.lua";
    FORGET = "forget.lua";
    SAY = "say.lua";
    ATTEND = "attend.lua";
    SWEEP = "sweep.lua";
    BEAT = "beat.lua";
    JOIN_SET = "join_set.lua";
    LEAVE_SET = "leave_set.lua";
    SET = "set.lua";
    SEEK = "seek.lua";
    RENEW_SEEKS = "renew_seeks.lua";
    CANCEL_SEEK = "cancel_seek.lua";
    ACCEPT_OFFER = "accept_offer.lua";
    SETTLE_OFFER = "settle_offer.lua";
}

impl Script {
    fn new(source: &'static str) -> Script {
        Script {
            source,
            digest: redis::Script::new(source).get_hash().to_owned(),
        }
    }

    pub fn source(&self) -> &'static str {
        self.source
    }

    /// EVALSHA with these keys; arguments are added by the caller.
    pub fn on<'k>(&self, keys: impl ExactSizeIterator<Item = &'k str>) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.digest).arg(keys.len());
        for key in keys {
            command.arg(key);
        }
        command
    }

    /// The same call with the source in place of the digest, for a server that has not got the script: it keeps it then.
    pub fn with_source(&self, command: &Cmd) -> Cmd {
        let mut eval = redis::cmd("EVAL");
        eval.arg(self.source);
        for argument in command.args_iter().skip(2) {
            if let Arg::Simple(bytes) = argument {
                eval.arg(bytes);
            }
        }
        eval
    }
}
