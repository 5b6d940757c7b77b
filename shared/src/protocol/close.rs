//! Why a WebSocket was closed, and what the browser should do about it: one table that the gateway closes by, the web
//! client reconnects by, and the documents are checked against.
//!
//! 1000–1015 are RFC 6455's. 4000–4999 are ours: below 4500 says "come back", from 4500 on says "do not". A client that
//! meets a code it does not know can go by that range alone.

use std::fmt;

/// What a client does after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reconnect {
    /// Not by itself: the same thing would happen again, or the close was wanted.
    Never,
    /// With the usual growing delay.
    Backoff,
    /// At a random moment within the announced window: everybody on the node was told the same at once.
    Jitter,
}

/// A code this server closes a socket with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// The conversation is over, as both sides wanted.
    Normal = 1000,
    /// This node goes away.
    GoingAway = 1001,
    /// The peer broke RFC 6455.
    Protocol = 1002,
    /// The peer sent a binary message, which this protocol does not have.
    Unsupported = 1003,
    /// A text message or a close reason was not UTF-8.
    NotUtf8 = 1007,
    /// The peer broke a rule of ours again and again (usually a rate).
    Policy = 1008,
    /// A message was so large that it was not even read.
    TooLarge = 1009,
    /// Our bug.
    Internal = 1011,
    /// This node restarts.
    Restart = 1012,
    /// This node is full.
    TryAgainLater = 1013,
    /// The peer takes its messages too slowly.
    Slow = 4008,
    /// The peer has not answered two pings.
    Idle = 4010,
    /// The token was not accepted.
    BadToken = 4501,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseRow {
    /// The code.
    pub code: CloseCode,
    /// Its name in metrics, logs and documents.
    pub name: &'static str,
    /// What a client does next.
    pub reconnect: Reconnect,
}

/// Every code this server sends.
pub const CLOSE_CODES: &[CloseRow] = &[
    row(CloseCode::Normal, "normal", Reconnect::Never),
    row(CloseCode::GoingAway, "going_away", Reconnect::Jitter),
    row(CloseCode::Protocol, "protocol_error", Reconnect::Never),
    row(CloseCode::Unsupported, "unsupported", Reconnect::Never),
    row(CloseCode::NotUtf8, "not_utf8", Reconnect::Never),
    row(CloseCode::Policy, "policy", Reconnect::Never),
    row(CloseCode::TooLarge, "too_large", Reconnect::Never),
    row(CloseCode::Internal, "internal", Reconnect::Backoff),
    row(CloseCode::Restart, "restart", Reconnect::Jitter),
    row(
        CloseCode::TryAgainLater,
        "try_again_later",
        Reconnect::Backoff,
    ),
    row(CloseCode::Slow, "slow", Reconnect::Backoff),
    row(CloseCode::Idle, "idle", Reconnect::Backoff),
    row(CloseCode::BadToken, "bad_token", Reconnect::Never),
];

const fn row(code: CloseCode, name: &'static str, reconnect: Reconnect) -> CloseRow {
    CloseRow {
        code,
        name,
        reconnect,
    }
}

impl CloseCode {
    /// The number on the wire.
    pub const fn as_u16(self) -> u16 {
        self as u16
    }

    /// Its row of the table.
    pub fn row(self) -> &'static CloseRow {
        CLOSE_CODES
            .iter()
            .find(|row| row.code == self)
            .expect("a test holds the table to the enum")
    }

    /// Its name in metrics, logs and documents.
    pub fn name(self) -> &'static str {
        self.row().name
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.as_u16(), self.name())
    }
}

/// What a client does after any code, known or not; `None` is a connection that ended without a close frame (1006 to a
/// browser).
pub fn reconnect_after(code: Option<u16>) -> Reconnect {
    let Some(code) = code else {
        return Reconnect::Backoff;
    };
    if let Some(row) = CLOSE_CODES.iter().find(|row| row.code.as_u16() == code) {
        return row.reconnect;
    }
    match code {
        1005 | 1006 | 4000..=4499 => Reconnect::Backoff,
        _ => Reconnect::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new variant that is not put here does not compile, and one that is not in the table fails below.
    fn all() -> Vec<CloseCode> {
        use CloseCode::*;
        let next = |code| match code {
            Normal => Some(GoingAway),
            GoingAway => Some(Protocol),
            Protocol => Some(Unsupported),
            Unsupported => Some(NotUtf8),
            NotUtf8 => Some(Policy),
            Policy => Some(TooLarge),
            TooLarge => Some(Internal),
            Internal => Some(Restart),
            Restart => Some(TryAgainLater),
            TryAgainLater => Some(Slow),
            Slow => Some(Idle),
            Idle => Some(BadToken),
            BadToken => None,
        };
        std::iter::successors(Some(Normal), |code| next(*code)).collect()
    }

    #[test]
    fn every_code_has_one_row() {
        let rows: Vec<_> = CLOSE_CODES.iter().map(|row| row.code).collect();
        assert_eq!(rows, all());
        for code in all() {
            assert_eq!(code.row().code, code);
        }
    }

    #[test]
    fn our_own_codes_keep_to_their_range() {
        for row in CLOSE_CODES {
            match row.code.as_u16() {
                4000..=4499 => assert_ne!(row.reconnect, Reconnect::Never, "{}", row.code),
                4500..=4999 => assert_eq!(row.reconnect, Reconnect::Never, "{}", row.code),
                code => assert!((1000..=1013).contains(&code)),
            }
        }
    }

    #[test]
    fn an_unknown_code_goes_by_its_range() {
        let table = [
            (None, Reconnect::Backoff),
            (Some(1006), Reconnect::Backoff),
            (Some(1001), Reconnect::Jitter),
            (Some(3000), Reconnect::Never),
            (Some(4007), Reconnect::Backoff),
            (Some(4999), Reconnect::Never),
        ];
        for (code, wanted) in table {
            assert_eq!(reconnect_after(code), wanted, "{code:?}");
        }
    }
}
