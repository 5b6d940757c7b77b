//! The table of settings in `docs/configuration.md`, made from the settings themselves; a test fails when it is stale.

use super::{
    file,
    layers::{self, env_of, is_list, is_secret},
};
use clap::{Arg, ArgAction};
use std::fmt::Write;

/// Where the table begins and ends in the document.
pub const MARKS: [&str; 2] = [
    "<!-- settings: made by the test `the_document_is_true` -->\n",
    "<!-- end of settings -->\n",
];

/// The table.
pub fn markdown() -> String {
    let mut text =
        String::from("\n| flag | environment | default | meaning |\n| --- | --- | --- | --- |\n");
    for arg in layers::args() {
        let _ = writeln!(
            text,
            "| `--{}`{} | `{}`{} | {} | {} |",
            file::name(&arg),
            if is_secret(&arg) { ", `-file`" } else { "" },
            env_of(&arg).unwrap_or_default(),
            if is_secret(&arg) { ", `_FILE`" } else { "" },
            default(&arg),
            meaning(&arg),
        );
    }
    text.push('\n');
    text
}

fn default(arg: &Arg) -> String {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return "no".to_owned();
    }
    let words: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|word| format!("`{}`", word.to_string_lossy()))
        .collect();
    if words.is_empty() {
        "–".to_owned()
    } else {
        words.join(", ")
    }
}

fn meaning(arg: &Arg) -> String {
    let mut text = arg
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default()
        .replace('\n', " ")
        .replace('|', "\\|");
    if !text.ends_with('.') {
        text.push('.');
    }
    let choices: Vec<String> = match arg.get_action() {
        ArgAction::SetTrue => Vec::new(),
        _ => arg
            .get_possible_values()
            .iter()
            .map(|value| format!("`{}`", value.get_name()))
            .collect(),
    };
    if !choices.is_empty() {
        let _ = write!(text, " One of {}.", choices.join(", "));
    }
    if is_list(arg) {
        text.push_str(" A list.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_DOCS=1` writes it.
    #[test]
    fn the_document_is_true() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let text = std::fs::read_to_string(path).expect("the document");
        let (before, rest) = text.split_once(MARKS[0]).expect("the first mark");
        let (_, after) = rest.split_once(MARKS[1]).expect("the second mark");
        let should = format!("{before}{}{}{}{after}", MARKS[0], markdown(), MARKS[1]);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, should).expect("a disk");
        } else {
            assert_eq!(
                text, should,
                "docs/configuration.md is stale: UPDATE_DOCS=1 cargo test -p gateway the_document_is_true"
            );
        }
    }
}
