//! Properties of every log.

use proptest::prelude::*;
use usher_audit::{Checkpoint, Line, decode, encode, verify_chain};

use crate::fixture::{against, checkpoint, log, writer};

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bit_of_a_log_can_be_changed(
        row in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut rows = log();
        let row = row.index(rows.len());
        let byte = byte.index(rows[row].bytes.len());
        rows[row].bytes[byte] ^= 1 << bit;
        prop_assert_eq!(verify_chain(&rows).fault_count, 1);
    }

    /// Any rows left out, in any order that is not a shorter log: found. With a checkpoint, shorter logs too.
    #[test]
    fn every_subset_but_the_whole_is_found(keep in prop::collection::vec(any::<bool>(), 11)) {
        let mut kept = keep.iter();
        let mut rows = log();
        rows.retain(|_| kept.next().copied().unwrap_or_default());
        let whole = rows.len() == 11;
        prop_assert_eq!(against(&rows, &[checkpoint()]).is_good(), whole);
    }

    #[test]
    fn no_order_but_the_writers_own_verifies(rows in Just(log()).prop_shuffle()) {
        let in_order = |id| rows.iter().filter(|row| row.writer == id).is_sorted_by(|a, b| a.sequence < b.sequence);
        let in_order = in_order(writer(1)) && in_order(writer(2));
        // Rows of different writers may interleave in any way, but `log.start` comes after what it names.
        let position = |id, sequence| rows.iter().position(|row| row.writer == id && row.sequence == sequence);
        let tied = position(writer(1), 4) < position(writer(2), 1);
        prop_assert_eq!(verify_chain(&rows).is_good(), in_order && tied);
    }

    #[test]
    fn no_bytes_make_the_decoders_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = Checkpoint::decode(&bytes);
        let _ = Line::decode(&bytes);
    }

    /// What decodes encodes to the same bytes.
    #[test]
    fn decoding_is_exact(
        row in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        to in 0x20_u8..0x7f,
    ) {
        let rows = log();
        let mut bytes = rows[row.index(rows.len())].bytes.clone();
        let byte = byte.index(bytes.len());
        bytes[byte] = to;
        if let Ok(record) = decode(&bytes) {
            prop_assert_eq!(encode(&record).unwrap(), bytes);
        }
    }
}
