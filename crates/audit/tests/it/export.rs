//! Lines of an export: the hash can be computed from them, and only whole lines are read.

use usher_audit::{Head, Line, LogVerifier, Trust};

use crate::fixture::{checkpoint, key, log, public, sign, writer};

fn lines() -> Vec<Vec<u8>> {
    let rows = log().into_iter().map(Line::Row);
    let checkpoint = Line::Checkpoint { signed: sign(&key(1), &checkpoint()), key: public(&key(1)) };
    rows.chain([checkpoint]).map(|line| line.encode().unwrap()).collect()
}

fn read(lines: &[Vec<u8>], mut verifier: LogVerifier) -> usher_audit::Report {
    for line in lines {
        match Line::decode(line).unwrap() {
            Line::Checkpoint { signed, key } => verifier.checkpoint(&signed, &[key]),
            Line::Row(row) => verifier.row(&row),
        }
    }
    verifier.finish(Trust::Only(&[public(&key(1))]))
}

#[test]
fn a_log_survives_its_lines() {
    let report = read(&lines(), LogVerifier::new());
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.rows, report.checkpoints, report.unsigned_rows), (11, 1, 0));
}

#[test]
fn the_record_stands_in_the_line_as_it_was_hashed() {
    let row = log().remove(4);
    let line = String::from_utf8(Line::Row(row.clone()).encode().unwrap()).unwrap();
    let record = String::from_utf8(row.bytes.clone()).unwrap();
    assert!(line.ends_with(&format!(",\"record\":{record}}}\n")), "{line}");
    assert_eq!(Line::decode(line.as_bytes()).unwrap(), Line::Row(row));
}

#[test]
fn a_row_that_is_no_json_is_written_and_read_too() {
    for bytes in [&b"{broken"[..], b"", b"{}\n", b"{\n}", b"\xff"] {
        let row = Head::genesis(writer(1)).row(1, bytes.to_vec());
        let line = Line::Row(row.clone()).encode().unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(Line::decode(&line).unwrap(), Line::Row(row));
    }
}

#[test]
fn part_of_a_line_is_no_line() {
    for line in [&lines()[0], &lines()[11]] {
        for end in 0..line.len() - 2 {
            assert!(Line::decode(&line[..end]).is_err());
        }
    }
    assert!(Line::decode(b"{\"type\":\"row\"}").is_err());
    assert!(Line::decode(b"{\"type\":\"other\"}").is_err());
}

#[test]
fn an_excerpt_may_begin_anywhere_and_repeat_itself() {
    let all = lines();
    let mut part = all[3..9].to_vec();
    part.extend_from_slice(&all[6..]);
    part.extend_from_slice(&all[10..]);
    assert!(read(&part, LogVerifier::of_excerpt()).is_good());
    // The same as a whole log is not good.
    assert!(!read(&part, LogVerifier::new()).is_good());
}

#[test]
fn an_excerpt_with_a_hole_or_an_edit_is_found() {
    let mut hole = lines();
    hole.remove(6);
    assert_eq!(read(&hole[3..], LogVerifier::of_excerpt()).fault_count, 1);
    let mut edited = lines();
    edited[6] = String::from_utf8(edited[6].clone()).unwrap().replace("alice", "mallo").into_bytes();
    assert_eq!(read(&edited[3..], LogVerifier::of_excerpt()).fault_count, 1);
    // Cut at its end: the checkpoint knows.
    let mut cut = lines();
    cut.remove(10);
    assert_eq!(read(&cut[3..], LogVerifier::of_excerpt()).fault_count, 1);
}
