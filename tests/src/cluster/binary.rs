//! The `rookery` binary that belongs to this build of the tests.

use std::{path::PathBuf, process::Command, sync::OnceLock};

/// Where it is, once it is certain to be up to date.
pub fn path() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("ROOKERY_BIN") {
            return path.into();
        }
        // target/<profile>/deps/<this test>, or target/<profile>/<this tool>
        let this = std::env::current_exe().expect("a program is a file");
        let profile = this
            .ancestors()
            .skip(1)
            .find(|folder| !folder.ends_with("deps"))
            .expect("it is in the target folder");
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        build.args(["build", "--quiet", "--workspace", "--bin", "rookery"]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        let built = build.status().expect("cargo runs");
        assert!(built.success(), "cargo build of rookery failed: {built}");
        profile.join("rookery")
    })
    .clone()
}
