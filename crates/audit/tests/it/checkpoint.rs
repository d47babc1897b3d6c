//! Signed checkpoints: truncation, forks, and forged checkpoints.

use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use usher_audit::{
    ChainFault, Checkpoint, CheckpointError, Event, Head, SignedCheckpoint, checkpoint_sign_input,
    verify_chain_against, verify_checkpoints,
};
use usher_types::Sha256;

use crate::fixture::{NOW, append, head_of, log, user_id, writer};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

fn public(key: &SigningKey) -> [u8; 65] {
    key.verifying_key().to_sec1_point(false).as_bytes().try_into().unwrap()
}

fn sign(key: &SigningKey, checkpoint: &Checkpoint) -> SignedCheckpoint {
    let bytes = checkpoint.encode().unwrap();
    let signature: Signature = key.sign(&checkpoint_sign_input(&bytes));
    SignedCheckpoint { bytes, signature: signature.to_bytes().into() }
}

/// The state of [`log`] at its end.
fn checkpoint() -> Checkpoint {
    let heads = vec![head_of(&log(), writer(1)), head_of(&log(), writer(2))];
    Checkpoint { number: 1, issued_at: NOW, previous: None, heads }
}

#[test]
fn survives_signing() {
    let signed = sign(&key(1), &checkpoint());
    assert_eq!(signed.verify(&[public(&key(2)), public(&key(1))]).unwrap(), checkpoint());
    assert_eq!(signed.sha256(), Sha256::of(&signed.bytes));
}

#[test]
fn refuses_forged_checkpoints() {
    let keys = [public(&key(1))];
    let good = sign(&key(1), &checkpoint());
    let refused = sign(&key(2), &checkpoint()).verify(&keys).unwrap_err();
    assert!(matches!(refused, CheckpointError::Signature));
    let moved = SignedCheckpoint {
        signature: sign(&key(1), &Checkpoint { number: 2, ..checkpoint() }).signature,
        ..good.clone()
    };
    assert!(matches!(moved.verify(&keys).unwrap_err(), CheckpointError::Signature));
    assert!(matches!(good.verify(&[]).unwrap_err(), CheckpointError::Signature));
    assert!(matches!(good.verify(&[[0; 65]]).unwrap_err(), CheckpointError::Signature));
    let zero = SignedCheckpoint { signature: [0; 64], ..good.clone() };
    assert!(matches!(zero.verify(&keys).unwrap_err(), CheckpointError::Signature));

    // A signature over a row's bytes, or over anything without the prefix, is none over a checkpoint.
    let bare: Signature = key(1).sign(&good.bytes);
    let bare = SignedCheckpoint { signature: bare.to_bytes().into(), ..good };
    assert!(matches!(bare.verify(&keys).unwrap_err(), CheckpointError::Signature));
}

#[test]
fn reads_its_exact_form_only() {
    let good = String::from_utf8(checkpoint().encode().unwrap()).unwrap();
    assert_eq!(Checkpoint::decode(good.as_bytes()).unwrap(), checkpoint());
    let unsorted = Checkpoint { heads: checkpoint().heads.into_iter().rev().collect(), ..checkpoint() };
    let twice = Checkpoint { heads: vec![checkpoint().heads[0]; 2], ..checkpoint() };
    let mutants = [
        String::new(),
        "{}".to_owned(),
        format!("{good} "),
        good.replace("\"v\":1", "\"v\":2"),
        good.replace("\"number\":1", "\"number\":1,\"more\":1"),
        String::from_utf8(unsorted.encode().unwrap()).unwrap(),
        String::from_utf8(twice.encode().unwrap()).unwrap(),
    ];
    for mutant in mutants {
        assert!(Checkpoint::decode(mutant.as_bytes()).is_err(), "{mutant}");
    }
}

#[test]
fn a_log_that_went_on_still_verifies() {
    let mut rows = log();
    let head = head_of(&rows, writer(2));
    append(&mut rows, head, Event::UserDisable { user_id: user_id(1) });
    assert_eq!(verify_chain_against(rows, &[checkpoint()]).unwrap().rows(), 12);
}

#[test]
fn finds_a_log_that_was_cut() {
    let mut rows = log();
    rows.pop();
    let fault = verify_chain_against(rows, &[checkpoint()]).unwrap_err();
    assert_eq!(fault, ChainFault::Truncated { writer: writer(2), sequence: 4 });
    let fault = verify_chain_against([], &[checkpoint()]).unwrap_err();
    assert_eq!(fault, ChainFault::Truncated { writer: writer(1), sequence: 7 });
}

#[test]
fn finds_a_log_that_was_cut_and_continued() {
    let mut rows = log();
    rows.pop();
    let head = head_of(&rows, writer(2));
    append(&mut rows, head, Event::UserDisable { user_id: user_id(9) });
    let fault = verify_chain_against(rows, &[checkpoint()]).unwrap_err();
    assert_eq!(fault, ChainFault::Forked { writer: writer(2), sequence: 4 });
}

#[test]
fn every_checkpoint_counts_not_only_the_last() {
    let rows = log();
    let early = Head { writer: writer(1), sequence: 2, hash: Sha256::of(b"another row") };
    let early = Checkpoint { heads: vec![early], ..checkpoint() };
    let fault = verify_chain_against(rows, &[early, checkpoint()]).unwrap_err();
    assert_eq!(fault, ChainFault::Forked { writer: writer(1), sequence: 2 });
}

/// Checkpoints 1 to 3.
fn series() -> Vec<SignedCheckpoint> {
    let mut series: Vec<SignedCheckpoint> = Vec::new();
    for number in 1..=3 {
        let previous = series.last().map(SignedCheckpoint::sha256);
        series.push(sign(&key(1), &Checkpoint { number, previous, ..checkpoint() }));
    }
    series
}

#[test]
fn a_series_of_checkpoints_verifies() {
    let verified = verify_checkpoints(&series(), &[public(&key(1))]).unwrap();
    assert_eq!(verified.iter().map(|checkpoint| checkpoint.number).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn finds_a_checkpoint_that_is_missing_or_replaced() {
    let check = |change: fn(&mut Vec<SignedCheckpoint>)| {
        let mut series = series();
        change(&mut series);
        verify_checkpoints(&series, &[public(&key(1))]).unwrap_err()
    };
    let faults = [
        check(|series| drop(series.remove(0))),
        check(|series| drop(series.remove(1))),
        check(|series| series.swap(1, 2)),
        // Signed by the right key, but it does not name the one before.
        check(|series| series[1] = sign(&key(1), &Checkpoint { number: 2, ..checkpoint() })),
    ];
    for fault in faults {
        assert!(matches!(fault, CheckpointError::Continuity { .. }), "{fault}");
    }
}
