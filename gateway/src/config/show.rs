//! The settings in effect, as text that could be a file of settings; secrets are hidden.

use super::layers::{Effective, Settings};
use std::fmt::Write;
use url::Url;

/// What stands for a secret.
const HIDDEN: &str = "***";

/// Column in which a value's origin stands, if the value is not longer.
const ORIGIN_COLUMN: usize = 48;

/// All of them.
pub fn toml(settings: &Settings) -> String {
    let mut text = String::from(
        "# Settings in effect, and where each comes from. A flag beats the environment, that the file, that the default.\n",
    );
    for value in &settings.values {
        let line = line(value);
        let gap = ORIGIN_COLUMN.saturating_sub(line.chars().count());
        let _ = writeln!(text, "{line}{:gap$}  # {}", "", value.origin);
    }
    text
}

fn line(value: &Effective) -> String {
    let Effective {
        name,
        words,
        is_secret,
        ..
    } = value;
    let mut words = words
        .iter()
        .map(|word| if *is_secret { hide(word) } else { word.clone() });
    if value.is_list {
        let words: Vec<String> = words.map(|word| literal(&word)).collect();
        return format!("{name} = [{}]", words.join(", "));
    }
    match words.next() {
        // A file of settings cannot name another.
        Some(word) if name == "config" => format!("# {name} = {}", literal(&word)),
        Some(word) => format!("{name} = {}", literal(&word)),
        None => format!("# {name} is not set"),
    }
}

fn literal(word: &str) -> String {
    let number = word
        .parse::<i64>()
        .is_ok_and(|number| number.to_string() == word);
    if number || word == "true" || word == "false" {
        return word.to_owned();
    }
    toml::Value::from(word).to_string()
}

/// Of a URL only what is secret in it, so that the server can still be read; of anything else all.
pub fn hide(secret: &str) -> String {
    let Ok(mut url) = Url::parse(secret) else {
        return HIDDEN.to_owned();
    };
    // A secret may by chance look like a scheme and a path.
    if !url.has_host() && url.scheme() != "sqlite" {
        return HIDDEN.to_owned();
    }
    if url.password().is_some() && url.set_password(Some(HIDDEN)).is_err() {
        return HIDDEN.to_owned();
    }
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    if !pairs.is_empty() {
        let hidden = pairs
            .iter()
            .map(|(key, value)| match key.contains("password") {
                true => (key.as_str(), HIDDEN),
                false => (key.as_str(), value.as_str()),
            });
        url.query_pairs_mut().clear().extend_pairs(hidden);
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_servers_are_not() {
        for (secret, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            (
                "rediss://user:pw@redis.example:6380/2",
                "rediss://user:***@redis.example:6380/2",
            ),
            (
                "redis://:pw@a/?master=m&sentinel-password=pw",
                "redis://:***@a/?master=m&sentinel-password=***",
            ),
            (
                "postgres://u:pw@db/rookery?sslmode=require",
                "postgres://u:***@db/rookery?sslmode=require",
            ),
            ("sqlite:rookery.db", "sqlite:rookery.db"),
            ("replicas", "***"),
            ("pw: what a secret", "***"),
            ("pw", "***"),
        ] {
            assert_eq!(hide(secret), shown);
        }
    }

    #[test]
    fn it_reads_back_as_a_file_of_settings() {
        let settings = Settings::parse([
            "--partitions",
            "16",
            "--allowed-origin",
            "https://a",
            "--node-id",
            "007",
            "--token-secret",
            "hush",
        ])
        .expect("settings");
        let text = toml(&settings);
        assert!(!text.contains("hush"), "{text}");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &text).expect("a disk");
        let again =
            Settings::parse(["--config", &file.path().to_string_lossy()]).expect("settings");
        assert_eq!(again.config.partitions, 16);
        assert_eq!(again.config.allowed_origins, ["https://a"]);
        assert_eq!(again.config.node_id.as_deref(), Some("007"));
        assert!(
            text.contains("partitions = 16") && text.contains("# --partitions"),
            "{text}"
        );
        assert!(text.contains("# admin-token is not set"), "{text}");
    }
}
