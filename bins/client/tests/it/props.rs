//! Properties of parsers and of the index of names.

use std::collections::BTreeSet;

use proptest::prelude::*;
use usher::{
    index::{self, Index},
    ssh,
    ssh_agent::{
        protocol::{Request, SessionBind, SignRequest, put_string, put_u32},
        session_bind::BoundSession,
        userauth::AuthenticationRequest,
    },
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_frame_makes_the_parser_panic(frame in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = Request::parse(&frame);
        let _ = AuthenticationRequest::parse(&frame);
    }

    #[test]
    fn no_binding_of_random_bytes_is_believed(
        kind in prop::sample::select(vec![
            "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ssh-dss", "ssh-ed25519-cert-v01@openssh.com", "",
        ]),
        rest in proptest::collection::vec(any::<u8>(), 0..200),
        signature in proptest::collection::vec(any::<u8>(), 0..200),
        session_id in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut host_key = Vec::new();
        put_string(&mut host_key, kind.as_bytes());
        host_key.extend(rest);
        let bind = SessionBind { host_key, session_id, signature, is_forwarding: false };
        prop_assert!(BoundSession::verify(&bind).is_err());
    }

    #[test]
    fn sign_requests_survive_the_way(
        key in proptest::collection::vec(any::<u8>(), 0..300),
        data in proptest::collection::vec(any::<u8>(), 0..300),
        flags in any::<u32>(),
    ) {
        let mut frame = vec![13];
        put_string(&mut frame, &key);
        put_string(&mut frame, &data);
        put_u32(&mut frame, flags);
        prop_assert_eq!(Request::parse(&frame), Ok(Request::Sign(SignRequest { key_blob: key, data })));
    }

    #[test]
    fn every_name_of_the_index_is_found_and_no_other(
        names in proptest::collection::btree_set("[a-z0-9][a-z0-9.-]{0,20}", 0..200),
        others in proptest::collection::vec("[a-z0-9.-]{0,20}", 0..50),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("names.idx");
        let mut written = Index::default();
        written.replace("acme", names.iter().cloned());
        written.save(&path).unwrap();
        prop_assert_eq!(&Index::load(&path).unwrap(), &written);
        let team = BTreeSet::from(["acme".to_owned()]);
        for name in &names {
            let entry = index::look_up(&path, name).unwrap();
            prop_assert_eq!(entry.map(|entry| (entry.teams, entry.present)), Some((team.clone(), true)));
        }
        for other in others.iter().filter(|other| !names.contains(*other)) {
            prop_assert_eq!(index::look_up(&path, other).unwrap(), None);
        }
    }

    #[test]
    fn a_shell_sees_quoted_words_as_they_were(word in "[ -~\\n]{0,40}") {
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", &format!("printf %s {}", ssh::quote(&word))])
            .output()
            .unwrap();
        prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
    }
}
