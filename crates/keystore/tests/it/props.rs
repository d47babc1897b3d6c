//! Whatever is damaged does not open.

use proptest::prelude::*;
use usher_keystore::{KeyLabel, Purpose, SoftwareKey};

use crate::keystore;

proptest! {
    #[test]
    fn every_flipped_bit_is_noticed(secret in prop::collection::vec(any::<u8>(), 0..80), place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let (_directory, keystore) = keystore();
        let label = KeyLabel::new("x", Purpose::TotpSeed);
        let mut sealed = keystore.seal(&label, &secret).unwrap();
        let opened = keystore.open(&label, &sealed).unwrap();
        prop_assert_eq!(opened.as_slice(), secret.as_slice());
        let index = place.index(sealed.len());
        sealed[index] ^= 1 << bit;
        prop_assert!(keystore.open(&label, &sealed).is_err());
        sealed.truncate(index);
        prop_assert!(keystore.open(&label, &sealed).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_no_key(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        prop_assert!(SoftwareKey::from_secret_bytes(&bytes).is_err());
    }
}
