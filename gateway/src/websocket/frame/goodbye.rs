//! The payload of a peer's Close.

use std::borrow::Cow;

use shared::protocol::close::CloseCode;

use super::{Incoming, ProtocolError, broken};

pub(super) fn close(payload: Cow<'_, [u8]>) -> Result<Incoming<'_>, ProtocolError> {
    let code = match payload.as_ref() {
        [] => None,
        [_] => return Err(broken("close code of one byte")),
        [high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
    };
    if code.is_some_and(|code| !may_be_sent(code)) {
        return Err(broken("close code that may not be sent"));
    }
    let reason_not_utf8 = |_| ProtocolError {
        code: CloseCode::NotUtf8,
        reason: "close reason is not UTF-8",
    };
    let reason = match payload {
        Cow::Borrowed(bytes) => {
            let reason = bytes.get(2..).unwrap_or_default();
            Cow::Borrowed(std::str::from_utf8(reason).map_err(reason_not_utf8)?)
        }
        Cow::Owned(bytes) => {
            let reason = bytes.get(2..).unwrap_or_default();
            Cow::Owned(
                std::str::from_utf8(reason)
                    .map_err(reason_not_utf8)?
                    .to_owned(),
            )
        }
    };
    Ok(Incoming::Close { code, reason })
}

/// Codes a peer may put into a close frame: RFC 6455, 7.4, and the registry as it stands (1012–1014 came later).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
