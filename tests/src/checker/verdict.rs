//! The three kinds of evidence against each other: every frame is in the log, every acknowledgement has its effect there
//! once, nothing is there that nobody asked for, and nobody was refused without a reason.

use super::{
    Ledger, Objection, Record, Request, Witness,
    record::{parts, side},
    witness::generation,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is judged.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Each game's life and log as they stand at the end.
    pub logs: &'a BTreeMap<String, (String, Vec<String>)>,
    /// Everybody who watched.
    pub witnesses: Vec<&'a Witness>,
    /// What was asked.
    pub ledger: &'a Ledger,
}

/// A log that was read, for look-ups.
struct Told {
    epoch: String,
    record: Record,
    events: Vec<Told1>,
}

struct Told1 {
    kind: String,
    payload: Value,
}

/// All objections; none if every promise was kept.
pub fn verdict(evidence: &Evidence<'_>) -> Vec<Objection> {
    let mut objections = Vec::new();
    for witness in &evidence.witnesses {
        objections.extend(witness.objections.iter().cloned());
    }
    let mut games = BTreeMap::new();
    for (game, (epoch, lines)) in evidence.logs {
        match told(epoch, lines) {
            Ok(told) if told.record.game == *game => drop(games.insert(game.as_str(), told)),
            Ok(told) => objections.push(format!("game {game} has the log of {}", told.record.game)),
            Err(why) => objections.push(why),
        }
    }
    for witness in &evidence.witnesses {
        for (game, seen) in &witness.rooms {
            let Some((epoch, lines)) = evidence.logs.get(game) else {
                if seen.next > 0 {
                    objections.push(format!(
                        "{} saw game {game}, of which there is no log",
                        witness.name
                    ));
                }
                continue;
            };
            for ((life, seq), line) in &seen.events {
                let index = usize::try_from(*seq).unwrap_or(usize::MAX);
                if life == epoch && lines.get(index) != Some(line) {
                    objections.push(format!(
                        "{} saw another event {seq} of game {game}:\n  {line}",
                        witness.name
                    ));
                }
            }
        }
    }
    snapshots(evidence, &mut objections);
    for request in evidence.ledger.requests() {
        if let Err(why) = judge(request, &games) {
            objections.push(format!(
                "{why}\n  asked {} times: {}\n  answers: {}",
                request.sent,
                request.body,
                json!(request.answers)
            ));
        }
    }
    let asked = Asked::of(evidence.ledger);
    for told in games.values() {
        asked.covers(told, &games, &mut objections);
    }
    objections
}

fn told(epoch: &str, lines: &[String]) -> Result<Told, Objection> {
    let record = Record::read(lines.iter().map(String::as_str))?;
    record.close()?;
    let events = lines.iter().map(|line| {
        let (_, _, kind, payload) = parts(line)?;
        Ok(Told1 { kind, payload })
    });
    Ok(Told {
        epoch: epoch.to_owned(),
        record,
        events: events.collect::<Result<_, Objection>>()?,
    })
}

/// Each snapshot is what the log says up to there.
fn snapshots(evidence: &Evidence<'_>, objections: &mut Vec<Objection>) {
    let mut by_game: BTreeMap<&str, Vec<(u64, &str, &Value)>> = BTreeMap::new();
    for witness in &evidence.witnesses {
        for (game, seen) in &witness.rooms {
            let shots = seen.snapshots.iter();
            let shots =
                shots.filter_map(|shot| Some((shot["seq"].as_u64()?, witness.user.as_str(), shot)));
            by_game.entry(game).or_default().extend(shots);
        }
    }
    for (game, mut shots) in by_game {
        let Some((epoch, lines)) = evidence.logs.get(game) else {
            continue;
        };
        shots.retain(|(_, _, shot)| shot["epoch"] == epoch.as_str());
        shots.sort_by_key(|(seq, _, _)| *seq);
        let mut lines = lines.iter();
        let Some(mut record) = lines.next().and_then(|line| Record::begin(line).ok()) else {
            continue;
        };
        for (seq, user, shot) in shots {
            while record.end <= seq
                && let Some(line) = lines.next()
                && record.push(line).is_ok()
            {}
            if record.end != seq + 1 {
                objections.push(format!(
                    "{user} has a snapshot of game {game} up to {seq}, beyond its log"
                ));
            } else if let Some((key, due)) = difference(&record, user, shot) {
                objections.push(format!(
                    "{user} has a snapshot of game {game} up to {seq} with another {key} than {due}: {}",
                    shot[key]
                ));
            }
        }
    }
}

