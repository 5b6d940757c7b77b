//! A release build embeds `web/dist`, and rust-embed alone does not notice a file that is new there. Before the first
//! build of the web client there is no folder to watch (cargo would take a missing one for changed, every time), so
//! that build touches this file.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::path::Path::new("web/dist").is_dir() {
        println!("cargo:rerun-if-changed=web/dist");
    }
}
