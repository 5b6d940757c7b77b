//! Taking a user's id and name out of stored events.

use shared::{
    UserId,
    game::{Event, EventBody, Player},
};

/// The name that stands where one was erased.
pub const NAME: &str = "[erased]";

/// The id that stands where one was erased: the two sides of a game stay two.
pub fn id(side: &str) -> String {
    format!("erased-{side}")
}

/// The bytes without this user; `None` if he is not in them.
pub fn erased(body: &[u8], user: &str) -> Option<Vec<u8>> {
    if let Ok(mut event) = Event::decode(body) {
        let players = match &mut event.body {
            EventBody::GameCreated(created) => {
                [&mut created.white_player, &mut created.black_player]
            }
            EventBody::Rematch(rematch) => [&mut rematch.white_player, &mut rematch.black_player],
            _ => return None,
        };
        let mut found = false;
        for (player, side) in players.into_iter().zip(["white", "black"]) {
            found |= erase(player, user, side);
        }
        return found.then(|| event.encode());
    }
    // An event of a later release: wherever a text is this id, it is not any more.
    let literal = serde_json::to_string(user).ok()?;
    let text = std::str::from_utf8(body).ok()?;
    let nobody = format!("\"{}\"", id("user"));
    text.contains(&literal)
        .then(|| text.replace(&literal, &nobody).into_bytes())
}

fn erase(player: &mut Player, user: &str, side: &str) -> bool {
    if player.id.as_str() != user {
        return false;
    }
    player.id = UserId::parse(&id(side)).expect("it is short and plain");
    player.name = NAME.to_owned();
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_side_is_erased_and_the_rest_stays() {
        let created = r#"{"seq":0,"at":7,"type":"game_created","payload":{"gameId":"g","whitePlayer":{"id":"u1","name":"Ann","isGuest":false},"blackPlayer":{"id":"u2","name":"Ben","isGuest":true},"timeControl":null,"fen":"f"}}"#;
        let after = String::from_utf8(erased(created.as_bytes(), "u1").unwrap()).unwrap();
        let expected = created
            .replace("\"u1\"", "\"erased-white\"")
            .replace("\"Ann\"", "\"[erased]\"");
        assert_eq!(after, expected);
        assert_eq!(erased(created.as_bytes(), "u3"), None);
        let later = r#"{"seq":9,"at":7,"type":"bow","payload":{"by":"u1"}}"#;
        let after = erased(later.as_bytes(), "u1").unwrap();
        assert!(!String::from_utf8(after).unwrap().contains("\"u1\""));
    }
}
