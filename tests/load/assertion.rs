//! `--assert 'p99<50ms,lost=0'`: what must be true of a run's figures.

use crate::figures::Figures;
use std::{fmt, str::FromStr};

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Assertion {
    name: String,
    comparison: Comparison,
    value: f64,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Equal,
    AtLeast,
    Greater,
}

/// A name, and where its figure is found.
type Named = (&'static str, fn(&Figures) -> f64);

/// Names that may be asserted, and where they are found. Times are in milliseconds, memory in bytes.
const NAMES: &[Named] = &[
    ("p50", |f| f.spectator.p50),
    ("p90", |f| f.spectator.p90),
    ("p99", |f| f.spectator.p99),
    ("p999", |f| f.spectator.p999),
    ("max", |f| f.spectator.max),
    ("last_p50", |f| f.last_socket.p50),
    ("last_p99", |f| f.last_socket.p99),
    ("player_p50", |f| f.player.p50),
    ("player_p99", |f| f.player.p99),
    ("lost", |f| f.lost as f64),
    ("repeated", |f| f.repeated as f64),
    ("reordered", |f| f.reordered as f64),
    ("incomplete", |f| f.incomplete as f64),
    ("snapshots", |f| f.snapshots as f64),
    ("failed", |f| f.failed as f64),
    ("closed", |f| f.closed as f64),
    ("troubles", |f| f.troubles.values().sum::<u64>() as f64),
    ("events", |f| f.events as f64),
    ("deliveries", |f| f.deliveries as f64),
    ("chat_delivered", |f| f.chat_delivered as f64),
    ("join_us", |f| f.join.cpu_us),
    ("cpu_us", |f| f.cpu_per_delivery_us),
    ("memory", |f| f.memory.user_bytes_per_spectator),
];

/// Why a text is no assertion.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{0:?} is no assertion such as p99<50ms or lost=0; names are {names}", names = names())]
pub struct NoAssertion(String);

fn names() -> String {
    let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    names.join(" ")
}

impl FromStr for Assertion {
    type Err = NoAssertion;

    fn from_str(text: &str) -> Result<Assertion, NoAssertion> {
        let refuse = || NoAssertion(text.to_owned());
        let at = text.find(['<', '>', '=']).ok_or_else(refuse)?;
        let (name, rest) = text.split_at(at);
        let signs = [
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
            ("=", Comparison::Equal),
        ];
        let (comparison, rest) = signs
            .iter()
            .find_map(|(sign, comparison)| Some((*comparison, rest.strip_prefix(sign)?)))
            .ok_or_else(refuse)?;
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, unit) = rest.split_at(end);
        let factor = match unit.trim() {
            "" | "ms" | "us" | "B" => 1.0,
            "s" => 1_000.0,
            "KiB" => 1_024.0,
            _ => return Err(refuse()),
        };
        let name = name.trim().to_owned();
        if !NAMES.iter().any(|(known, _)| *known == name) {
            return Err(refuse());
        }
        Ok(Assertion {
            name,
            comparison,
            value: number.trim().parse::<f64>().map_err(|_| refuse())? * factor,
            text: text.trim().to_owned(),
        })
    }
}

impl Assertion {
    /// `Err` says how it is instead.
    pub fn check(&self, figures: &Figures) -> Result<(), String> {
        let named = NAMES.iter().find(|(name, _)| *name == self.name);
        let actual = named.map_or(f64::NAN, |(_, get)| get(figures));
        let holds = match self.comparison {
            Comparison::Less => actual < self.value,
            Comparison::AtMost => actual <= self.value,
            Comparison::Equal => actual == self.value,
            Comparison::AtLeast => actual >= self.value,
            Comparison::Greater => actual > self.value,
        };
        if holds {
            Ok(())
        } else {
            Err(format!("{}: {} is {actual:.3}", self.text, self.name))
        }
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assertions_are_read() {
        let good = [
            ("p99<50ms", ("p99", Comparison::Less, 50.0)),
            ("lost=0", ("lost", Comparison::Equal, 0.0)),
            ("last_p99<=1.5s", ("last_p99", Comparison::AtMost, 1500.0)),
            ("events>=40", ("events", Comparison::AtLeast, 40.0)),
            ("memory<1KiB", ("memory", Comparison::Less, 1024.0)),
        ];
        for (text, (name, comparison, value)) in good {
            let assertion: Assertion = text.parse().expect(text);
            assert_eq!(
                (
                    assertion.name.as_str(),
                    assertion.comparison,
                    assertion.value
                ),
                (name, comparison, value)
            );
        }
        for text in ["", "p99", "p98<1", "p99<", "p99<x", "p99<5h", "<5"] {
            assert!(text.parse::<Assertion>().is_err(), "{text}");
        }
    }
}
