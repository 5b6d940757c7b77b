//! Writing a game in PGN's export format.

use super::{Pgn, format_clk};
use crate::rules::{Color, Position};

/// The standard asks for lines of fewer than 80 characters.
const LINE_LEN_MAX: usize = 79;

/// Writes a game: seven tag roster, other tags, moves with clock comments, result; ends with an empty line.
///
/// The `Result` tag always agrees with the ending, and `FEN` and `SetUp` with the start. Tag names that PGN does not
/// allow are left out.
#[must_use]
pub fn write(game: &Pgn) -> String {
    let mut tags = game.tags.clone();
    tags.set("Result", game.result.as_str());
    if game.start != Position::initial() {
        tags.set("SetUp", "1");
        tags.set("FEN", game.start.fen());
    }

    let mut out = String::with_capacity(512 + game.moves.len() * 32);
    for (name, value) in tags.in_order().filter(|(name, _)| is_tag_name(name)) {
        out.push('[');
        out.push_str(name);
        out.push_str(" \"");
        push_escaped(&mut out, value);
        out.push_str("\"]\n");
    }
    out.push('\n');
    write_moves(&mut out, game);
    out.push_str("\n\n");
    out
}

fn write_moves(out: &mut String, game: &Pgn) {
    let mut lines = Lines { out, column: 0 };
    let mut number = game.start.fullmoves();
    let mut turn = game.start.turn();
    // Black's moves are numbered only where something stands between them and White's.
    let mut interrupted = true;
    for mv in &game.moves {
        match turn {
            Color::White => lines.push(&format!("{number}.")),
            Color::Black if interrupted => lines.push(&format!("{number}...")),
            Color::Black => {}
        }
        lines.push(mv.san.as_str());
        interrupted = mv.clock_ms.is_some();
        if let Some(ms) = mv.clock_ms {
            lines.push(&format!("{{ [%clk {}] }}", format_clk(ms)));
        }
        number = number.saturating_add(u16::from(turn == Color::Black));
        turn = turn.other();
    }
    lines.push(game.result.as_str());
}

/// Words separated by a space or, where the line would get too long, a line break.
struct Lines<'a> {
    out: &'a mut String,
    column: usize,
}

impl Lines<'_> {
    fn push(&mut self, word: &str) {
        if self.column > 0 {
            let breaks = self.column + 1 + word.len() > LINE_LEN_MAX;
            self.out.push(if breaks { '\n' } else { ' ' });
            self.column = if breaks { 0 } else { self.column + 1 };
        }
        self.out.push_str(word);
        self.column += word.len();
    }
}

fn is_tag_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Quotes and backslashes are escaped; control characters, a line break above all, would end the tag and become spaces.
fn push_escaped(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
}
