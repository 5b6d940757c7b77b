//! Every message a gateway says, as the text that goes out.

use serde_json::value::RawValue;
use shared::{
    Color, GameId, Timestamp, UserId,
    game::{ClockReading, GameResult, Player, Reason, TimeControl},
    protocol::{ErrorCode, RequestId, ServerMessage, client::ColorChoice, server::*},
};

fn game() -> GameId {
    GameId::parse("Ab1").unwrap()
}

fn player(id: &str) -> Player {
    Player {
        id: UserId::parse(id).unwrap(),
        name: id.to_uppercase(),
        is_guest: true,
    }
}

fn snapshot() -> Box<Snapshot> {
    Box::new(Snapshot {
        game_id: game(),
        epoch: "1.x".into(),
        seq: 3,
        color: Some(Color::White),
        white_player: player("ann"),
        black_player: player("bob"),
        time_control: Some(TimeControl {
            initial_ms: 60_000,
            increment_ms: 1_000,
        }),
        started_at: Timestamp(1),
        fen: "8/8/8/8/8/8/8/8 w - - 0 1".into(),
        moves: vec![MoveRecord {
            uci: "e2e4".into(),
            san: "e4".into(),
            at: Timestamp(2),
        }],
        clock: Some(ClockReading {
            white_ms: 5,
            black_ms: 6,
        }),
        clock_at: Timestamp(3),
        turn: Color::Black,
        status: Status::Finished,
        result: Some(GameResult::Draw),
        reason: Some(Reason::Agreement),
        winner: None,
        draw_offer: None,
        takeback_offer: Some(Color::Black),
        rematch_offer: None,
        rematch_game_id: None,
        presence: Presence {
            white: true,
            black: false,
        },
    })
}

const ANN: &str = r#"{"id":"ann","name":"ANN","isGuest":true}"#;
const BOB: &str = r#"{"id":"bob","name":"BOB","isGuest":true}"#;

