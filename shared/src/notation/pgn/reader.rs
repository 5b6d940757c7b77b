//! Reading games from PGN.
//!
//! Every move must be legal; what is not understood is an error with its line, never skipped in silence. Movetext is
//! read as the standard's import format has it: any spacing, comments, variations and annotations.

use super::{Pgn, PgnMove, Tags, parse_clk};
use crate::game::GameResult;
use crate::notation::{FenError, San, SanError, san};
use crate::rules::Position;

/// Variations nested deeper than this are no chess analysis.
const VARIATION_DEPTH_MAX: u32 = 64;

/// What is wrong with a game, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PgnError {
    /// Counted from 1, over the whole text.
    pub line: usize,
    /// What is wrong there.
    pub problem: PgnProblem,
}

/// What is wrong with a game.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PgnProblem {
    /// A line that starts with `[` is no tag pair.
    #[error("not a tag pair")]
    Tag,
    /// The `FEN` tag is no position.
    #[error("FEN tag: {0}")]
    Fen(FenError),
    /// A word is no legal move.
    #[error("{word}: {error}")]
    Move {
        /// As it stands in the text.
        word: String,
        /// Why it is none.
        error: SanError,
    },
    /// A `{ [%clk …] }` that is no time.
    #[error("unreadable clock")]
    Clock,
    /// A comment or variation is not closed, or a `)` or `}` closes none.
    #[error("unbalanced comment or variation")]
    Unbalanced,
    /// The game stops without a result.
    #[error("no result at the end")]
    NoResult,
    /// Result in the text and `Result` tag differ.
    #[error("the result differs from the Result tag")]
    ResultTag,
}

/// Reads the games of a text one after the other. After an error it goes on with the next game.
#[must_use]
pub fn games(text: &str) -> Games<'_> {
    Games {
        rest: text.strip_prefix('\u{feff}').unwrap_or(text),
        line: 1,
    }
}

/// The games of a text. Made by [`games`].
#[derive(Clone, Debug)]
pub struct Games<'a> {
    rest: &'a str,
    line: usize,
}

impl Iterator for Games<'_> {
    type Item = Result<Pgn, PgnError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_space();
        if self.rest.is_empty() {
            return None;
        }
        let game = self.game();
        if game.is_err() {
            self.skip_to_next_game();
        }
        Some(game)
    }
}

impl<'a> Games<'a> {
    fn game(&mut self) -> Result<Pgn, PgnError> {
        let tags = self.tags()?;
        let start = match tags.get("FEN") {
            None => Position::initial(),
            Some(fen) => {
                Position::from_fen(fen).map_err(|error| self.error(PgnProblem::Fen(error)))?
            }
        };
        let mut position = start;
        let mut moves: Vec<PgnMove> = Vec::new();
        loop {
            self.skip_space();
            match self.rest.chars().next() {
                None | Some('[') => return Err(self.error(PgnProblem::NoResult)),
                Some('{') => {
                    let clock_ms = self.comment()?;
                    if let (Some(last), Some(_)) = (moves.last_mut(), clock_ms) {
                        last.clock_ms = clock_ms;
                    }
                }
                Some('(') => self.variation()?,
                Some('}' | ')') => return Err(self.error(PgnProblem::Unbalanced)),
                Some(_) => {
                    let word = self.word();
                    if let Some(result) = GameResult::from_text(word) {
                        if tags.get("Result").is_some_and(|tag| tag != result.as_str()) {
                            return Err(self.error(PgnProblem::ResultTag));
                        }
                        return Ok(Pgn {
                            tags,
                            start,
                            moves,
                            result,
                        });
                    }
                    let text = without_number(word);
                    if text.is_empty() || is_annotation(text) {
                        continue;
                    }
                    let mv = san::parse(&position, text).map_err(|error| {
                        let word = word.chars().take(32).collect();
                        self.error(PgnProblem::Move { word, error })
                    })?;
                    let after = position.play(mv).map_err(|_| {
                        self.error(PgnProblem::Move {
                            word: text.to_owned(),
                            error: SanError::Illegal,
                        })
                    })?;
                    moves.push(PgnMove {
                        mv,
                        san: San::of(&position, mv, &after),
                        clock_ms: None,
                    });
                    position = after;
                }
            }
        }
    }

    fn tags(&mut self) -> Result<Tags, PgnError> {
        let mut tags = Tags::new();
        loop {
            self.skip_space();
            if !self.rest.starts_with('[') {
                return Ok(tags);
            }
            let (name, value, rest) =
                tag_pair(self.rest).ok_or_else(|| self.error(PgnProblem::Tag))?;
            tags.set(name, value);
            self.rest = rest;
        }
    }

