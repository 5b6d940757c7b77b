//! Names of games and users, and positions in a game's log. Parsing is strict, because ids become Redis keys and URLs;
//! making ids needs randomness and is left to the gateway.

use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Longest game id accepted, in characters. Ours have 16; the rest is room for other makers.
pub const GAME_ID_LEN_MAX: usize = 32;
/// Longest user id accepted, in bytes: operators' tokens may carry URLs or e-mail addresses as `sub`.
pub const USER_ID_LEN_MAX: usize = 128;

/// A game's id, and so its room's: 1 to 32 characters of `[A-Za-z0-9]`. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, derive(ts_rs::TS), ts(type = "string"))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("pattern" = "^[A-Za-z0-9]{1,32}$")))]
pub struct GameId(Arc<str>);

/// A user's id: 1 to 128 bytes without control characters or spaces. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, derive(ts_rs::TS), ts(type = "string"))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("maxLength" = 128)))]
pub struct UserId(Arc<str>);

/// An id that cannot be one; the text says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadId(&'static str);

impl GameId {
    /// Checks and takes an id.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        if text.is_empty() || text.len() > GAME_ID_LEN_MAX {
            return Err(BadId("a game id has 1 to 32 characters"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(BadId("a game id has only letters A-Z, a-z and digits"));
        }
        Ok(GameId(text.into()))
    }
}

impl UserId {
    /// Checks and takes an id.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        if text.is_empty() || text.len() > USER_ID_LEN_MAX {
            return Err(BadId("a user id has 1 to 128 bytes"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(BadId("a user id has no spaces or control characters"));
        }
        Ok(UserId(text.into()))
    }
}

macro_rules! text_id {
    ($name:ident) => {
        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                $name::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().into()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
text_id!(GameId);
text_id!(UserId);

/// Number of an event in a game's log: 0, 1, 2 … without gaps.
pub type Seq = u64;

/// Number of a half move: 1 is White's first.
pub type Ply = u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_harm_a_key_or_a_url_are_refused() {
        for bad in [
            "",
            "a b",
            "a{b}",
            "a*",
            "a?",
            "a\r\nb",
            "é",
            "a/b",
            "a:b",
            &"x".repeat(33),
        ] {
            assert!(GameId::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "a b", "a\n", "\u{0}", &"x".repeat(129)] {
            assert!(UserId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(GameId::parse("Ab3").is_ok());
        assert!(UserId::parse("auth0|5f7c8ec7").is_ok());
    }
}
