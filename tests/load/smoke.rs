//! The load generator itself, on a few hundred sockets: that it counts what comes, on Rookery and on the floor, and fails when
//! it must. Speed is not looked at.

#![allow(missing_docs)]

use std::process::{Command, Output};

const IN_ORDER: &str =
    "lost=0,repeated=0,reordered=0,incomplete=0,failed=0,closed=0,troubles=0,events>=1";

fn load(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_load"))
        .args(arguments)
        .arg("--report")
        .arg(folder.path())
        .output()
        .expect("it starts");
    for name in ["run.json", "tree.json"] {
        if let Ok(text) = std::fs::read_to_string(folder.path().join(name)) {
            let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert!(report["runs"][0].is_object(), "{report}");
        }
    }
    output
}

fn passes(arguments: &[&str]) {
    let output = load(arguments);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}\n{err}");
}

#[test]
fn everything_comes_to_everybody_once() {
    let run = ["run", "--spectators", "300", "--ramp", "300", "--rate", "4"];
    let time = ["--seconds", "3", "--warm-up", "1", "--workers", "2"];
    let more = ["--more-games", "1", "--chat", "2", "--floor"];
    let check = ["--assert", IN_ORDER];
    passes(&[&run[..], &time, &more, &check].concat());
}

#[test]
fn who_does_not_read_and_who_comes_back() {
    let run = ["run", "--spectators", "200", "--ramp", "300", "--rate", "4"];
    let time = ["--seconds", "2", "--warm-up", "1"];
    let more = ["--stalled", "0.1", "--reconnect", "200"];
    let check = ["--assert", IN_ORDER];
    passes(&[&run[..], &time, &more, &check].concat());
}

#[test]
fn what_is_not_as_asserted_is_an_error() {
    let run = ["run", "--only-floor", "--spectators", "10", "--rate", "4"];
    let time = ["--seconds", "1", "--warm-up", "0"];
    let output = load(&[&run[..], &time, &["--assert", "deliveries=0"]].concat());
    assert!(!output.status.success());
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        err.contains("not as asserted: floor: deliveries=0"),
        "{err}"
    );
}

#[test]
fn a_tree_of_two_levels() {
    passes(&[
        "tree",
        "--gateways",
        "12",
        "--replicas",
        "2",
        "--seconds",
        "1",
        "--rate",
        "4",
    ]);
}