    /// Skips a comment; answers the clock reading in it.
    fn comment(&mut self) -> Result<Option<u64>, PgnError> {
        let end = self
            .rest
            .find('}')
            .ok_or_else(|| self.error(PgnProblem::Unbalanced))?;
        let body = &self.rest[1..end];
        let clock = match body
            .split_once("[%clk ")
            .map(|(_, after)| after.split_once(']'))
        {
            None => None,
            Some(inside) => Some(
                inside
                    .and_then(|(time, _)| parse_clk(time.trim()))
                    .ok_or_else(|| self.error(PgnProblem::Clock))?,
            ),
        };
        self.advance(end + 1);
        Ok(clock)
    }

    /// Skips a variation with all that is nested in it.
    fn variation(&mut self) -> Result<(), PgnError> {
        let mut depth = 0_u32;
        loop {
            self.skip_space();
            match self.rest.chars().next() {
                Some('(') if depth < VARIATION_DEPTH_MAX => {
                    depth += 1;
                    self.advance(1);
                }
                Some(')') => {
                    depth -= 1;
                    self.advance(1);
                    if depth == 0 {
                        return Ok(());
                    }
                }
                Some('{') => {
                    let end = self
                        .rest
                        .find('}')
                        .ok_or_else(|| self.error(PgnProblem::Unbalanced))?;
                    self.advance(end + 1);
                }
                None | Some('(' | '}') => return Err(self.error(PgnProblem::Unbalanced)),
                Some(_) => {
                    self.word();
                }
            }
        }
    }

    /// Takes the next word; there is one.
    fn word(&mut self) -> &'a str {
        let end = self
            .rest
            .find(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | '(' | ')' | ';'))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Skips white space, comments to the end of the line, and lines escaped with `%`.
    fn skip_space(&mut self) {
        loop {
            let space = self.rest.len() - self.rest.trim_start().len();
            let at_line_start = self.rest[..space].ends_with('\n');
            self.advance(space);
            let escaped = at_line_start && self.rest.starts_with('%');
            if !escaped && !self.rest.starts_with(';') {
                return;
            }
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.advance(end);
        }
    }

    /// A game starts with a tag after an empty line.
    fn skip_to_next_game(&mut self) {
        loop {
            let end = self.rest.find('\n').map_or(self.rest.len(), |at| at + 1);
            let blank = self.rest[..end].trim().is_empty();
            self.advance(end);
            if self.rest.is_empty() || (blank && self.rest.starts_with('[')) {
                return;
            }
        }
    }

    fn advance(&mut self, bytes: usize) {
        let (past, rest) = self.rest.split_at(bytes);
        self.line += past.bytes().filter(|&byte| byte == b'\n').count();
        self.rest = rest;
    }

    fn error(&self, problem: PgnProblem) -> PgnError {
        PgnError {
            line: self.line,
            problem,
        }
    }
}

/// Cuts `[Name "value"]` off the front: name, value without escapes, rest. Both stand on one line.
fn tag_pair(text: &str) -> Option<(&str, String, &str)> {
    let inside = text.strip_prefix('[')?.trim_start_matches([' ', '\t']);
    let name_len = inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
    let (name, after) = inside.split_at(name_len);
    let quoted = after.trim_start_matches([' ', '\t']).strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let rest = quoted[at + 1..]
                    .trim_start_matches([' ', '\t'])
                    .strip_prefix(']')?;
                return (!name.is_empty()).then_some((name, value, rest));
            }
            '\\' => value.push(chars.next()?.1),
            '\n' => return None,
            c => value.push(c),
        }
    }
    None
}

/// A word without its move number: `12.`, `12...`, `12.e4`. Castling with zeros has no dot after its first digit.
fn without_number(word: &str) -> &str {
    let after_digits = word.trim_start_matches(|c: char| c.is_ascii_digit());
    if after_digits.starts_with('.') {
        after_digits.trim_start_matches('.')
    } else if after_digits.is_empty() {
        ""
    } else {
        word
    }
}

/// `$14`, or `!?` standing alone.
fn is_annotation(text: &str) -> bool {
    text.strip_prefix('$')
        .is_some_and(|nag| nag.bytes().all(|b| b.is_ascii_digit()))
        || text.bytes().all(|b| matches!(b, b'!' | b'?'))
}
