//! What the verifier finds in rows, and what it calls it.

use usher_audit::{ChainRow, Event, Fault, Head, RowFault, Witness, chain_hash, encode, verify_chain};
use usher_types::Sha256;

use crate::fixture::{append, faults, head_of, log, record, row_fault, user_id, writer};

/// Every fault, in order.
#[track_caller]
fn finds(change: impl FnOnce(&mut Vec<ChainRow>), expected: &[Fault]) {
    let mut rows = log();
    change(&mut rows);
    assert_eq!(faults(&rows), expected);
}

fn edited() -> Vec<u8> {
    encode(&record(Event::UserDisable { user_id: user_id(9) })).unwrap()
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
    let report = verify_chain(&rows);
    assert!(report.is_good());
    assert_eq!((report.rows, report.unsigned_rows, report.checkpoints), (11, 11, 0));
    assert_eq!(report.heads, [head_of(&rows, writer(1)), head_of(&rows, writer(2))]);
    assert_eq!(verify_chain([]).rows, 0);
}

#[test]
fn finds_a_change_of_any_part_of_a_row() {
    let changed = [row_fault(1, 3, Some(3), RowFault::Changed)];
    finds(|rows| rows[2].bytes = edited(), &changed);
    finds(|rows| rows[2].bytes.push(b' '), &changed);
    finds(|rows| rows[2].hash = rows[1].hash, &changed);
    finds(|rows| rows[2].previous = rows[0].hash, &changed);
    // With its hash made to fit, it is the next row that does not follow from it.
    finds(
        |rows| {
            let before = rows[1].head();
            rows[2] = before.row(3, edited());
        },
        &changed,
    );
    finds(|rows| rows[0].previous = rows[1].hash, &[row_fault(1, 1, Some(1), RowFault::Changed)]);
}

#[test]
fn goes_on_behind_what_it_finds() {
    finds(
        |rows| {
            rows[1].bytes = edited();
            rows[10].bytes = edited();
            rows.remove(3);
        },
        &[
            row_fault(1, 2, Some(2), RowFault::Changed),
            row_fault(2, 4, Some(11), RowFault::Changed),
            row_fault(1, 4, Some(6), RowFault::Removed { through: 4 }),
        ],
    );
}

#[test]
fn finds_a_deletion() {
    finds(|rows| drop(rows.remove(1)), &[row_fault(1, 2, Some(3), RowFault::Removed { through: 2 })]);
    finds(|rows| drop(rows.drain(..3)), &[row_fault(1, 1, Some(4), RowFault::Removed { through: 3 })]);
}

#[test]
fn finds_renumbered_rows() {
    finds(
        |rows| {
            rows.remove(1);
            rows[1].sequence = 2;
        },
        &[
            row_fault(1, 2, Some(3), RowFault::Changed),
            row_fault(1, 3, Some(4), RowFault::Removed { through: 3 }),
        ],
    );
}

#[test]
fn finds_a_row_that_was_moved() {
    finds(
        |rows| {
            let mut row = rows.remove(1);
            row.position = 103;
            rows.push(row);
        },
        &[row_fault(1, 2, Some(103), RowFault::Reordered)],
    );
    finds(|rows| rows.swap(1, 2), &[row_fault(1, 2, Some(2), RowFault::Reordered)]);
}

#[test]
fn finds_a_row_given_to_another_writer() {
    finds(
        |rows| rows[2].writer = writer(2),
        &[
            row_fault(2, 3, Some(3), RowFault::Changed),
            row_fault(2, 1, Some(5), RowFault::Reordered),
            row_fault(2, 2, Some(7), RowFault::Reordered),
            row_fault(2, 3, Some(9), RowFault::Forked { witness: Witness::Row }),
            row_fault(1, 3, Some(4), RowFault::Removed { through: 3 }),
        ],
    );
}

#[test]
fn finds_a_row_that_is_there_twice_and_two_versions_of_one() {
    finds(|rows| rows.insert(3, rows[2].clone()), &[row_fault(1, 3, Some(3), RowFault::Repeated)]);
    finds(
        |rows| {
            let before = rows[1].head();
            append(rows, before, Event::UserDisable { user_id: user_id(9) });
        },
        &[row_fault(1, 3, Some(12), RowFault::Forked { witness: Witness::Row })],
    );
}

#[test]
fn finds_a_writer_that_vanished_or_was_cut_before_the_next_began() {
    // The second writer's first row says that the first had written four rows.
    let witness = Witness::Start(writer(2));
    finds(
        |rows| rows.retain(|row| row.writer == writer(2)),
        &[row_fault(1, 1, None, RowFault::Truncated { through: 4, witness })],
    );
    finds(
        |rows| rows.retain(|row| row.writer == writer(2) || row.sequence < 4),
        &[row_fault(1, 4, None, RowFault::Truncated { through: 4, witness })],
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
    let witness = Witness::Start(writer(2));
    assert_eq!(faults(&rewritten), [row_fault(1, 4, None, RowFault::Forked { witness })]);
}

#[test]
fn faults_say_where_and_what() {
    let text = |fault: Fault| fault.to_string().replace(&writer(1).to_string(), "W");
    assert_eq!(
        text(row_fault(1, 3, Some(7), RowFault::Changed)),
        "row 3 of writer W: changed, at position 7"
    );
    assert_eq!(
        text(row_fault(1, 3, Some(7), RowFault::Removed { through: 5 })),
        "rows 3 to 5 of writer W: removed, before position 7"
    );
    assert_eq!(
        text(row_fault(1, 3, Some(7), RowFault::Forked { witness: Witness::Checkpoint(2) })),
        "row 3 of writer W: not the row that checkpoint 2 knows, at position 7"
    );
    assert_eq!(
        text(row_fault(1, 3, None, RowFault::Truncated { through: 3, witness: Witness::Copy })),
        "row 3 of writer W: cut off; the copy of the log knows of it"
    );
}

#[test]
fn names_a_thousand_faults_and_counts_all() {
    let mut rows = Vec::new();
    let mut head = Head::genesis(writer(1));
    for _ in 0..1500 {
        head = append(&mut rows, head, Event::UserDisable { user_id: user_id(1) });
    }
    rows.iter_mut().for_each(|row| row.bytes = edited());
    let report = verify_chain(&rows);
    assert_eq!((report.faults.len(), report.fault_count), (1000, 1500));
}

#[test]
fn rows_that_are_no_records_are_chained_all_the_same() {
    // Written by a newer program: the chain does not need to understand them.
    let row = Head::genesis(writer(1)).row(1, b"{\"v\":7}".to_vec());
    assert!(verify_chain([&row]).is_good());
}
