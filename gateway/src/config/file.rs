//! The file of settings: TOML, one key a setting. Only what it says; what it means is [`super::layers`]' business.

use clap::Arg;
use std::{collections::BTreeMap, path::Path};
use toml::{Table, Value};

/// How like a known name an unknown one must be to be taken for it: 1 is the same, and one wrong letter of ten is 0.9.
const LIKENESS_MIN: f64 = 0.75;

/// The values of each key, as a flag would have them.
pub(super) type Values = BTreeMap<String, Vec<String>>;

/// Reads a file. Keys that are none of `names` are refused.
pub(super) fn read(path: &Path, names: &[String]) -> Result<Values, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("--config {} cannot be read: {error}", path.display()))?;
    parse(&text, names).map_err(|why| format!("{}: {why}", path.display()))
}

fn parse(text: &str, names: &[String]) -> Result<Values, String> {
    let table: Table = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut values = Values::new();
    for (key, value) in table {
        let name = key.replace('_', "-");
        if !names.contains(&name) {
            return Err(match nearest(&name, names) {
                Some(near) => format!("`{key}` is no setting; did you mean `{near}`?"),
                None => format!("`{key}` is no setting; `rookery serve --help` lists them"),
            });
        }
        let words = words(value).map_err(|why| format!("`{key}` {why}"))?;
        if values.insert(name, words).is_some() {
            return Err(format!(
                "`{key}` is there twice, once with - and once with _"
            ));
        }
    }
    Ok(values)
}

fn words(value: Value) -> Result<Vec<String>, &'static str> {
    const LIST: &str = "is a list that holds more than texts, numbers, true and false";
    match value {
        Value::Array(values) => values
            .into_iter()
            .map(|value| word(value).ok_or(LIST))
            .collect(),
        value => word(value).map_or(
            Err("is neither a text, a number, true, false, nor a list of them"),
            |word| Ok(vec![word]),
        ),
    }
}

fn word(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(yes) => Some(yes.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

/// The name that somebody who wrote `wrong` probably meant.
pub(super) fn nearest<'a>(wrong: &str, names: &'a [String]) -> Option<&'a str> {
    names
        .iter()
        .map(|name| (strsim::jaro_winkler(wrong, name), name.as_str()))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// The long name of a setting: its flag, and its key in the file.
pub(super) fn name(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_else(|| arg.get_id().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["listen", "admin-listen", "redis-url", "partitions"]
            .map(str::to_owned)
            .into()
    }

    #[test]
    fn values_are_as_a_flag_has_them() {
        let text = "partitions = 16\nredis_url = [\"redis://a\", \"redis://b\"]\nlisten = \"[::1]:0\" # here\n";
        let values = parse(text, &names()).expect("a file");
        assert_eq!(values["partitions"], ["16"]);
        assert_eq!(values["redis-url"], ["redis://a", "redis://b"]);
        assert_eq!(values["listen"], ["[::1]:0"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, words) in [
            ("lisen = 1", "did you mean `listen`?"),
            ("admin_listn = 1", "did you mean `admin-listen`?"),
            ("zzz = 1", "`zzz` is no setting; `rookery serve --help`"),
            ("[redis]\nurl = 1", "`redis` is no setting"),
            ("listen = {a = 1}", "`listen` is neither"),
            ("redis-url = [[1]]", "`redis-url` is a list"),
            ("redis-url = 1\nredis_url = 2", "twice"),
            ("listen = ", "line 1"),
        ] {
            let why = parse(text, &names()).expect_err(text);
            assert!(why.contains(words), "{text:?}: {why}");
        }
    }
}
