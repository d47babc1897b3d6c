//! Signed checkpoints: truncation, forks, and forged checkpoints.

use p256::ecdsa::{Signature, signature::Signer as _};
use usher_audit::{
    ChainRow, Checkpoint, CheckpointError, CheckpointFault, Event, Fault, Head, LogVerifier, RowFault,
    SignedCheckpoint, Trust, Witness, thumbprint,
};
use usher_types::Sha256;

use crate::fixture::{
    NOW, against, append, checkpoint, head_of, key, log, public, row_fault, sign, user_id, writer,
};

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
    let report = against(&rows, &[checkpoint()]);
    assert!(report.is_good());
    assert_eq!((report.rows, report.unsigned_rows, report.checkpoints), (12, 1, 1));
    assert_eq!(report.last_checkpoint, Some((1, NOW)));
}

#[test]
fn finds_a_log_that_was_cut() {
    let mut rows = log();
    rows.pop();
    let cut = |of, first, through| {
        row_fault(of, first, None, RowFault::Truncated { through, witness: Witness::Checkpoint(1) })
    };
    assert_eq!(against(&rows, &[checkpoint()]).faults, [cut(2, 4, 4)]);
    assert_eq!(against(&[], &[checkpoint()]).faults, [cut(1, 1, 7), cut(2, 1, 4)]);
}

#[test]
fn finds_a_log_that_was_cut_and_continued() {
    let mut rows = log();
    rows.pop();
    let head = head_of(&rows, writer(2));
    append(&mut rows, head, Event::UserDisable { user_id: user_id(9) });
    let forked = RowFault::Forked { witness: Witness::Checkpoint(1) };
    assert_eq!(against(&rows, &[checkpoint()]).faults, [row_fault(2, 4, Some(11), forked)]);
}

#[test]
fn finds_a_log_that_was_cut_since_a_copy_of_it_was_made() {
    // Nobody signed the last rows yet, but somebody has seen them.
    let mut rows = log();
    let mut verifier = LogVerifier::new();
    verifier.expect(&head_of(&rows, writer(2)));
    rows.pop();
    rows.iter().for_each(|row| verifier.row(row));
    let cut = RowFault::Truncated { through: 4, witness: Witness::Copy };
    assert_eq!(verifier.finish(Trust::Named).faults, [row_fault(2, 4, None, cut)]);
}

#[test]
fn checkpoints_may_come_after_the_rows() {
    let forged = Checkpoint {
        heads: vec![Head { hash: Sha256::of(b"x"), ..head_of(&log(), writer(2)) }],
        ..checkpoint()
    };
    for (checkpoint, good) in [(checkpoint(), true), (forged, false)] {
        let mut verifier = LogVerifier::new();
        log().iter().for_each(|row| verifier.row(row));
        verifier.checkpoint(&sign(&key(1), &checkpoint), &[public(&key(1))]);
        assert_eq!(verifier.finish(Trust::Named).is_good(), good);
    }
}

#[test]
fn every_checkpoint_counts_not_only_the_last() {
    let early = Head { writer: writer(1), sequence: 2, hash: Sha256::of(b"another row") };
    let early = Checkpoint { heads: vec![early], ..checkpoint() };
    let previous = Some(sign(&key(1), &early).sha256());
    let last = Checkpoint { number: 2, previous, ..checkpoint() };
    let forked = RowFault::Forked { witness: Witness::Checkpoint(1) };
    assert_eq!(against(&log(), &[early, last]).faults, [row_fault(1, 2, Some(2), forked)]);
}

/// Checkpoints 1 to 4.
fn series() -> Vec<SignedCheckpoint> {
    let mut series: Vec<SignedCheckpoint> = Vec::new();
    for number in 1..=4 {
        let previous = series.last().map(SignedCheckpoint::sha256);
        series.push(sign(&key(1), &Checkpoint { number, previous, ..checkpoint() }));
    }
    series
}

fn faults_of(series: &[SignedCheckpoint]) -> Vec<Fault> {
    let mut verifier = LogVerifier::new();
    log().iter().for_each(|row| verifier.row(row));
    series.iter().for_each(|signed| verifier.checkpoint(signed, &[public(&key(1))]));
    verifier.finish(Trust::Named).faults
}

#[test]
fn a_series_of_checkpoints_verifies() {
    assert_eq!(faults_of(&series()), []);
}

#[test]
fn names_checkpoints_that_are_missing_or_replaced() {
    let check = |change: fn(&mut Vec<SignedCheckpoint>), expected: &[(u64, CheckpointFault)]| {
        let mut series = series();
        change(&mut series);
        let expected: Vec<Fault> = expected
            .iter()
            .map(|(number, fault)| Fault::Checkpoint { number: *number, fault: *fault })
            .collect();
        assert_eq!(faults_of(&series), expected);
    };
    check(|series| drop(series.remove(0)), &[(1, CheckpointFault::Removed { through: 1 })]);
    check(|series| drop(series.drain(1..3)), &[(2, CheckpointFault::Removed { through: 3 })]);
    check(|series| series[1].signature = series[0].signature, &[(2, CheckpointFault::Signature)]);
    check(
        |series| series[1].bytes = b"{}".to_vec(),
        &[(2, CheckpointFault::Malformed), (3, CheckpointFault::Discontinuous)],
    );
    check(
        |series| series.swap(1, 2),
        &[
            (2, CheckpointFault::Removed { through: 2 }),
            (2, CheckpointFault::Discontinuous),
            (3, CheckpointFault::Removed { through: 3 }),
        ],
    );
    // Signed by the right key, but it does not name the one before.
    check(
        |series| series[1] = sign(&key(1), &Checkpoint { number: 2, ..checkpoint() }),
        &[(2, CheckpointFault::Discontinuous), (3, CheckpointFault::Discontinuous)],
    );
}

/// A log whose second writer announces the second key, and checkpoints: one by the first key over everything, one by the
/// second.
fn rotated(announced: u8) -> (Vec<ChainRow>, [SignedCheckpoint; 2]) {
    let mut rows = log();
    let head = head_of(&rows, writer(2));
    let key_id = thumbprint(&public(&key(announced)));
    let head = append(&mut rows, head, Event::CheckpointKeyAnnounce { key: key_id });
    let first = sign(&key(1), &Checkpoint { heads: vec![head_of(&rows, writer(1)), head], ..checkpoint() });
    let previous = Some(first.sha256());
    let second = sign(&key(2), &Checkpoint { number: 2, previous, heads: vec![head], ..checkpoint() });
    (rows, [first, second])
}

#[test]
fn a_new_key_is_trusted_when_the_old_one_vouches_for_its_row() {
    let candidates = [public(&key(2)), public(&key(1))];
    let check = |announced, trusted: &[[u8; 65]]| {
        let (rows, checkpoints) = rotated(announced);
        let mut verifier = LogVerifier::new();
        checkpoints.iter().for_each(|signed| verifier.checkpoint(signed, &candidates));
        rows.iter().for_each(|row| verifier.row(row));
        verifier.finish(Trust::Only(trusted)).faults
    };
    let untrusted = |number| Fault::Checkpoint { number, fault: CheckpointFault::Untrusted };
    assert_eq!(check(2, &[public(&key(1))]), []);
    // A key that nobody announced, and a trusted key that nobody used.
    assert_eq!(check(3, &[public(&key(1))]), [untrusted(2)]);
    assert_eq!(check(2, &[public(&key(3))]), [untrusted(1), untrusted(2)]);
    assert_eq!(check(2, &[public(&key(2))]), [untrusted(1)]);
}
