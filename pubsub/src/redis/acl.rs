//! What an access-list user needs, command by command: whoever steals Rookery's password can harm Rookery's data, and nothing else
//! that lives on the server.

/// `ACL SETUSER rookery on >password <this>`. Subcommands are named where only some are needed. AUTH and HELLO need no right.
/// Sentinels are asked `SENTINEL` and `PING` by a user of their own. `--ack fsync` needs `+config|get` besides.
pub const ACL_RULE: &str = "~rookery:* &rookery:* \
    +select +ping +time +cluster|slots +asking +info +wait \
    +eval +evalsha +script|load \
    +spublish +ssubscribe +sunsubscribe \
    +get +set +del +exists +pexpire +pexpireat +pttl +unlink \
    +rpush +lrange +lindex +llen +lset +ltrim \
    +hget +hset +hdel +hmget \
    +zadd +zcount +zrange +zrangebyscore +zrem +zremrangebyscore +zscore \
    +xadd +xlen +xrange +xtrim +xack +xpending +xreadgroup +xautoclaim +xinfo|stream +xgroup|create";

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs, path::Path};

    /// Written in our sources and not given: HELLO needs no right, Sentinels have their own users, and CONFIG, which tells
    /// passwords, is asked only with `--ack fsync`.
    const NOT_NEEDED: [&str; 3] = ["hello", "sentinel", "config"];

    /// Given and not written as a call: the library sends SELECT for a database in the URL, and which of the two a subscriber sends
    /// is a variable.
    const NOT_SEEN: [&str; 2] = ["select", "sunsubscribe"];

    /// Commands that the scripts and calls in this folder name.
    fn used(path: &Path, into: &mut BTreeSet<String>) {
        if path.is_dir() {
            for entry in fs::read_dir(path).expect("our own sources") {
                used(&entry.expect("our own sources").path(), into);
            }
            return;
        }
        let text = fs::read_to_string(path).expect("text");
        if path.ends_with("acl.rs") {
            return;
        }
        // What stands in a file after its tests is not sent in earnest.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for mark in ["call('", "call(\"", "cmd(\""] {
            for rest in text.split(mark).skip(1) {
                let name = rest.split(|c: char| !c.is_ascii_alphabetic()).next();
                into.extend(name.filter(|n| !n.is_empty()).map(str::to_ascii_lowercase));
            }
        }
    }

    #[test]
    fn the_rule_gives_what_is_used_and_no_more() {
        let mut used_here = BTreeSet::new();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/redis");
        used(&sources, &mut used_here);
        used(&sources.with_extension("rs"), &mut used_here);
        let given: BTreeSet<String> = ACL_RULE
            .split_whitespace()
            .filter_map(|word| word.strip_prefix('+'))
            .map(|word| word.split('|').next().unwrap_or(word).to_owned())
            .collect();
        let missing: Vec<_> = used_here
            .iter()
            .filter(|name| !given.contains(*name) && !NOT_NEEDED.contains(&name.as_str()))
            .collect();
        assert!(
            missing.is_empty(),
            "ACL_RULE lacks {missing:?}, which the sources call"
        );
        let idle: Vec<_> = given
            .iter()
            .filter(|name| !used_here.contains(*name) && !NOT_SEEN.contains(&name.as_str()))
            .collect();
        assert!(
            idle.is_empty(),
            "ACL_RULE gives {idle:?}, which nothing calls"
        );
    }
}
