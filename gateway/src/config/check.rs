//! What no single setting can know: whether they fit each other. Told all at once, before a port opens.

use super::{
    ADMIN_TOKEN_LEN_MIN, AckMode, Config, Persistence, RedisMode, TOKEN_SECRET_LEN_MIN,
    TOKEN_SECRETS_MAX,
};
use url::Url;

impl Config {
    /// Everything that is wrong, in words.
    pub fn mistakes(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut wrong = |is_wrong: bool, words: String| {
            if is_wrong {
                found.push(words);
            }
        };
        let with_redis = !self.redis_url.is_empty();
        wrong(
            with_redis && self.token_secret.is_empty(),
            "--token-secret (ROOKERY_TOKEN_SECRET) is needed with Redis: tokens signed by one node must be known to all; \
             make one with `openssl rand -hex 32`"
                .to_owned(),
        );
        for secret in &self.token_secret {
            wrong(
                secret.len() < TOKEN_SECRET_LEN_MIN,
                format!(
                    "--token-secret has {} bytes, it needs at least {TOKEN_SECRET_LEN_MIN}; make one with `openssl rand -hex 32`",
                    secret.len()
                ),
            );
        }
        wrong(
            self.token_secret.len() > TOKEN_SECRETS_MAX,
            format!(
                "--token-secret is there {} times, {TOKEN_SECRETS_MAX} are the most",
                self.token_secret.len()
            ),
        );
        wrong(
            self.jwks_ca.is_some() && self.jwks.is_none(),
            "--jwks-ca is set and --jwks is not: whose certificate is it to vouch for?".to_owned(),
        );
        wrong(
            self.proxy_protocol && self.trusted_proxy.is_empty(),
            "--proxy-protocol is set and --trusted-proxy is not: anybody could write such a header; name the proxies that do"
                .to_owned(),
        );
        wrong(
            self.redis_ca.is_some()
                && !self
                    .redis_url
                    .iter()
                    .any(|url| url.starts_with("rediss:") || url.starts_with("valkeys:")),
            "--redis-ca is set and no --redis-url is rediss://: nothing would be encrypted"
                .to_owned(),
        );
        match &self.admin_token {
            Some(token) => wrong(
                token.len() < ADMIN_TOKEN_LEN_MIN,
                format!(
                    "--admin-token has {} bytes, it needs at least {ADMIN_TOKEN_LEN_MIN}; make one with `openssl rand -hex 32`",
                    token.len()
                ),
            ),
            None => wrong(
                !self.admin_listen.ip().is_loopback(),
                format!(
                    "--admin-listen {} can be reached from other machines: set --admin-token (ROOKERY_ADMIN_TOKEN) too, \
                     or listen on 127.0.0.1",
                    self.admin_listen
                ),
            ),
        }
        wrong(
            self.listen.port() != 0 && self.listen == self.admin_listen,
            format!(
                "--listen and --admin-listen are both {}: the admin port is one of its own",
                self.listen
            ),
        );
        wrong(
            !with_redis && self.redis_mode != RedisMode::Single,
            "--redis-mode is set and --redis-url is not: which servers?".to_owned(),
        );
        wrong(
            !with_redis && !self.redis_subscribe_url.is_empty(),
            "--redis-subscribe-url is set and --redis-url is not: set both, or neither".to_owned(),
        );
        wrong(
            !with_redis && self.ack == AckMode::Replica,
            "--ack replica is set and --redis-url is not: one process has no replica".to_owned(),
        );
        wrong(
            self.persistence == Persistence::WriteThrough && self.database().is_none(),
            "--persistence write-through waits for an archive, and there is none: set --database-url".to_owned(),
        );
        wrong(
            self.database_url
                .as_ref()
                .is_some_and(|url| !archive::Store::is_url(url)),
            "--database-url begins with sqlite: or postgres://".to_owned(),
        );
        wrong(
            self.max_connections == 0,
            "--max-connections is 0: nobody could connect".to_owned(),
        );
        for origin in &self.allowed_origins {
            wrong(
                !is_origin(origin),
                format!(
                    "--allowed-origin {origin:?} is no origin: it is written https://chess.example, without a path or a / at its end"
                ),
            );
        }
        found
    }

    /// Refuses settings that do not fit each other.
    pub fn check(&self) -> anyhow::Result<()> {
        match self.mistakes().as_slice() {
            [] => Ok(()),
            [one] => anyhow::bail!("{one}"),
            several => anyhow::bail!(
                "{} settings are wrong:\n  {}",
                several.len(),
                several.join("\n  ")
            ),
        }
    }
}

fn is_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.has_host() && url.origin().ascii_serialization() == text)
}

#[cfg(test)]
mod tests {
    use super::super::Settings;

    #[test]
    fn what_does_not_fit_is_told_in_words() {
        for (flags, words) in [
            (
                &["--redis-url", "redis://a"][..],
                "ROOKERY_TOKEN_SECRET) is needed with Redis",
            ),
            (&["--token-secret", "short"], "--token-secret has 5 bytes"),
            (
                &["--admin-listen", "0.0.0.0:9090"],
                "--admin-listen 0.0.0.0:9090 can be reached",
            ),
            (&["--admin-token", "short"], "--admin-token has 5 bytes"),
            (&["--redis-mode", "cluster"], "which servers?"),
            (&["--jwks-ca", "ca.pem"], "--jwks is not"),
            (&["--proxy-protocol"], "anybody could write"),
            (&["--redis-ca", "ca.pem"], "nothing would be encrypted"),
            (
                &[
                    "--token-secret",
                    "a secret that is long enough to sign with,short",
                ],
                "--token-secret has 5 bytes",
            ),
            (&["--redis-subscribe-url", "redis://b"], "set both"),
            (&["--listen", "127.0.0.1:9090"], "both 127.0.0.1:9090"),
            (&["--max-connections", "0"], "nobody could connect"),
            (&["--allowed-origin", "https://a/"], "is no origin"),
            (&["--allowed-origin", "chess.example"], "is no origin"),
        ] {
            let settings = Settings::parse(flags).expect("flags");
            let found = settings.config.mistakes();
            assert!(
                matches!(found.as_slice(), [one] if one.contains(words)),
                "{flags:?}: {found:?}"
            );
        }
        let two =
            Settings::parse(["--token-secret", "short", "--max-connections", "0"]).expect("flags");
        let why = two.config.check().expect_err("two mistakes").to_string();
        assert!(
            why.starts_with("2 settings are wrong") && why.contains("nobody"),
            "{why}"
        );
    }

    #[test]
    fn what_fits_is_let_through() {
        for flags in [
            &[][..],
            &["--admin-listen", "[::1]:9090"],
            &[
                "--admin-listen",
                "0.0.0.0:9090",
                "--admin-token",
                "0123456789abcdef",
            ],
            &["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
            &[
                "--allowed-origin",
                "https://chess.example,http://localhost:5173",
            ],
        ] {
            let settings = Settings::parse(flags).expect("flags");
            assert_eq!(
                settings.config.mistakes(),
                Vec::<String>::new(),
                "{flags:?}"
            );
        }
    }
}
