//! Who somebody is: guests and their signed tokens, and operators' own tokens, signed with the same secret or with keys of
//! theirs. A token is the same user on every node and in every tab; nothing is stored.
//!
//! What a key may sign is fixed by the key, never by the token: a secret checks HS256 and nothing else, a public key the
//! one algorithm of its type, and a secret never comes out of a key set.

mod keyring;
mod keys;
mod source;

pub use keyring::Keyring;
pub use keys::{BadKeySet, KeySet};
pub use source::Source;

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
};
use serde::{Deserialize, Serialize};
use shared::{UserId, game::Player, protocol};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// How long a token of ours is good, in seconds: 30 days. Every `welcome` brings a new one.
pub const TOKEN_TTL_SECONDS: u64 = 30 * 24 * 60 * 60;

/// Longest token read, in bytes: ours have about 250, one of RS256 with 4096 bits and many claims has 2,000.
pub const TOKEN_LEN_MAX: usize = 4096;

/// How far the clocks of those who sign and of those who check may be apart, in seconds.
const LEEWAY_SECONDS: u64 = 60;

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    guest: bool,
    exp: u64,
}

/// Why a token was not accepted, in words for its bearer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadToken(String);

fn bad(why: &str) -> BadToken {
    BadToken(format!("the token is not accepted: {why}"))
}

/// Whose tokens are taken besides our own.
#[derive(Debug)]
pub struct Operators {
    /// Where their public keys are.
    pub keys: Source,
}

/// Somebody who showed a token, or came without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Who it is.
    pub user: Player,
    /// Until when that was vouched for, in seconds since the Unix epoch; `None` for guests, for whom nobody vouches.
    pub until: Option<u64>,
}

/// Makes and reads tokens.
pub struct Tokens {
    signing: EncodingKey,
    checking: Vec<DecodingKey>,
    by_secret: Validation,
    /// Operators' keys, and what their tokens must say.
    operators: Option<(Arc<Keyring>, Validation)>,
}

impl Tokens {
    /// HS256 with these secrets, of which the first signs. Tokens that name an audience or an issuer must name one of these.
    pub fn new(secrets: &[Vec<u8>], audience: &[String], issuer: &[String]) -> Tokens {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        if !audience.is_empty() {
            validation.set_audience(audience);
        }
        if !issuer.is_empty() {
            validation.set_issuer(issuer);
        }
        let signing = secrets.first().map_or(&[][..], Vec::as_slice);
        Tokens {
            signing: EncodingKey::from_secret(signing),
            checking: secrets
                .iter()
                .map(|secret| DecodingKey::from_secret(secret))
                .collect(),
            by_secret: validation,
            operators: None,
        }
    }

    /// The same, and those of operators whose keys are in this ring. Of them an audience and an issuer are demanded where such
    /// are set: whoever signs for several services signs for us only what says so.
    pub fn with_operators(mut self, keyring: Arc<Keyring>) -> Tokens {
        let mut validation = self.by_secret.clone();
        let wanted = [
            ("aud", validation.aud.is_some()),
            ("iss", validation.iss.is_some()),
        ];
        for (claim, is_wanted) in wanted {
            if is_wanted {
                validation.required_spec_claims.insert(claim.to_owned());
            }
        }
        self.operators = Some((keyring, validation));
        self
    }

    /// A new guest.
    pub fn guest() -> Player {
        let random = crate::random::Random::default();
        let number = random.base62(4).to_uppercase();
        let id = UserId::parse(&format!("guest-{}", random.base62(16)))
            .expect("letters, digits and a dash");
        Player {
            id,
            name: format!("Guest {number}"),
            is_guest: true,
        }
    }

    /// A token for this user, good for [`TOKEN_TTL_SECONDS`].
    pub fn issue(&self, user: &Player) -> String {
        self.issue_for(user, TOKEN_TTL_SECONDS)
    }

    /// A token for this user, good for `ttl_seconds`.
    pub fn issue_for(&self, user: &Player, ttl_seconds: u64) -> String {
        self.issue_until(user, now_seconds() + ttl_seconds)
    }

    /// A new token for somebody who is here: a guest's is good for [`TOKEN_TTL_SECONDS`] from now, an account's no longer than
    /// the one that was shown, so that an operator's short-lived token is not turned into a long one.
    pub fn renew(&self, known: &Known) -> String {
        let longest = now_seconds() + TOKEN_TTL_SECONDS;
        let until = known.until.map_or(longest, |until| until.min(longest));
        self.issue_until(&known.user, until)
    }

    fn issue_until(&self, user: &Player, exp: u64) -> String {
        let claims = Claims {
            sub: user.id.to_string(),
            name: Some(user.name.clone()),
            guest: user.is_guest,
            exp,
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
            .expect("HMAC takes any key and these claims")
    }

    /// Whose token this is; a new guest if there is none. It may wait for operators' keys, a few seconds at most.
    pub async fn know(&self, token: Option<&str>) -> Result<Known, BadToken> {
        match token {
            Some(token) => self.verify(token).await,
            None => Ok(Known {
                user: Tokens::guest(),
                until: None,
            }),
        }
    }

    /// Whose token this is.
    pub async fn verify(&self, token: &str) -> Result<Known, BadToken> {
        let known = self.read(token).await;
        if known.is_err() {
            metrics::counter!("rookery_tokens_refused_total").increment(1);
        }
        known
    }

    async fn read(&self, token: &str) -> Result<Known, BadToken> {
        if token.len() > TOKEN_LEN_MAX {
            return Err(bad("it is too long"));
        }
        let header = decode_header(token).map_err(|error| bad(&error.to_string()))?;
        // RFC 7515 section 4.1.11: who does not understand what is critical refuses the token. We understand no extension.
        if header.crit.is_some() {
            return Err(bad("it has critical extensions"));
        }
        if header.alg == Algorithm::HS256 {
            return known(self.by_secret(token)?);
        }
        let Some((keyring, validation)) = &self.operators else {
            return Err(bad(
                "its algorithm is not HS256, and no key set is configured",
            ));
        };
        let mut claims = keyring.check(token, &header, validation).await?;
        // Nobody but us makes guests.
        claims.guest = false;
        known(claims)
    }

    fn by_secret(&self, token: &str) -> Result<Claims, BadToken> {
        use jsonwebtoken::errors::ErrorKind;
        let mut refused = bad("no secret is set");
        for key in &self.checking {
            match decode::<Claims>(token, key, &self.by_secret) {
                Ok(data) => return Ok(data.claims),
                Err(error) => {
                    refused = bad(&error.to_string());
                    // Another secret can only help against a wrong signature.
                    if !matches!(error.kind(), ErrorKind::InvalidSignature) {
                        break;
                    }
                }
            }
        }
        Err(refused)
    }
}

fn now_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn known(claims: Claims) -> Result<Known, BadToken> {
    let id = UserId::parse(&claims.sub).map_err(|error| bad(&error.to_string()))?;
    let name: String = claims
        .name
        .unwrap_or_default()
        .chars()
        .filter(|c| !protocol::is_forbidden(*c))
        .take(protocol::NAME_CHARS_MAX)
        .collect();
    let name = match name.trim() {
        "" => claims.sub.chars().take(protocol::NAME_CHARS_MAX).collect(),
        name => name.to_owned(),
    };
    Ok(Known {
        user: Player {
            id,
            name,
            is_guest: claims.guest,
        },
        until: (!claims.guest).then_some(claims.exp),
    })
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

#[cfg(test)]
mod tests;
