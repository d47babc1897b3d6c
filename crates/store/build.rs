//! Rebuilds the crate when a migration is added: `sqlx::migrate!` reads the folder while it compiles.
#![forbid(unsafe_code)]

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
