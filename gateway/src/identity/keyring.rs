//! The operators' keys as this node knows them: read at start, read again now and then, and when a token names a key that
//! is not among them. A source that is away, or broken, leaves the last keys in force.

use super::{BadToken, Claims, KeySet, Source, bad};
use arc_swap::ArcSwap;
use jsonwebtoken::{Algorithm, Header, Validation, decode};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::Instant};

/// How often the keys are read again: a key that was taken out of the set is refused after this at the latest.
pub const REFRESH_EVERY: Duration = Duration::from_secs(300);

/// How often, when they could not be read.
const RETRY_EVERY: Duration = Duration::from_secs(15);

/// Shortest time between two readings that tokens with unknown keys bring about. Whoever sends such tokens on purpose
/// costs the key server four requests a minute a node.
pub const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(15);

/// Keys, and where they come from.
#[derive(Debug)]
pub struct Keyring {
    source: Source,
    keys: ArcSwap<KeySet>,
    /// When the keys were last asked for because of an unknown one. Held while they are read, so that a crowd of tokens with a
    /// new key waits for one reading.
    asked: Mutex<Option<Instant>>,
}

impl Keyring {
    /// Reads the keys. A file must be there; a server may come later, for a node must be able to start while it is away.
    pub async fn open(source: Source) -> anyhow::Result<Arc<Keyring>> {
        let keys = match (source.read().await, &source) {
            (Ok(keys), _) => keys,
            (Err(error), Source::File(_)) => return Err(error),
            (Err(error), Source::Url(_)) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "no operator's token is taken until their keys can be read"
                );
                KeySet::default()
            }
        };
        for why in &keys.left_out {
            tracing::warn!(key = why, "a key of the set is left out");
        }
        Ok(Arc::new(Keyring {
            source,
            keys: ArcSwap::from_pointee(keys),
            asked: Mutex::new(None),
        }))
    }

    /// Keeps the keys up to date, for ever.
    pub async fn keep(self: Arc<Keyring>) {
        let mut failing = self.keys.load().is_empty();
        loop {
            let pause = if failing { RETRY_EVERY } else { REFRESH_EVERY };
            tokio::time::sleep(pause).await;
            failing = !self.refresh().await;
        }
    }

    /// Reads the keys again. False if that failed, and those that were known stay.
    pub async fn refresh(&self) -> bool {
        let result = match self.source.read().await {
            Ok(keys) => {
                self.keys.store(Arc::new(keys));
                "read"
            }
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    known = self.keys.load().len(),
                    "operators' keys cannot be read again; those known stay in force"
                );
                "failed"
            }
        };
        metrics::counter!("rookery_jwks_refreshes_total", "result" => result).increment(1);
        result == "read"
    }

    /// Checks a token.
    pub(super) async fn check(
        &self,
        token: &str,
        header: &Header,
        validation: &Validation,
    ) -> Result<Claims, BadToken> {
        if !matches!(
            header.alg,
            Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA
        ) {
            return Err(bad("its algorithm is none of HS256, RS256, ES256, EdDSA"));
        }
        let before = self.keys.load_full();
        if !before.candidates(header).is_empty() {
            return try_keys(&before, token, header, validation);
        }
        self.ask_again(&before).await;
        try_keys(&self.keys.load(), token, header, validation)
    }

    /// Reads the keys because `before` lacks one, unless that was just done.
    async fn ask_again(&self, before: &Arc<KeySet>) {
        let mut asked = self.asked.lock().await;
        if !Arc::ptr_eq(before, &self.keys.load_full()) {
            return;
        }
        if asked.is_some_and(|asked| asked.elapsed() < UNKNOWN_KEY_PAUSE) {
            return;
        }
        self.refresh().await;
        // From its end on: a server that answers slowly is not asked all the time.
        *asked = Some(Instant::now());
    }
}

fn try_keys(
    keys: &KeySet,
    token: &str,
    header: &Header,
    validation: &Validation,
) -> Result<Claims, BadToken> {
    let mut refused = bad("no known key has its kid and algorithm");
    let mut validation = validation.clone();
    validation.algorithms = vec![header.alg];
    for key in keys.candidates(header) {
        match decode::<Claims>(token, key, &validation) {
            Ok(data) => return Ok(data.claims),
            Err(error) => refused = bad(&error.to_string()),
        }
    }
    Err(refused)
}