fn difference(record: &Record, user: &str, shot: &Value) -> Option<(&'static str, Value)> {
    let side_name = |side: usize| ["white", "black"][side];
    let name = |side: Option<usize>| side.map_or(Value::Null, |side| json!(side_name(side)));
    let over = record.over.as_ref().map(|(over, _)| over);
    let told = |key: &str| over.map_or(Value::Null, |over| over[key].clone());
    let moves: Vec<Value> = record
        .moves
        .iter()
        .map(|stands| json!({"uci": stands.uci, "san": stands.san, "at": stands.at}))
        .collect();
    let clock = record
        .clock
        .map(|[white, black]| json!({"whiteMs": white, "blackMs": black}));
    let due = [
        ("gameId", json!(record.game)),
        ("color", name(record.side_of(user))),
        ("whitePlayer", record.created["whitePlayer"].clone()),
        ("blackPlayer", record.created["blackPlayer"].clone()),
        ("timeControl", record.created["timeControl"].clone()),
        ("startedAt", json!(record.created_at)),
        ("fen", json!(record.fen())),
        ("moves", json!(moves)),
        ("clock", clock.unwrap_or_default()),
        ("clockAt", json!(record.clock_at)),
        ("turn", json!(side_name(record.turn()))),
        (
            "status",
            json!(if over.is_some() {
                "finished"
            } else {
                "started"
            }),
        ),
        ("result", told("result")),
        ("reason", told("reason")),
        ("winner", told("winner")),
        ("drawOffer", name(record.offers[0])),
        ("takebackOffer", name(record.offers[1])),
        ("rematchOffer", name(record.offers[2])),
        (
            "rematchGameId",
            record
                .rematch
                .as_ref()
                .map_or(Value::Null, |rematch| rematch["newGameId"].clone()),
        ),
    ];
    due.into_iter().find(|(key, due)| shot[*key] != *due)
}

/// Whether a request was answered rightly.
fn judge(request: &Request, games: &BTreeMap<&str, Told>) -> Result<(), Objection> {
    let first = request.acks().next();
    let seen = request.body["payload"]["seq"].as_u64();
    for ack in request.acks() {
        // Told of an effect that stood before it asked, it may have one of its own later.
        let had_stood = first.is_some_and(|first| {
            first["payload"]["seq"]
                .as_u64()
                .is_some_and(|seq| Some(seq) <= seen)
        });
        let same = had_stood || first.is_some_and(|first| first["payload"] == ack["payload"]);
        // Seed 1182 once: a rematch declined, offered anew, and declined by the same request again.
        if !same && !may_mean_another(request) {
            return Err("a repeated request got another answer than before".into());
        }
    }
    // Chat is at most once by nature, and said again it is said twice.
    if request.kind() == "chat" {
        return Ok(());
    }
    let told = games.get(request.game());
    for ack in request.acks() {
        let ack = &ack["payload"];
        match (ack["seq"].as_u64(), told) {
            (Some(seq), Some(told)) => acknowledged(request, ack, seq, told)?,
            (Some(_), None) => return Err("acknowledged in a game that is not".into()),
            (None, _) if may_be_bare(request.kind()) => {}
            (None, _) => return Err("acknowledged without an effect".into()),
        }
    }
    // Once it has had its effect, a request is not refused; unless it found the effect of another: an offer that stood.
    let mut done = false;
    for answer in &request.answers {
        if answer["type"] == "error" {
            let code = answer["payload"]["code"].as_str().unwrap_or_default();
            refused(request, code, done, told)?;
        }
        done |= !may_mean_another(request)
            && answer["type"] == "ack"
            && answer["payload"]["seq"].as_u64() > seen;
    }
    Ok(())
}

