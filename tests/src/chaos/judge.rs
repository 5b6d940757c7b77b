//! The judge: tapes, logs, scores and the archive against each other. He trusts nothing that a player or a gateway concluded; he reads what
//! was said, heard and stored.

use super::tape::Entry;
use crate::checker::{Evidence, Ledger, Objection, Record, Witness, verdict};
use serde_json::Value;
use std::collections::BTreeMap;

/// The life of a game's log, and its lines.
pub type Log = (String, Vec<String>);

/// What is judged.
#[derive(Debug, Clone)]
pub struct Findings {
    /// Each game's log at the end, as each of the gateways tells it.
    pub logs: BTreeMap<String, Vec<Log>>,
    /// What the archive holds of each game.
    pub archived: BTreeMap<String, Log>,
    /// Each client's tape, by its name.
    pub tapes: BTreeMap<String, Vec<Entry>>,
    /// The moves of each game's score, in SAN: what was to be played in it.
    pub scores: BTreeMap<String, Vec<String>>,
}

impl Findings {
    /// Moves in all logs together.
    pub fn moves(&self) -> usize {
        let logs = self.logs.values().filter_map(|told| told.first());
        let lines = logs.flat_map(|(_, lines)| lines);
        lines.filter(|line| is_move(line)).count()
    }
}

/// All objections; none if every promise was kept.
pub fn judge(findings: &Findings) -> Vec<Objection> {
    let mut objections = Vec::new();
    let mut logs = BTreeMap::new();
    for (game, told) in &findings.logs {
        if told.windows(2).any(|pair| pair[0] != pair[1]) {
            objections.push(format!("the gateways disagree about game {game}"));
        }
        if let Some(log) = told.first() {
            logs.insert(game.clone(), log.clone());
        }
    }
    let mut ledger = Ledger::default();
    let mut witnesses = Vec::new();
    for (name, entries) in &findings.tapes {
        let user = user_of(entries);
        let mut witness = Witness::new(name, &user);
        for entry in entries {
            match entry {
                Entry::Connected => witness.connected(),
                Entry::Sent(text) => {
                    ledger.sent(&user, text, false);
                    witness.sends(text);
                }
                Entry::Heard(text) => {
                    ledger.heard(&user, text);
                    witness.hears(text);
                }
            }
        }
        witnesses.push(witness);
    }
    objections.extend(verdict(&Evidence {
        logs: &logs,
        witnesses: witnesses.iter().collect(),
        ledger: &ledger,
    }));
    for (game, score) in &findings.scores {
        objections.extend(of_score(game, score, logs.get(game)));
    }
    for (game, log) in &logs {
        objections.extend(of_archive(game, log, findings.archived.get(game)));
    }
    objections
}

/// The archive has the events of the log, from the first to the last, byte for byte.
fn of_archive(game: &str, log: &Log, archived: Option<&Log>) -> Option<Objection> {
    let (epoch, lines) = log;
    let Some((life, bodies)) = archived else {
        return Some(format!("game {game} is not in the archive"));
    };
    if life != epoch {
        return Some(format!(
            "the archive has life {life} of game {game}, the log is {epoch}"
        ));
    }
    let differs = |place: &usize| lines.get(*place) != bodies.get(*place);
    let place = (0..lines.len().max(bodies.len())).find(differs)?;
    Some(format!(
        "game {game} at {place}: the archive has {:?}, the log {:?}",
        bodies.get(place),
        lines.get(place)
    ))
}

