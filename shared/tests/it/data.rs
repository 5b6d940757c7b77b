//! Reads the tables in `shared/tests/data` and the games in `tests/data`.

use std::path::PathBuf;

/// A file of the repository, by its path from the top.
pub fn file(path: &str) -> String {
    let full = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path);
    std::fs::read_to_string(&full).unwrap_or_else(|error| panic!("{}: {error}", full.display()))
}

/// The rows of a table: cells between `|`, trimmed; empty lines and `#` comments left out. With the line number.
pub fn table(name: &str) -> Vec<(usize, Vec<String>)> {
    file(&format!("shared/tests/data/{name}"))
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            (
                number,
                line.split('|').map(|cell| cell.trim().to_owned()).collect(),
            )
        })
        .collect()
}