/// An offer or an answer to one that does not say what it was made after may mean another one later.
fn may_mean_another(request: &Request) -> bool {
    let names_one = request.body["payload"]["seq"].is_u64();
    !names_one && !matches!(request.kind(), "move" | "resign" | "abort" | "exit_game")
}

fn may_be_bare(kind: &str) -> bool {
    matches!(kind, "leave_room" | "exit_game" | "chat" | "cancel_seek")
}

/// The effect that was acknowledged stands in the log.
fn acknowledged(request: &Request, ack: &Value, seq: u64, told: &Told) -> Result<(), Objection> {
    let life = ack["epoch"].as_str().unwrap_or_default();
    // A later life begins with what stood in the earlier one.
    if life != told.epoch && generation(life) >= generation(&told.epoch) {
        return Err(format!(
            "acknowledged in life {}, the log's is {}",
            ack["epoch"], told.epoch
        ));
    }
    let at = |seq: u64| {
        usize::try_from(seq)
            .ok()
            .and_then(|index| told.events.get(index))
    };
    let Some(event) = at(seq) else {
        return Err(format!(
            "the acknowledged event {seq} is lost: the log ends at {}",
            told.events.len()
        ));
    };
    let side = told
        .record
        .side_of(&request.user)
        .ok_or("acknowledged to one who does not play")?;
    if is_effect(request, ack, event, at(seq + 1), side) {
        return Ok(());
    }
    Err(format!(
        "the acknowledged event {seq} is not the effect: {} {}",
        event.kind, event.payload
    ))
}

fn is_effect(
    request: &Request,
    ack: &Value,
    event: &Told1,
    next: Option<&Told1>,
    by: usize,
) -> bool {
    let payload = &event.payload;
    let is_by = |kind: &str| event.kind == kind && side(&payload["by"]) == Some(by);
    let over = |event: &Told1, reasons: &[&str]| {
        event.kind == "game_over"
            && reasons
                .iter()
                .any(|reason| event.payload["reason"] == *reason)
    };
    let wanted = &request.body["payload"];
    let is_move = || {
        let ply = payload["ply"].as_u64().unwrap_or_default();
        event.kind == "move"
            && ack["ply"] == ply
            && (ply as usize + 1) % 2 == by
            && (wanted["ply"].is_null() || wanted["ply"] == ply)
            && is_the_move(&wanted["move"], &payload["move"])
    };
    match request.kind() {
        "move" => is_move(),
        "claim_draw" if wanted["move"].is_null() => {
            over(event, &["threefold_repetition", "fifty_moves"])
        }
        "claim_draw" => is_move() && next.is_some_and(|next| next.kind == "game_over"),
        "resign" | "exit_game" => {
            over(event, &["resignation"]) && side(&payload["winner"]) == Some(1 - by)
        }
        "abort" => over(event, &["aborted"]),
        "offer_draw" => is_by("draw_offered") || over(event, &["agreement"]),
        "accept_draw" => over(event, &["agreement"]),
        "decline_draw" => is_by("draw_declined"),
        "offer_takeback" => is_by("takeback_offered"),
        "accept_takeback" => event.kind == "takeback",
        "decline_takeback" => is_by("takeback_declined"),
        "claim_victory" => {
            over(event, &["abandonment"]) && side(&payload["winner"]) != Some(1 - by)
        }
        "offer_rematch" => is_by("rematch_offered") || event.kind == "rematch",
        "accept_rematch" => event.kind == "rematch",
        "decline_rematch" => is_by("rematch_declined"),
        _ => false,
    }
}

