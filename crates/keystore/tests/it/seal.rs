//! The seal key's file, and what it seals.

use std::{fs, os::unix::fs::PermissionsExt as _};

use usher_keystore::{KeyLabel, OpenError, Purpose, SealKey, SealKeyError};

use crate::seal_key;

fn label(id: &str, purpose: Purpose) -> KeyLabel {
    KeyLabel::new(id, purpose)
}

#[test]
fn a_new_seal_key_is_32_bytes_that_only_its_owner_can_read() {
    let (_directory, path) = seal_key();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.len(), 32);
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
}

#[test]
fn never_overwrites_a_seal_key() {
    let (_directory, path) = seal_key();
    let before = fs::read(&path).unwrap();
    assert!(matches!(SealKey::create(&path), Err(SealKeyError::Exists { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// Threat 1: a key file that others can read refuses to start.
#[test]
fn refuses_every_loose_mode() {
    let (_directory, path) = seal_key();
    for mode in [0o640, 0o604, 0o660, 0o606, 0o644, 0o700, 0o610, 0o777] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(SealKey::load(&path), Err(SealKeyError::LooseMode { .. })), "{mode:o}");
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(SealKey::load(&path).is_ok(), "{mode:o}");
    }
}

#[test]
fn refuses_links_and_files_of_another_length() {
    let (directory, path) = seal_key();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(SealKey::load(&link), Err(SealKeyError::File { .. })));
    for length in [0, 31, 33, 64] {
        fs::write(&path, vec![7; length]).unwrap();
        assert!(matches!(SealKey::load(&path), Err(SealKeyError::Length { .. })), "{length}");
    }
    assert!(matches!(SealKey::load(directory.path()), Err(SealKeyError::LooseMode { .. })));
}

#[test]
fn opens_only_under_its_own_label_and_key() {
    let (_directory, path) = seal_key();
    let key = SealKey::load(&path).unwrap();
    let place = label("prj_1", Purpose::SshUserCa);
    let sealed = key.seal(&place, b"secret").unwrap();
    assert_eq!(key.open(&place, &sealed).unwrap().as_slice(), b"secret");
    for other in
        [label("prj_2", Purpose::SshUserCa), label("prj_1", Purpose::State), label("", Purpose::SshUserCa)]
    {
        assert_eq!(key.open(&other, &sealed).unwrap_err(), OpenError);
    }
    let (_other_directory, other_path) = seal_key();
    assert_eq!(SealKey::load(&other_path).unwrap().open(&place, &sealed).unwrap_err(), OpenError);
}

#[test]
fn the_same_secret_never_seals_the_same_way_twice() {
    let (_directory, path) = seal_key();
    let key = SealKey::load(&path).unwrap();
    let place = label("x", Purpose::TotpSeed);
    assert_ne!(key.seal(&place, b"secret").unwrap(), key.seal(&place, b"secret").unwrap());
}

#[test]
fn derived_secrets_differ_by_purpose_and_stay_the_same() {
    let (_directory, path) = seal_key();
    let derive = |purpose| *SealKey::load(&path).unwrap().derive(purpose);
    assert_eq!(derive(Purpose::Page), derive(Purpose::Page));
    assert_ne!(derive(Purpose::Page), derive(Purpose::State));
}

#[test]
fn nothing_secret_is_in_debug_output() {
    let (_directory, path) = seal_key();
    assert_eq!(format!("{:?}", SealKey::load(&path).unwrap()), "SealKey([secret])");
}
