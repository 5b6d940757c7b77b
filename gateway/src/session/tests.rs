//! A session without a socket, a node or a clock.

use super::*;
use crate::identity::Tokens;
use shared::protocol::MESSAGE_LEN_MAX;

fn session(rooms_max: usize) -> Session {
    Session::new(Tokens::guest(), Vec::new(), rooms_max)
}

fn hear(session: &mut Session, text: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    session.text(text, Timestamp(1), false, || true, &mut effects);
    effects
}

fn said(effects: &[Effect]) -> String {
    match effects {
        [Effect::Say(message, id)] => message.encode(id.as_ref()),
        other => panic!("one answer, not {other:?}"),
    }
}

#[test]
fn a_bad_text_is_answered_and_the_session_goes_on() {
    let mut session = session(32);
    assert!(said(&hear(&mut session, "hello")).contains("bad_json"));
    assert!(said(&hear(&mut session, r#"{"type":"fly","id":3}"#)).contains(r#""id":3"#));
    assert!(
        said(&hear(
            &mut session,
            r#"{"type":"ping","payload":{"t":5},"id":4}"#
        ))
        .contains(r#""t":5"#)
    );
}

#[test]
fn over_the_rate_a_session_refuses_and_at_last_closes() {
    let mut session = session(32);
    for _ in 0..STRIKES_MAX {
        let mut effects = Vec::new();
        session.text(
            r#"{"type":"ping","id":"x"}"#,
            Timestamp(1),
            true,
            || true,
            &mut effects,
        );
        let text = said(&effects);
        assert!(
            text.contains("rate_limited")
                && text.contains(r#""id":"x""#)
                && text.contains("retryAfterMs"),
            "{text}"
        );
    }
    let mut effects = Vec::new();
    session.text("{}", Timestamp(1), true, || true, &mut effects);
    assert!(matches!(effects[..], [Effect::Close(CloseCode::Policy, _)]));
}

#[test]
fn a_pause_forgives_and_a_message_in_between_does_not() {
    let mut session = session(32);
    let mut at = Timestamp(1_000);
    let flood = |session: &mut Session, at| {
        let mut effects = Vec::new();
        for _ in 0..STRIKES_MAX {
            session.text("{}", at, true, || true, &mut effects);
        }
        effects
    };
    for _ in 0..3 {
        let effects = flood(&mut session, at);
        assert!(
            effects
                .iter()
                .all(|effect| matches!(effect, Effect::Say(..)))
        );
        at = at.plus_ms(STRIKES_FORGOTTEN_MS + 1);
    }
    session.too_large(at, true, &mut Vec::new());
    session.text(r#"{"type":"ping"}"#, at, false, || true, &mut Vec::new());
    let effects = flood(&mut session, at);
    assert!(matches!(
        effects.last(),
        Some(Effect::Close(CloseCode::Policy, _))
    ));
}

#[test]
fn a_connection_is_in_so_many_rooms_and_no_more() {
    let mut session = session(2);
    let join = |game: &str| format!(r#"{{"type":"join_room","payload":{{"gameId":"{game}"}}}}"#);
    for game in ["a", "b", "a"] {
        assert!(
            matches!(hear(&mut session, &join(game))[..], [Effect::Room(..)]),
            "{game}"
        );
    }
    assert!(said(&hear(&mut session, &join("c"))).contains("too_many_games"));
    // A room that does not exist gives its place back.
    session.notice(Notice::Left(GameId::parse("b").expect("an id")));
    assert!(matches!(
        hear(&mut session, &join("c"))[..],
        [Effect::Room(..)]
    ));
    let mut rooms = session.close();
    rooms.sort();
    assert_eq!(
        rooms,
        ["a", "c"].map(|game| GameId::parse(game).expect("an id"))
    );
}

#[test]
fn the_game_of_a_move_may_be_left_out_if_there_is_but_one() {
    let mut session = session(32);
    let game = |id| GameId::parse(id).expect("an id");
    let mv = r#"{"type":"move","payload":{"move":"e2e4"}}"#;
    assert!(said(&hear(&mut session, mv)).contains("gameId"));
    session.notice(Notice::Playing(game("a")));
    assert!(matches!(&hear(&mut session, mv)[..], [Effect::Room(id, _)] if *id == game("a")));
    session.notice(Notice::Playing(game("b")));
    assert!(said(&hear(&mut session, mv)).contains("gameId"));
    session.notice(Notice::Finished(game("a")));
    assert!(matches!(&hear(&mut session, mv)[..], [Effect::Room(id, _)] if *id == game("b")));
}

#[test]
fn guests_choose_their_names_and_others_do_not() {
    let asks = |user: Player| {
        let mut session = Session::new(user, Vec::new(), 32);
        match &hear(
            &mut session,
            r#"{"type":"init_game","payload":{"name":" Ann "}}"#,
        )[..]
        {
            [Effect::Lobby(ask)] => ask.user.name.clone(),
            other => panic!("{other:?}"),
        }
    };
    let guest = Tokens::guest();
    assert_eq!(asks(guest.clone()), "Ann");
    assert_eq!(
        asks(Player {
            is_guest: false,
            name: "Magnus".into(),
            ..guest
        }),
        "Magnus"
    );
}

#[test]
fn too_large_names_the_limit() {
    let mut effects = Vec::new();
    session(1).too_large(Timestamp(1), false, &mut effects);
    assert!(said(&effects).contains(&MESSAGE_LEN_MAX.to_string()));
}

#[test]
fn costly_kinds_have_a_rate_of_their_own() {
    let mut session = session(32);
    let mut ask = |text: &str, may: bool| {
        let mut effects = Vec::new();
        let mut asked = false;
        let may_cost = || {
            asked = true;
            may
        };
        session.text(text, Timestamp(1), false, may_cost, &mut effects);
        let refused = matches!(&effects[..], [Effect::Say(message, _)] if message.encode(None).contains("rate_limited"));
        (asked, refused)
    };
    for costly in [
        r#"{"type":"init_game","payload":{}}"#,
        r#"{"type":"create_game","payload":{}}"#,
        r#"{"type":"join_game","payload":{"gameId":"a"}}"#,
        r#"{"type":"join_room","payload":{"gameId":"a"}}"#,
    ] {
        assert_eq!(ask(costly, false), (true, true), "{costly}");
        assert_eq!(ask(costly, true), (true, false), "{costly}");
    }
    for cheap in [
        r#"{"type":"ping"}"#,
        r#"{"type":"move","payload":{"gameId":"a","move":"e4"}}"#,
        r#"{"type":"resign","payload":{"gameId":"a"}}"#,
        r#"{"type":"chat","payload":{"gameId":"a","text":"b"}}"#,
        r#"{"type":"cancel_seek"}"#,
        "no message at all",
    ] {
        assert_eq!(ask(cheap, false), (false, false), "{cheap}");
    }
}