#[test]
fn messages_as_they_go_out() {
    let snapshot_text = format!(
        r#"{{"gameId":"Ab1","epoch":"1.x","seq":3,"color":"white","whitePlayer":{ANN},"blackPlayer":{BOB},"timeControl":{{"initialMs":60000,"incrementMs":1000}},"startedAt":1,"fen":"8/8/8/8/8/8/8/8 w - - 0 1","moves":[{{"uci":"e2e4","san":"e4","at":2}}],"clock":{{"whiteMs":5,"blackMs":6}},"clockAt":3,"turn":"black","status":"finished","result":"1/2-1/2","reason":"agreement","winner":null,"drawOffer":null,"takebackOffer":"black","rematchOffer":null,"rematchGameId":null,"presence":{{"white":true,"black":false}}}}"#
    );
    let line = format!(
        r#"{{"gameId":"Ab1","channel":"spectators","user":{BOB},"role":"spectator","text":"hi","at":5}}"#
    );
    let rows: Vec<(ServerMessage, String)> = vec![
        (
            ServerMessage::Welcome(Welcome {
                user: player("ann"),
                token: "t.t.t".into(),
                node: "n1".into(),
                protocol: 1,
                server_time: Timestamp(9),
                heartbeat_ms: 30_000,
                active_games: vec![game()],
            }),
            format!(r#"{{"type":"welcome","payload":{{"user":{ANN},"token":"t.t.t","node":"n1","protocol":1,"serverTime":9,"heartbeatMs":30000,"activeGames":["Ab1"]}}}}"#),
        ),
        (
            ServerMessage::Waiting(Waiting { time_control: None }),
            r#"{"type":"waiting","payload":{"timeControl":null}}"#.into(),
        ),
        (
            ServerMessage::GameAdded(GameAdded { game_id: game(), invite_url: "/game/Ab1".into() }),
            r#"{"type":"game_added","payload":{"gameId":"Ab1","inviteUrl":"/game/Ab1"},"gameId":"Ab1"}"#.into(),
        ),
        (
            ServerMessage::Invitation(Invitation {
                game_id: game(),
                by: player("ann"),
                time_control: None,
                color: ColorChoice::Random,
                expires_at: Timestamp(4),
            }),
            format!(r#"{{"type":"invitation","payload":{{"gameId":"Ab1","by":{ANN},"timeControl":null,"color":"random","expiresAt":4}}}}"#),
        ),
        (ServerMessage::InitGame(snapshot()), format!(r#"{{"type":"init_game","payload":{snapshot_text}}}"#)),
        (ServerMessage::GameJoined(snapshot()), format!(r#"{{"type":"game_joined","payload":{snapshot_text}}}"#)),
        (
            ServerMessage::Resumed(Resumed { game_id: game(), seq: 3, epoch: "1.x".into() }),
            r#"{"type":"resumed","payload":{"gameId":"Ab1","seq":3,"epoch":"1.x"}}"#.into(),
        ),
        (
            ServerMessage::GameNotFound(GameOnly { game_id: game() }),
            r#"{"type":"game_not_found","payload":{"gameId":"Ab1"}}"#.into(),
        ),
        (ServerMessage::Ack(Ack::default()), r#"{"type":"ack","payload":{}}"#.into()),
        (
            ServerMessage::Ack(Ack { game_id: Some(game()), epoch: Some("1.x".into()), seq: Some(7), ply: Some(5) }),
            r#"{"type":"ack","payload":{"gameId":"Ab1","epoch":"1.x","seq":7,"ply":5}}"#.into(),
        ),
        (
            ServerMessage::Error(ErrorBody {
                code: ErrorCode::NotYourTurn,
                message: "it is not your turn".into(),
                retryable: false,
                game_id: Some(game()),
                retry_after_ms: None,
            }),
            r#"{"type":"error","payload":{"code":"not_your_turn","message":"it is not your turn","retryable":false,"gameId":"Ab1"}}"#.into(),
        ),
        (
            ServerMessage::Viewers(Viewers { game_id: game(), count: 12 }),
            r#"{"type":"viewers","payload":{"gameId":"Ab1","count":12}}"#.into(),
        ),
        (
            ServerMessage::Presence(PresenceChange {
                game_id: game(),
                color: Color::Black,
                online: false,
                claimable_at: Some(Timestamp(60)),
            }),
            r#"{"type":"presence","payload":{"gameId":"Ab1","color":"black","online":false,"claimableAt":60}}"#.into(),
        ),
        (
            ServerMessage::Chat(ChatLine {
                game_id: game(),
                channel: ChatChannel::Spectators,
                user: player("bob"),
                role: ChatRole::Spectator,
                text: "hi".into(),
                at: Timestamp(5),
            }),
            format!(r#"{{"type":"chat","payload":{{"gameId":"Ab1","channel":"spectators","user":{BOB},"role":"spectator","text":"hi","at":5}}}}"#),
        ),
        (
            ServerMessage::ChatHistory(ChatHistory {
                game_id: game(),
                messages: vec![RawValue::from_string(line.clone()).unwrap()],
            }),
            format!(r#"{{"type":"chat_history","payload":{{"gameId":"Ab1","messages":[{line}]}}}}"#),
        ),
        (
            ServerMessage::Pong(Pong { t: Some(serde_json::json!([1, "a"])), server_time: Timestamp(8) }),
            r#"{"type":"pong","payload":{"t":[1,"a"],"serverTime":8}}"#.into(),
        ),
        (
            ServerMessage::Drain(Drain { reconnect_within_ms: 16_000 }),
            r#"{"type":"drain","payload":{"reconnectWithinMs":16000}}"#.into(),
        ),
    ];
    let mut kept = String::new();
    for (message, text) in rows {
        assert_eq!(message.encode(None), text);
        kept += &text;
        kept.push('\n');
    }
    // The same for those who check other things against them, one a line.
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/wire/messages.jsonl"
    );
    if std::env::var_os("UPDATE_PROTOCOL").is_some() {
        std::fs::write(path, &kept).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap_or_default(),
        kept,
        "run: UPDATE_PROTOCOL=1 cargo test -p shared --test protocol"
    );
}

#[test]
fn an_answer_carries_the_requests_id_back() {
    let ack = ServerMessage::Ack(Ack::default());
    assert_eq!(
        ack.encode(Some(&RequestId::Number(7.into()))),
        r#"{"type":"ack","payload":{},"id":7}"#
    );
    assert_eq!(
        ack.encode(Some(&RequestId::Text("a".into()))),
        r#"{"type":"ack","payload":{},"id":"a"}"#
    );
}

#[test]
fn error_codes_are_those_of_the_contract() {
    use ErrorCode::*;
    let codes = [
        BadJson,
        BadMessage,
        UnknownType,
        TooLarge,
        RateLimited,
        Unauthorized,
        Forbidden,
        NotAPlayer,
        NotYourTurn,
        IllegalMove,
        StalePly,
        GameNotFound,
        GameFull,
        GameOver,
        TooEarly,
        TooLate,
        NoOffer,
        NoClaim,
        BadTimeControl,
        TooManyGames,
        Unavailable,
    ];
    let names: Vec<String> = codes
        .iter()
        .map(|code| serde_json::to_value(code).unwrap().as_str().unwrap().into())
        .collect();
    assert_eq!(
        names.join(" "),
        "bad_json bad_message unknown_type too_large rate_limited unauthorized forbidden not_a_player not_your_turn \
         illegal_move stale_ply game_not_found game_full game_over too_early too_late no_offer no_claim bad_time_control \
         too_many_games unavailable"
    );
}
