//! Custody through the public API: what is on disk, what opens, what signs.
#![cfg(test)]

mod kms;
mod props;
mod seal;
mod sign;

use std::path::PathBuf;

use tempfile::TempDir;
use usher_keystore::{Keystore, SealKey};

/// A seal key in a directory of its own.
fn seal_key() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("seal.key");
    SealKey::create(&path).unwrap();
    (directory, path)
}

fn keystore() -> (TempDir, Keystore) {
    let (directory, path) = seal_key();
    (directory, Keystore::new(SealKey::load(&path).unwrap()))
}