/// The user that the server said this client is.
fn user_of(entries: &[Entry]) -> String {
    let welcome = entries.iter().find_map(|entry| match entry {
        Entry::Heard(text) if text.starts_with("{\"type\":\"welcome\"") => {
            serde_json::from_str::<Value>(text).ok()
        }
        _ => None,
    });
    let user = welcome.map(|welcome| welcome["payload"]["user"]["id"].clone());
    user.and_then(|id| id.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// The game has the moves of its score, from the first on, each once.
fn of_score(game: &str, score: &[String], log: Option<&Log>) -> Option<Objection> {
    let Some((_, lines)) = log else {
        return Some(format!("game {game} has no log"));
    };
    let record = Record::read(lines.iter().map(String::as_str)).ok()?;
    let played: Vec<&str> = record.moves.iter().map(|mv| mv.san.as_str()).collect();
    let due: Vec<&str> = score
        .iter()
        .map(String::as_str)
        .take(played.len())
        .collect();
    (played != due).then(|| format!("game {game} has moves {played:?}, its score {score:?}"))
}

fn is_move(text: &str) -> bool {
    text.contains("\"type\":\"move\"")
}

/// A promise broken on purpose, in what was found: a judge who lets one of these pass judges nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// The last acknowledged event of a log is gone.
    AcknowledgedMoveLost,
    /// A move stands twice.
    MoveTwice,
    /// Two events of a log changed places.
    OutOfOrder,
    /// A client missed an event.
    Gap,
    /// A client got an event twice.
    Repeat,
    /// A client saw another event than the log holds.
    Fork,
    /// A move was acknowledged as another event than it made.
    WrongAnswer,
    /// A log holds a move that nobody asked for.
    Unasked,
    /// A clock in the log is wrong by a second.
    WrongClock,
    /// One gateway tells another log than the others.
    GatewaysDisagree,
    /// The archive knows nothing of a game.
    NotArchived,
    /// The archive has not got the last event of a log.
    ArchiveBehind,
    /// The archive has an event twice.
    ArchivedTwice,
    /// The archive has two events in each other's places.
    ArchivedOutOfOrder,
    /// A byte of an event is another one in the archive.
    ArchivedOtherwise,
    /// The archive has an earlier life of a log.
    ArchivedOtherLife,
}

impl Lie {
    /// All of them.
    pub const ALL: [Lie; 16] = [
        Lie::AcknowledgedMoveLost,
        Lie::MoveTwice,
        Lie::OutOfOrder,
        Lie::Gap,
        Lie::Repeat,
        Lie::Fork,
        Lie::WrongAnswer,
        Lie::Unasked,
        Lie::WrongClock,
        Lie::GatewaysDisagree,
        Lie::NotArchived,
        Lie::ArchiveBehind,
        Lie::ArchivedTwice,
        Lie::ArchivedOutOfOrder,
        Lie::ArchivedOtherwise,
        Lie::ArchivedOtherLife,
    ];

    /// The findings as they would be if that promise had been broken.
    pub fn told_of(self, findings: &Findings) -> Findings {
        let mut findings = findings.clone();
        let game = findings
            .logs
            .iter()
            .find(|(_, told)| told[0].1.iter().filter(|line| is_move(line)).count() > 4)
            .map(|(game, _)| game.clone())
            .expect("a game of some moves");
        let archived = findings.archived.get_mut(&game);
        let (life, bodies) = archived.expect("the true findings are archived");
        match self {
            Lie::NotArchived => drop(findings.archived.remove(&game)),
            Lie::ArchiveBehind => drop(bodies.pop()),
            Lie::ArchivedTwice => bodies.insert(3, bodies[3].clone()),
            Lie::ArchivedOutOfOrder => bodies.swap(2, 3),
            Lie::ArchivedOtherwise => bodies[3] = bodies[3].replacen("\"fen\":", "\"fen\": ", 1),
            Lie::ArchivedOtherLife => *life = "1.another".to_owned(),
            _ => return self.of_the_rest(findings, &game),
        }
        findings
    }

    fn of_the_rest(self, mut findings: Findings, game: &str) -> Findings {
        let told = findings.logs.get_mut(game).expect("just found");
        if self == Lie::GatewaysDisagree {
            let other = told.last_mut().expect("more than one gateway");
            other.1.pop();
            return findings;
        }
        // All gateways tell the same lie.
        told.truncate(1);
        let lines = &mut told[0].1;
        let renumbered = |line: &str, by: i64| {
            let (seq, rest) = line
                .strip_prefix("{\"seq\":")
                .and_then(|rest| rest.split_once(','))
                .expect("an event begins with its number");
            let seq: i64 = seq.parse().expect("a number");
            format!("{{\"seq\":{},{rest}", seq + by)
        };
        match self {
            Lie::AcknowledgedMoveLost => while lines.pop().is_some_and(|line| !is_move(&line)) {},
            Lie::MoveTwice => {
                let again = renumbered(&lines[3], 1);
                let later: Vec<String> = lines.split_off(4);
                lines.push(again);
                lines.extend(later.iter().map(|line| renumbered(line, 1)));
            }
            Lie::OutOfOrder => lines.swap(2, 3),
            Lie::Unasked => {
                let last = lines.iter().rposition(|line| is_move(line));
                let last = last.expect("a game of some moves");
                lines[last] = lines[last].replace("\"san\":\"", "\"san\":\"N");
            }
            Lie::WrongClock => {
                let place = lines.iter().rposition(|line| is_move(line)).unwrap_or(1);
                let clock = lines[place].find("\"whiteMs\":").expect("a timed game");
                lines[place].insert(clock + "\"whiteMs\":".len(), '9');
            }
            _ => self.on_a_tape(&mut findings),
        }
        // The archive tells it as well, or that alone would be objected to.
        let told = findings.logs[game][0].clone();
        findings.archived.insert(game.to_owned(), told);
        findings
    }

    fn on_a_tape(self, findings: &mut Findings) {
        let fits = |entry: &Entry| match entry {
            Entry::Heard(text) if self == Lie::WrongAnswer => {
                text.starts_with("{\"type\":\"ack\"") && text.contains("\"ply\":")
            }
            Entry::Heard(text) => text.starts_with("{\"seq\":") && text.contains("\"ply\":2,"),
            _ => false,
        };
        let (tape, place) = findings
            .tapes
            .values_mut()
            .find_map(|tape| {
                let place = tape.iter().position(fits)?;
                Some((tape, place))
            })
            .expect("somebody heard a move and an answer");
        let Entry::Heard(text) = &mut tape[place] else {
            return;
        };
        match self {
            Lie::Fork => *text = text.replace("\"ply\":2,", "\"ply\":2,\"other\":1,"),
            Lie::WrongAnswer => *text = text.replace("\"seq\":", "\"seq\":1"),
            Lie::Gap => drop(tape.remove(place)),
            _ => {
                let again = tape[place].clone();
                tape.insert(place, again);
            }
        }
    }
}
