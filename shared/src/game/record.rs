//! The game as PGN.

use super::{Game, GameResult, Reason, TimeControl};
use crate::Color;
use crate::notation::pgn::{Pgn, PgnMove, Tags};

impl Game {
    /// The game so far as PGN: players, date and time control as tags, then the given ones, which may replace them;
    /// moves with what the mover had left.
    #[must_use]
    pub fn pgn(&self, given: &Tags) -> Pgn {
        let (date, time) = utc(self.started_at.0);
        let mut tags: Tags = [
            ("Event", "Casual game"),
            ("Site", "?"),
            ("Date", &date),
            ("Round", "-"),
            ("White", &self.player(Color::White).name),
            ("Black", &self.player(Color::Black).name),
            ("Result", ""),
            ("UTCDate", &date),
            ("UTCTime", &time),
            (
                "TimeControl",
                &self.time_control.map_or("-".to_owned(), time_control_tag),
            ),
            (
                "Termination",
                termination(self.over().map(|over| over.reason)),
            ),
            ("GameId", self.id.as_str()),
        ]
        .into_iter()
        .collect();
        for (name, value) in given.iter() {
            tags.set(name, value);
        }
        let start = *self.line.start();
        let mut mover = start.turn();
        let moves = self.moves().iter().map(|played| {
            let clock_ms = played
                .clock
                .map(|clock| clock.of(mover).max(0).unsigned_abs());
            mover = mover.other();
            PgnMove {
                mv: played.uci,
                san: played.san,
                clock_ms,
            }
        });
        let moves = moves.collect();
        Pgn {
            tags,
            start,
            moves,
            result: self.over().map_or(GameResult::Unknown, |over| over.result),
        }
    }
}

/// Seconds and increment, `300+5`; decimals only where there are some.
fn time_control_tag(control: TimeControl) -> String {
    let seconds = |ms: i64| match ms % 1000 {
        0 => format!("{}", ms / 1000),
        _ => format!("{:.3}", ms as f64 / 1000.0)
            .trim_end_matches('0')
            .to_owned(),
    };
    format!(
        "{}+{}",
        seconds(control.initial_ms),
        seconds(control.increment_ms)
    )
}

/// The words of the PGN standard, section 9.8.1.
const fn termination(reason: Option<Reason>) -> &'static str {
    match reason {
        None => "unterminated",
        Some(Reason::Timeout | Reason::TimeoutInsufficientMaterial) => "time forfeit",
        Some(Reason::Abandonment | Reason::Aborted) => "abandoned",
        Some(_) => "normal",
    }
}

/// `YYYY.MM.DD` and `HH:MM:SS` of milliseconds since the Unix epoch. (Days to a date as in Howard Hinnant's
/// "chrono-compatible low-level date algorithms": years begin in March, so that the leap day comes last.)
fn utc(ms: i64) -> (String, String) {
    let seconds = ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (
        format!("{year:04}.{month:02}.{day:02}"),
        format!(
            "{:02}:{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_dates() {
        for (seconds, date, time) in [
            (0, "1970.01.01", "00:00:00"),
            (951_782_399, "2000.02.28", "23:59:59"),
            (951_782_400, "2000.02.29", "00:00:00"),
            (1_709_251_200, "2024.03.01", "00:00:00"),
            (1_767_225_599, "2025.12.31", "23:59:59"),
            (-1, "1969.12.31", "23:59:59"),
        ] {
            assert_eq!(utc(seconds * 1000), (date.to_owned(), time.to_owned()));
        }
    }

    #[test]
    fn time_controls_are_seconds() {
        let tag = |initial_ms, increment_ms| {
            time_control_tag(TimeControl {
                initial_ms,
                increment_ms,
            })
        };
        assert_eq!(tag(300_000, 5_000), "300+5");
        assert_eq!(tag(1_500, 10), "1.5+0.01");
    }
}