/// A move as asked for, and as made.
fn is_the_move(wanted: &Value, made: &Value) -> bool {
    let bare = |text: &Value| {
        text.as_str()
            .unwrap_or_default()
            .trim_end_matches(['+', '#', '!', '?'])
            .to_owned()
    };
    match wanted {
        Value::String(_) => {
            bare(wanted) == bare(&made["san"]) || bare(wanted) == bare(&made["uci"])
        }
        _ => {
            wanted["from"] == made["from"]
                && wanted["to"] == made["to"]
                && (made["promotion"].is_null() || wanted["promotion"] == made["promotion"])
        }
    }
}

/// A refusal has its reason in the log.
fn refused(
    request: &Request,
    code: &str,
    done: bool,
    told: Option<&Told>,
) -> Result<(), Objection> {
    let objection = |why: &str| Err(format!("refused as {code}: {why}"));
    if matches!(code, "unavailable" | "rate_limited") {
        return Ok(());
    }
    let wanted = &request.body["payload"];
    let seen = wanted["seq"].as_u64();
    // A takeback after the last event seen withdraws a move.
    let withdrawn = || {
        let ply = wanted["ply"].as_u64().unwrap_or_default();
        told.is_some_and(|told| {
            told.events.iter().enumerate().any(|(seq, event)| {
                seen.is_some_and(|seen| seq as u64 > seen)
                    && event.kind == "takeback"
                    && event.payload["ply"].as_u64().is_some_and(|left| left < ply)
            })
        })
    };
    let another_stands = || {
        told.is_some_and(|told| {
            told.events.iter().any(|event| {
                event.kind == "move"
                    && event.payload["ply"] == wanted["ply"]
                    && !is_the_move(&wanted["move"], &event.payload["move"])
            })
        })
    };
    let is_over = || told.is_some_and(|told| told.record.over.is_some());
    if done && !(request.kind() == "move" && code == "stale_ply" && withdrawn()) {
        return objection("it had been acknowledged");
    }
    if code == "game_over" && !is_over() {
        return objection("the game was not over");
    }
    if code == "stale_ply" && request.is_sound && !withdrawn() && !another_stands() {
        return objection("no other move stands there, and nothing was taken back");
    }
    if request.is_sound && !matches!(code, "game_over" | "stale_ply") {
        return objection("it was right by all that its asker had seen");
    }
    if code == "game_not_found" && told.is_some() {
        return objection("there is such a game");
    }
    Ok(())
}

/// How often each user asked for each effect: bounds how often it may stand in the logs.
struct Asked<'a> {
    by_game: BTreeMap<(&'a str, &'a str), Vec<&'a Request>>,
    seeks: BTreeMap<(&'a str, String), u32>,
    invitations: BTreeMap<&'a str, &'a str>,
    joins: BTreeMap<(&'a str, &'a str), u32>,
}

