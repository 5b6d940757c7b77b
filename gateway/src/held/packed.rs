//! A log in little memory: its events one after the other, compressed. What the events of a game say again and again (names of
//! fields, the game's id, most of the clocks' digits) is most of their text.

use bytes::{Buf, BufMut, Bytes};
use pubsub::{Epoch, Restore};

/// What is restored from, packed. See the module.
#[derive(Debug)]
pub(super) struct Packed {
    epoch: Epoch,
    deadline: Option<i64>,
    /// Each event behind its length (four bytes), LZ4 (one block).
    events: Box<[u8]>,
    /// Bytes of that before it was compressed.
    plain_len: usize,
}

impl Packed {
    pub(super) fn new(log: &Restore) -> Packed {
        let mut plain = Vec::new();
        for event in &log.events {
            plain.put_u32_le(u32::try_from(event.len()).expect("events are far shorter"));
            plain.put_slice(event);
        }
        Packed {
            epoch: log.epoch.clone(),
            deadline: log.deadline,
            events: lz4_flex::compress(&plain).into(),
            plain_len: plain.len(),
        }
    }

    /// What went in.
    pub(super) fn unpack(&self) -> Restore {
        let plain = lz4_flex::decompress(&self.events, self.plain_len);
        let mut rest =
            Bytes::from(plain.expect("it was compressed here, and is nobody else's to change"));
        let mut events = Vec::new();
        while rest.has_remaining() {
            let len = rest.get_u32_le() as usize;
            // Its own bytes, so that one event that is kept for long does not keep all.
            events.push(Bytes::copy_from_slice(&rest.split_to(len)));
        }
        Restore {
            epoch: self.epoch.clone(),
            events,
            deadline: self.deadline,
        }
    }

    /// Bytes of memory that its events take.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use shared::{
        Color, GameId, Timestamp, UserId,
        game::{Command, Decision, Game, GameCreated, MoveInput, Player, TimeControl},
        notation::pgn::{self, Pgn},
        rules::Position,
    };

    fn log(events: Vec<Bytes>) -> Restore {
        Restore {
            epoch: Epoch::new(3, "life"),
            events,
            deadline: Some(1_767_225_600_000),
        }
    }

    #[test]
    fn what_went_in_comes_out() {
        let every_byte = Bytes::from_iter(0..=u8::MAX);
        for events in [
            vec![],
            vec![Bytes::new()],
            vec![Bytes::from_static(b"{}"), Bytes::new(), every_byte],
        ] {
            let log = log(events);
            assert_eq!(Packed::new(&log).unpack(), log);
        }
    }

    /// The bound of what is held counts on it.
    #[test]
    fn games_take_a_third_of_their_text() {
        let (mut text, mut packed) = (0, 0);
        for game in pgn::games(include_str!("../../../tests/data/games.pgn")).take(20) {
            let log = log(events(&game.unwrap()));
            text += log.events.iter().map(Bytes::len).sum::<usize>();
            packed += Packed::new(&log).len();
        }
        assert!(3 * packed < text, "{packed} of {text} bytes");
    }

    fn events(pgn: &Pgn) -> Vec<Bytes> {
        let player = |id: &str| Player {
            id: UserId::parse(id).unwrap(),
            name: id.to_owned(),
            is_guest: true,
        };
        let first = Game::create(
            GameCreated {
                game_id: GameId::parse("abcdefghijkl0123").unwrap(),
                white_player: player("white"),
                black_player: player("black"),
                time_control: Some(TimeControl {
                    initial_ms: 10_800_000,
                    increment_ms: 1_000,
                }),
                fen: Position::initial().fen(),
                unlisted: false,
            },
            Timestamp(1_767_225_600_000),
        );
        let mut game = Game::start(&first).unwrap();
        let mut log = vec![first];
        for (ply, mv) in (1..).zip(&pgn.moves) {
            let command = Command::Move {
                by: Color::of_ply(ply),
                mv: MoveInput::Squares(mv.mv),
                ply: Some(ply),
                seen: Some(u64::from(ply) - 1),
            };
            // Thinking times that do not repeat.
            let at =
                Timestamp(1_767_225_600_000 + i64::from(ply) * 4_321 + i64::from(ply * ply % 97));
            let Ok(Decision::Append { events, .. }) = game.decide(&command, at) else {
                break;
            };
            for event in events {
                game.apply(&event).unwrap();
                log.push(event);
            }
        }
        log.iter()
            .map(|event| Bytes::from(event.encode()))
            .collect()
    }
}
