//! Writes the web client's types: `gateway/web/src/protocol/messages.ts` is made here and never edited by hand. The test
//! fails when the file is stale; `UPDATE_PROTOCOL=1 cargo test -p shared typescript` writes it anew.

use super::{
    CHAT_CHARS_MAX, INCREMENT_MS_MAX, INITIAL_MS_MAX, INITIAL_MS_MIN, NAME_CHARS_MAX, Request,
    VERSION, client, close, http, server,
};
use crate::{Color, GameId, Timestamp, UserId, game as event, protocol::ErrorCode};
use std::{fmt::Write, path::Path};
use ts_rs::{Config, TS};

const HEAD: &str = "\
// The words of the protocol, generated from the Rust crate `shared`. Do not edit:
// `UPDATE_PROTOCOL=1 cargo test -p shared typescript` writes this file, and the same test without that variable fails
// when it is stale.

/** A move by its squares, or as UCI or SAN. */
export type MoveInput = string | { from: string, to: string, promotion?: string };
";

/// Every request by its name, with the type of its payload: what a `type` may be, and so checked against the decoder.
pub(super) const REQUESTS: &[(&str, &str)] = &[
    ("init_game", "Seek"),
    ("cancel_seek", "Record<string, never>"),
    ("create_game", "CreateGame"),
    ("join_game", "JoinGame"),
    ("join_room", "JoinRoom"),
    ("leave_room", "GameRef"),
    ("move", "MoveRequest"),
    ("claim_draw", "ClaimDraw"),
    ("resign", "OfferRef"),
    ("abort", "OfferRef"),
    ("offer_draw", "OfferRef"),
    ("accept_draw", "OfferRef"),
    ("decline_draw", "OfferRef"),
    ("claim_victory", "OfferRef"),
    ("offer_rematch", "OfferRef"),
    ("accept_rematch", "OfferRef"),
    ("decline_rematch", "OfferRef"),
    ("offer_takeback", "OfferRef"),
    ("accept_takeback", "OfferRef"),
    ("decline_takeback", "OfferRef"),
    ("exit_game", "GameRef"),
    ("chat", "Chat"),
    ("ping", "Ping"),
];

fn declare<T: TS>(out: &mut String, config: &Config) {
    out.push('\n');
    if let Some(docs) = T::docs() {
        out.push_str(docs.trim_end());
        out.push('\n');
    }
    writeln!(out, "export {}", T::decl(config)).expect("a string takes all");
}

macro_rules! declare_all {
    ($out:expr, $config:expr, $($kind:ty),+ $(,)?) => { $(declare::<$kind>($out, $config);)+ };
}

fn generate() -> String {
    let config = &Config::default().with_large_int("number");
    let mut out = HEAD.to_owned();
    declare_all!(
        &mut out,
        config,
        GameId,
        UserId,
        Timestamp,
        Color,
        event::Player,
        event::TimeControl,
        event::ClockReading,
        event::MoveMade,
        event::GameResult,
        event::Reason,
        event::CreditCause,
        event::GameCreated,
        event::Moved,
        event::By,
        event::Takeback,
        event::ClockCredited,
        event::GameOver,
        event::Rematch,
        event::EventBody,
        event::Event,
        client::RequestId,
        client::ColorChoice,
        client::Seek,
        client::CreateGame,
        client::JoinGame,
        client::JoinRoom,
        client::GameRef,
        client::OfferRef,
        client::MoveRequest,
        client::ClaimDraw,
        client::Chat,
        client::Ping,
        server::Welcome,
        server::Waiting,
        server::GameAdded,
        server::Invitation,
        server::Status,
        server::Presence,
        server::MoveRecord,
        server::Snapshot,
        server::Resumed,
        server::GameOnly,
        server::Ack,
        server::ErrorCode,
        server::ErrorBody,
        server::Viewers,
        server::PresenceChange,
        server::ChatChannel,
        server::ChatRole,
        server::ChatLine,
        server::ChatHistory,
        server::Pong,
        server::Drain,
        server::ServerMessage,
        http::LiveGames,
        http::LiveGame,
    );
    out.push_str(
        "\n/** Every request by its `type`, with its payload. */\nexport type ClientMessages = {\n",
    );
    for (name, payload) in REQUESTS {
        writeln!(out, "  {name}: {payload};").expect("a string takes all");
    }
    out.push_str("};\n\n/** What a client does after a close. */\n");
    out.push_str("export type Reconnect = \"never\" | \"backoff\" | \"jitter\";\n\n");
    out.push_str("/** Close codes with a meaning of their own; others go by their range: 4000-4499 come back, 4500-4999 do not. */\n");
    out.push_str("export const CLOSE_CODES: Readonly<Record<number, readonly [name: string, reconnect: Reconnect]>> = {\n");
    for row in close::CLOSE_CODES {
        let reconnect = format!("{:?}", row.reconnect).to_lowercase();
        writeln!(
            out,
            "  {}: [\"{}\", \"{reconnect}\"],",
            row.code.as_u16(),
            row.name
        )
        .expect("a string takes all");
    }
    out.push_str("};\n");
    for (doc, name, value) in [
        (
            "Version of the protocol this client was built for.",
            "PROTOCOL_VERSION",
            i64::from(VERSION),
        ),
        (
            "Longest shown name, in characters.",
            "NAME_CHARS_MAX",
            NAME_CHARS_MAX as i64,
        ),
        (
            "Longest chat line, in characters.",
            "CHAT_CHARS_MAX",
            CHAT_CHARS_MAX as i64,
        ),
        (
            "Shortest thinking time of a game, in milliseconds.",
            "INITIAL_MS_MIN",
            INITIAL_MS_MIN,
        ),
        (
            "Longest thinking time of a game, in milliseconds.",
            "INITIAL_MS_MAX",
            INITIAL_MS_MAX,
        ),
        (
            "Largest increment, in milliseconds.",
            "INCREMENT_MS_MAX",
            INCREMENT_MS_MAX,
        ),
    ] {
        writeln!(out, "\n/** {doc} */\nexport const {name} = {value};")
            .expect("a string takes all");
    }
    out
}

#[test]
fn typescript_of_the_web_client_is_current() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/web/src/protocol/messages.ts");
    let wanted = generate();
    if std::env::var_os("UPDATE_PROTOCOL").is_some() {
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("can be made");
        std::fs::write(&path, &wanted).expect("can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "{} is stale; run: UPDATE_PROTOCOL=1 cargo test -p shared typescript",
        path.display()
    );
}

#[test]
fn every_request_named_in_typescript_is_one() {
    for (name, _) in REQUESTS {
        let text = format!(r#"{{"type":"{name}","payload":{{}}}}"#);
        if let Err(error) = Request::decode(&text) {
            assert_eq!(
                error.code,
                ErrorCode::BadMessage,
                "{name}: {}",
                error.message
            );
        }
    }
}