impl<'a> Asked<'a> {
    fn of(ledger: &'a Ledger) -> Asked<'a> {
        let mut asked = Asked {
            by_game: BTreeMap::new(),
            seeks: BTreeMap::new(),
            invitations: BTreeMap::new(),
            joins: BTreeMap::new(),
        };
        for request in ledger.requests() {
            let (user, game) = (request.user.as_str(), request.game());
            match request.kind() {
                "init_game" => {
                    let control = request.body["payload"]["timeControl"].to_string();
                    *asked.seeks.entry((user, control)).or_default() += request.sent;
                }
                "create_game" => {
                    for answer in &request.answers {
                        if let Some(game) = answer["payload"]["gameId"]
                            .as_str()
                            .filter(|_| answer["type"] == "game_added")
                        {
                            asked.invitations.insert(game, user);
                        }
                    }
                }
                "join_game" => *asked.joins.entry((game, user)).or_default() += request.sent,
                _ => asked.by_game.entry((game, user)).or_default().push(request),
            }
        }
        asked
    }

    fn count(&self, told: &Told, user: &str, wants: impl Fn(&Request) -> bool) -> usize {
        // One that does not say what it was made after may mean another thing each time it is sent.
        let times = |request: &Request| {
            let payload = &request.body["payload"];
            match payload["seq"].is_null() && payload["ply"].is_null() {
                true => request.sent as usize,
                false => 1,
            }
        };
        let asked = self.by_game.get(&(told.record.game.as_str(), user));
        asked
            .into_iter()
            .flatten()
            .filter(|request| wants(request))
            .map(|request| times(request))
            .sum()
    }

    /// Everything in this log was asked for, and no request had its effect twice.
    fn covers(&self, told: &Told, games: &BTreeMap<&str, Told>, objections: &mut Vec<Objection>) {
        let record = &told.record;
        let mut effects: BTreeMap<(usize, String), (usize, usize)> = BTreeMap::new();
        for event in &told.events {
            let payload = &event.payload;
            let by = match event.kind.as_str() {
                "move" => (payload["ply"].as_u64().unwrap_or_default() as usize + 1) % 2,
                "game_over" if payload["reason"] == "resignation" => {
                    side(&payload["winner"]).map_or(0, |winner| 1 - winner)
                }
                "game_over" | "takeback" | "rematch" | "game_created" | "clock_credited" => {
                    continue;
                }
                _ => side(&payload["by"]).unwrap_or_default(),
            };
            let user = &record.users[by];
            let asked = match event.kind.as_str() {
                "move" => self.count(told, user, |request| {
                    let wanted = &request.body["payload"];
                    matches!(request.kind(), "move" | "claim_draw")
                        && (wanted["ply"].is_null() || wanted["ply"] == payload["ply"])
                        && is_the_move(&wanted["move"], &payload["move"])
                }),
                "game_over" => self.count(told, user, |request| {
                    matches!(request.kind(), "resign" | "exit_game")
                }),
                kind => {
                    let wanted = request_of(kind);
                    self.count(told, user, |request| request.kind() == wanted)
                }
            };
            let key = match event.kind.as_str() {
                "move" => format!("move {} {}", payload["ply"], payload["move"]["uci"]),
                kind => kind.to_owned(),
            };
            let entry = effects.entry((by, key)).or_insert((0, asked));
            entry.0 += 1;
        }
        for ((by, what), (stands, asked)) in effects {
            if stands > asked {
                objections.push(format!(
                    "game {}: {what} by {} stands {stands} times, asked for {asked} times",
                    record.game, record.users[by]
                ));
            }
        }
        if !self.was_agreed(told, games) {
            objections.push(format!(
                "game {} of {:?} was made without their asking",
                record.game, record.users
            ));
        }
    }

    /// A game comes from a rematch, an invitation, or two seeks, and each seek makes at most one.
    fn was_agreed(&self, told: &Told, games: &BTreeMap<&str, Told>) -> bool {
        let record = &told.record;
        let game = record.game.as_str();
        let of_rematch = |told: &Told| {
            told.record
                .rematch
                .as_ref()
                .is_some_and(|rematch| rematch["newGameId"] == game)
        };
        if games.values().any(of_rematch) {
            return true;
        }
        if let Some(creator) = self.invitations.get(game) {
            let guest = record.users.iter().find(|user| user != creator);
            return record.users.iter().any(|user| user == creator)
                && guest.is_some_and(|guest| self.joins.contains_key(&(game, guest.as_str())));
        }
        record.users.iter().all(|user| {
            let control = record.created["timeControl"].clone();
            let games_of = games.values().filter(|other| {
                other.record.users.contains(user)
                    && other.record.created["timeControl"] == control
                    && !self.invitations.contains_key(other.record.game.as_str())
                    && !games.values().any(|told| {
                        told.record.rematch.as_ref().is_some_and(|rematch| {
                            rematch["newGameId"] == other.record.game.as_str()
                        })
                    })
            });
            let seeks = self.seeks.get(&(user.as_str(), control.to_string()));
            seeks.is_some_and(|seeks| games_of.count() <= *seeks as usize)
        })
    }
}

fn request_of(event: &str) -> &'static str {
    match event {
        "draw_offered" => "offer_draw",
        "draw_declined" => "decline_draw",
        "takeback_offered" => "offer_takeback",
        "takeback_declined" => "decline_takeback",
        "rematch_offered" => "offer_rematch",
        "rematch_declined" => "decline_rematch",
        _ => "",
    }
}
