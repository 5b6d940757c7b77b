//! Reads of a message's text the few things a load must know, without parsing it: a worker reads a hundred thousand a second.

/// What a message is.
#[derive(Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// An event of the log.
    Event { seq: u32 },
    /// Anything else, by its type.
    Other(&'a str),
}

/// What this text says; `None` if it is nothing we know.
pub fn said(text: &str) -> Option<Said<'_>> {
    if let Some(rest) = text.strip_prefix("{\"seq\":") {
        return Some(Said::Event {
            seq: leading_number(rest)?,
        });
    }
    string(text, "type").map(Said::Other)
}

/// The number that stands behind the first `"name":`.
pub fn number(text: &str, name: &str) -> Option<u32> {
    leading_number(behind(text, name)?)
}

/// The string that stands behind the first `"name":`, if it needs no unescaping.
pub fn string<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let rest = behind(text, name)?.strip_prefix('"')?;
    rest.split_once('"').map(|(string, _)| string)
}

fn behind<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = text;
    loop {
        let at = rest.find(name)?;
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        if before.ends_with('"')
            && let Some(value) = after.strip_prefix("\":")
        {
            return Some(value);
        }
        rest = after;
    }
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_messages_say() {
        let event = r#"{"seq":17,"at":1795355242165,"type":"move","payload":{"ply":1}}"#;
        assert_eq!(said(event), Some(Said::Event { seq: 17 }));
        let snapshot = r#"{"type":"game_joined","payload":{"gameId":"seq","epoch":"1.aB","seq":0,"color":null},"id":3}"#;
        assert_eq!(said(snapshot), Some(Said::Other("game_joined")));
        assert_eq!(number(snapshot, "seq"), Some(0));
        assert_eq!(number(snapshot, "id"), Some(3));
        assert_eq!(string(snapshot, "epoch"), Some("1.aB"));
        assert_eq!(string(snapshot, "color"), None);
        assert_eq!(said("2probe"), None);
    }
}
