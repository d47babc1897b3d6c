//! What the verifier finds.

use usher_audit::{ChainFault, ChainRow, Event, Head, chain_hash, encode, verify_chain};
use usher_types::Sha256;

use crate::fixture::{append, head_of, log, record, user_id, writer};

#[track_caller]
fn finds(change: impl FnOnce(&mut Vec<ChainRow>), expected: ChainFault) {
    let mut rows = log();
    change(&mut rows);
    assert_eq!(verify_chain(rows).unwrap_err(), expected);
}

#[test]
fn hash_is_over_exactly_the_stated_bytes() {
    let (writer, previous) = (writer(1), Sha256::of(b"previous"));
    let id = data_encoding::HEXLOWER.decode(writer.to_string().as_bytes()).unwrap();
    let parts: [&[u8]; 5] =
        [b"usher-audit-v1\0", &id, &[0, 0, 0, 0, 0, 0, 1, 2], previous.as_bytes(), b"{\"v\":1}"];
    assert_eq!(chain_hash(writer, 258, &previous, b"{\"v\":1}"), Sha256::of(&parts.concat()));
}

#[test]
fn a_good_log_verifies() {
    let rows = log();
    let heads = verify_chain(rows.clone()).unwrap();
    assert_eq!(heads.rows(), 11);
    let expected = [head_of(&rows, writer(1)), head_of(&rows, writer(2))];
    assert_eq!(heads.iter().copied().collect::<Vec<_>>(), expected);
    assert_eq!(verify_chain([]).unwrap().rows(), 0);
}

#[test]
fn finds_an_edit() {
    let edited = encode(&record(Event::UserDisable { user_id: user_id(9) })).unwrap();
    finds(|rows| rows[2].bytes = edited.clone(), ChainFault::Changed { writer: writer(1), sequence: 3 });
    // With the hash of that row made to fit, the next row does not follow.
    finds(
        |rows| {
            let before = Head { writer: writer(1), sequence: 2, hash: rows[1].hash };
            rows[2].hash = before.append(&edited).hash;
            rows[2].bytes = edited.clone();
        },
        ChainFault::Changed { writer: writer(1), sequence: 4 },
    );
    finds(|rows| rows[2].bytes.push(b' '), ChainFault::Changed { writer: writer(1), sequence: 3 });
    finds(|rows| rows[2].hash = rows[1].hash, ChainFault::Changed { writer: writer(1), sequence: 3 });
}

#[test]
fn finds_a_deletion() {
    finds(|rows| drop(rows.remove(1)), ChainFault::Missing { writer: writer(1), expected: 2, found: 3 });
    finds(|rows| drop(rows.remove(0)), ChainFault::Missing { writer: writer(1), expected: 1, found: 2 });
}

#[test]
fn finds_renumbered_rows() {
    finds(
        |rows| {
            rows.remove(1);
            rows[1].sequence = 2;
        },
        ChainFault::Changed { writer: writer(1), sequence: 2 },
    );
}

#[test]
fn finds_rows_in_another_order() {
    finds(|rows| rows.swap(1, 2), ChainFault::Missing { writer: writer(1), expected: 2, found: 3 });
}

#[test]
fn finds_a_row_of_another_writer() {
    finds(
        |rows| rows[2].writer = writer(2),
        ChainFault::Missing { writer: writer(2), expected: 1, found: 3 },
    );
}

#[test]
fn finds_two_versions_of_a_row() {
    finds(
        |rows| {
            let before = Head { writer: writer(1), sequence: 2, hash: rows[1].hash };
            append(rows, before, Event::UserDisable { user_id: user_id(9) });
        },
        ChainFault::Forked { writer: writer(1), sequence: 3 },
    );
    finds(|rows| rows.insert(3, rows[2].clone()), ChainFault::Forked { writer: writer(1), sequence: 3 });
}

#[test]
fn finds_a_writer_that_vanished() {
    // The second writer's first row says that the first had written four rows.
    finds(
        |rows| rows.retain(|row| row.writer == writer(2)),
        ChainFault::Truncated { writer: writer(1), sequence: 4 },
    );
}

#[test]
fn finds_a_writer_that_was_cut_before_the_next_began() {
    finds(
        |rows| {
            let mut seen = 0;
            rows.retain(|row| {
                seen += usize::from(row.writer == writer(1));
                row.writer == writer(2) || seen < 4
            });
        },
        ChainFault::Truncated { writer: writer(1), sequence: 4 },
    );
}

#[test]
fn finds_a_writer_that_was_rewritten_whole() {
    // Every hash fits, but not what the second writer saw.
    let mut rows = log();
    let mut rewritten = Vec::new();
    let start = Event::LogStart { after: None, checkpoint: None };
    let mut head = append(&mut rewritten, Head::genesis(writer(1)), start);
    for seed in 11..14 {
        head = append(&mut rewritten, head, Event::UserDisable { user_id: user_id(seed) });
    }
    rewritten.extend(rows.drain(..).filter(|row| row.writer == writer(2)));
    assert_eq!(verify_chain(rewritten).unwrap_err(), ChainFault::Forked { writer: writer(1), sequence: 4 });
}

#[test]
fn rows_that_are_no_records_are_chained_all_the_same() {
    // Written by a newer program: the chain does not need to understand them.
    let head = Head::genesis(writer(1)).append(b"{\"v\":7}");
    let row = ChainRow { writer: head.writer, sequence: 1, hash: head.hash, bytes: b"{\"v\":7}".to_vec() };
    assert_eq!(verify_chain([row]).unwrap().rows(), 1);
}
