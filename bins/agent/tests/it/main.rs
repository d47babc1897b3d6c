//! The program as people and systemd run it, in a private copy of this machine. Needs root.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests start the program")]

mod broker;
mod cli;
mod connected;
mod run;
mod state;

/// The program, where its unprivileged half can start it as well: the build may lie in a home that nobody else enters.
fn program() -> &'static str {
    const INSTALLED: &str = "/usr/bin/usher-agent";
    let built = env!("CARGO_BIN_EXE_usher-agent");
    if !usher_testkit::namespace::is_inside() {
        return built;
    }
    static COPIED: std::sync::Once = std::sync::Once::new();
    COPIED.call_once(|| {
        std::fs::copy(built, INSTALLED).unwrap();
    });
    INSTALLED
}
