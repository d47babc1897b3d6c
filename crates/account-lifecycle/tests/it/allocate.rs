//! Counters: what they skip, and that they only move forward.

use std::collections::BTreeSet;

use usher_account_lifecycle::allocate::{AllocateError, gid, is_assignable_gid, is_assignable_uid, uid};

#[test]
fn uids_skip_the_dynamic_users_of_systemd_and_nobody() {
    let given = uid(61_184, &BTreeSet::new()).unwrap();
    assert_eq!((given.id, given.next), (65_536, 65_537));
    assert_eq!(uid(61_183, &BTreeSet::new()).unwrap().id, 61_183);
}

#[test]
fn gids_skip_nogroup_only() {
    assert_eq!(gid(63_001, &BTreeSet::new()).unwrap().id, 63_001);
    assert_eq!(gid(65_534, &BTreeSet::new()).unwrap().id, 65_536);
}

#[test]
fn taken_ids_are_skipped() {
    assert_eq!(uid(60_001, &BTreeSet::from([60_001, 60_002])).unwrap().id, 60_003);
}

#[test]
fn nothing_of_the_system_is_ever_given() {
    assert_eq!(uid(0, &BTreeSet::new()).unwrap().id, 1000);
    assert_eq!(gid(524_288, &BTreeSet::new()).unwrap().id, 1_879_048_192);
    assert_eq!(uid(2_147_483_648, &BTreeSet::new()), Err(AllocateError::Exhausted(2_147_483_648)));
    assert_eq!(uid(u32::MAX, &BTreeSet::new()), Err(AllocateError::Exhausted(u32::MAX)));
    for id in [0, 1, 999, 61_184, 65_534, 65_535, 524_288, 1_879_048_191, 2_147_483_648, u32::MAX] {
        assert!(!is_assignable_uid(id), "{id}");
    }
    for id in [0, 65_534, 65_535, u32::MAX] {
        assert!(!is_assignable_gid(id), "{id}");
    }
    assert!(is_assignable_uid(60_001) && is_assignable_gid(63_001));
}
