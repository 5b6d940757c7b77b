//! Who somebody is: guests and their signed tokens, and operators' own tokens signed with the same secret. A token is the
//! same user on every node and in every tab; nothing is stored.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use shared::{UserId, game::Player, protocol};
use std::time::{SystemTime, UNIX_EPOCH};

/// How long a token of ours is good, in seconds: 30 days. Every `welcome` brings a new one.
pub const TOKEN_TTL_SECONDS: u64 = 30 * 24 * 60 * 60;

/// Longest token read, in bytes: ours have about 250.
pub const TOKEN_LEN_MAX: usize = 4096;

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

/// Makes and reads tokens.
pub struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
}

impl Tokens {
    /// HS256 with this secret.
    pub fn new(secret: &[u8]) -> Tokens {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.validate_nbf = true;
        Tokens {
            signing: EncodingKey::from_secret(secret),
            checking: DecodingKey::from_secret(secret),
            validation,
        }
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
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let claims = Claims {
            sub: user.id.to_string(),
            name: Some(user.name.clone()),
            guest: user.is_guest,
            exp: now + ttl_seconds,
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
            .expect("HMAC takes any key and these claims")
    }

    /// Whose token this is.
    pub fn verify(&self, token: &str) -> Result<Player, BadToken> {
        let bad = |why: &str| BadToken(format!("the token is not accepted: {why}"));
        if token.len() > TOKEN_LEN_MAX {
            return Err(bad("it is too long"));
        }
        let claims = decode::<Claims>(token, &self.checking, &self.validation)
            .map_err(|error| bad(&error.to_string()))?
            .claims;
        let id = UserId::parse(&claims.sub).map_err(|error| bad(&error.to_string()))?;
        let name = claims.name.unwrap_or_else(|| claims.sub.clone());
        let name: String = name
            .chars()
            .filter(|c| !c.is_control())
            .take(protocol::NAME_CHARS_MAX)
            .collect();
        Ok(Player {
            id,
            name,
            is_guest: claims.guest,
        })
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_user_and_nobody_elses() {
        let tokens = Tokens::new(b"0123456789abcdef0123456789abcdef");
        let guest = Tokens::guest();
        let token = tokens.issue(&guest);
        assert_eq!(tokens.verify(&token), Ok(guest.clone()));
        assert!(
            Tokens::new(b"another secret of at least 32 bytes")
                .verify(&token)
                .is_err()
        );
        let mut forged: Vec<&str> = token.split('.').collect();
        forged[2] = "AAAA";
        for bad in ["", "a.b.c", &forged.join("."), &"x".repeat(5000)] {
            assert!(tokens.verify(bad).is_err(), "{bad:.20}");
        }
    }

    #[test]
    fn an_expired_token_is_refused() {
        let secret = b"0123456789abcdef0123456789abcdef";
        let claims = Claims {
            sub: "u".into(),
            name: None,
            guest: false,
            exp: 1_000,
        };
        let token = encode(
            &Header::new(Algorithm::HS256),
            &claims,
            &EncodingKey::from_secret(secret),
        )
        .expect("signs");
        assert!(Tokens::new(secret).verify(&token).is_err());
    }

    #[test]
    fn a_token_without_a_signature_is_refused() {
        // {"alg":"none"}.{"sub":"root","exp":99999999999}.
        let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290IiwiZXhwIjo5OTk5OTk5OTk5OX0.";
        assert!(
            Tokens::new(b"0123456789abcdef0123456789abcdef")
                .verify(token)
                .is_err()
        );
    }
}
