//! The seal key's file, and what it seals.

use std::{fs, os::unix::fs::PermissionsExt as _};

use usher_keystore::{KeyLabel, Keystore, OpenError, Purpose, SealKey, SealKeyError, SealSource};
use usher_types::SealKeyId;

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
    let key = SealKey::load(&path).unwrap();
    assert_eq!(format!("{key:?}"), format!("SealKey({})", key.id()));
    let secret: String = fs::read(&path).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!secret.contains(&key.id().to_string()), "the id is no part of the key");
}

fn private(path: &std::path::Path, text: &[u8], mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_passphrase_gives_the_same_key_with_the_same_salt_only() {
    let directory = tempfile::tempdir().unwrap();
    let (file, salt) = (directory.path().join("passphrase"), directory.path().join("seal.salt"));
    private(&file, b"correct horse battery staple\n", 0o600);
    SealKey::create_salt(&salt).unwrap();
    let source = SealSource::Passphrase { file: file.clone(), salt: salt.clone() };
    let first = source.load().unwrap();
    let sealed = first.seal(&label("x", Purpose::State), b"secret").unwrap();
    // The line break at the end is the editor's; making the salt again changes nothing.
    private(&file, b"correct horse battery staple", 0o600);
    SealKey::create_salt(&salt).unwrap();
    let again = source.load().unwrap();
    assert_eq!(again.open(&label("x", Purpose::State), &sealed).unwrap().as_slice(), b"secret");

    private(&file, b"correct horse battery stapler", 0o600);
    assert_ne!(source.load().unwrap().id(), first.id());
    private(&file, b"correct horse battery staple", 0o600);
    fs::remove_file(&salt).unwrap();
    SealKey::create_salt(&salt).unwrap();
    assert_ne!(source.load().unwrap().id(), first.id());
}

#[test]
fn bad_passphrases_and_salts_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (file, salt) = (directory.path().join("passphrase"), directory.path().join("seal.salt"));
    SealKey::create_salt(&salt).unwrap();
    let source = SealSource::Passphrase { file: file.clone(), salt: salt.clone() };
    assert!(matches!(source.load(), Err(SealKeyError::File { .. })));
    for bad in [&b""[..], b"too short", &[b'x'; 5000]] {
        private(&file, bad, 0o600);
        assert!(matches!(source.load(), Err(SealKeyError::Passphrase { .. })));
    }
    private(&file, b"correct horse battery staple", 0o644);
    assert!(matches!(source.load(), Err(SealKeyError::LooseMode { .. })));
    private(&file, b"correct horse battery staple", 0o600);
    for bad in [
        "",
        "usher-argon2id-v2 m=65536,t=3,p=1\n00112233445566778899aabbccddeeff\n",
        "usher-argon2id-v1 m=65536,t=3,p=1\n+0112233445566778899aabbccddeef\n",
    ] {
        private(&salt, bad.as_bytes(), 0o600);
        assert!(matches!(source.load(), Err(SealKeyError::Salt { .. })), "{bad}");
    }
}

/// systemd gives a credential to root with an ACL for the service's user: the group bit of its mode is the ACL's.
#[test]
fn a_credential_of_systemd_is_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("usher-seal-key");
    for mode in [0o400, 0o440, 0o600] {
        private(&path, &[7; 32], mode);
        assert!(SealSource::Credential(path.clone()).load().is_ok(), "{mode:o}");
    }
    for mode in [0o404, 0o460, 0o644] {
        private(&path, &[7; 32], mode);
        assert!(matches!(SealSource::Credential(path.clone()).load(), Err(SealKeyError::LooseMode { .. })));
    }
    private(&path, &[7; 31], 0o400);
    assert!(matches!(SealSource::Credential(path).load(), Err(SealKeyError::Length { .. })));
}

#[test]
fn a_sealed_secret_names_its_key() {
    let (_directory, path) = seal_key();
    let key = SealKey::load(&path).unwrap();
    let mut sealed = key.seal(&label("x", Purpose::State), b"secret").unwrap();
    assert_eq!(SealKeyId::of_sealed(&sealed), Some(key.id()));
    // The name is part of what is protected.
    sealed[1] ^= 1;
    assert!(key.open(&label("x", Purpose::State), &sealed).is_err());
}

/// A secret of the format's first version, sealed by the key `07` x 32.
#[test]
fn secrets_of_the_first_version_still_open() {
    let (_directory, path) = seal_key();
    private(&path, &[7; 32], 0o600);
    let key = SealKey::load(&path).unwrap();
    let opened = key.open(&label("team/state/1", Purpose::State), &first_version()).unwrap();
    assert_eq!(opened.as_slice(), b"secret");
    assert!(key.open(&label("team/state/2", Purpose::State), &first_version()).is_err());
}

/// As the first version wrote it: version, nonce, ciphertext, tag.
fn first_version() -> Vec<u8> {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
    let mut bytes = b"secret".to_vec();
    let place = Aad::from(b"usher-seal\0\x01state\0team/state/1");
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key([9; 12]), place, &mut bytes).unwrap();
    [&[1][..], &[9; 12], &bytes].concat()
}

/// A broker that runs takes over the key that a re-seal left, when it meets what that key sealed.
#[test]
fn a_running_keystore_takes_over_the_next_seal_key() {
    let (_directory, path) = seal_key();
    let (_next_directory, next_path) = seal_key();
    let next = SealKey::load(&next_path).unwrap();
    let place = label("x", Purpose::TotpSeed);
    let sealed = next.seal(&place, b"secret").unwrap();
    let alone = Keystore::new(SealKey::load(&path).unwrap());
    assert!(alone.open(&place, &sealed).is_err());
    assert!(!alone.use_seal_key(next.id()));

    let looked = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = std::sync::Arc::clone(&looked);
    let keystore = Keystore::new(SealKey::load(&path).unwrap()).with_candidates(move || {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        vec![SealKey::load(&next_path).unwrap()]
    });
    // What a browser sends back makes nobody look for keys.
    let page = next.seal(&label("form", Purpose::Page), b"page").unwrap();
    assert!(keystore.open(&label("form", Purpose::Page), &page).is_err());
    assert_eq!(looked.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert_eq!(keystore.open(&place, &sealed).unwrap().as_slice(), b"secret");
    assert_eq!(keystore.seal_key_id(), next.id());
    keystore.open(&place, &sealed).unwrap();
    assert_eq!(looked.load(std::sync::atomic::Ordering::Relaxed), 1);
}
