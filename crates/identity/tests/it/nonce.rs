//! Nonces: how long they hold, and under which keys.

use std::time::Duration;

use usher_identity::dpop::{NONCE_SLOT, NonceKey, NonceKeys};
use usher_types::UnixTime;

use crate::fixture::{NOW, nonces};

/// The first moment of `NOW`'s slot.
fn slot_start() -> UnixTime {
    let width = i64::try_from(NONCE_SLOT.as_millis()).unwrap();
    UnixTime::from_millis(NOW.as_millis() / width * width)
}

#[test]
fn holds_for_its_slot_and_the_next() {
    let nonce = nonces().issue(slot_start());
    let almost_two = NONCE_SLOT * 2 - Duration::from_millis(1);
    assert!(nonces().accepts(&nonce, slot_start()));
    assert!(nonces().accepts(&nonce, slot_start().saturating_add(almost_two)));
    assert!(!nonces().accepts(&nonce, slot_start().saturating_add(NONCE_SLOT * 2)));
    assert!(!nonces().accepts(&nonce, slot_start().saturating_sub(Duration::from_millis(1))));
}

#[test]
fn is_the_same_for_the_whole_slot_and_every_broker() {
    let late = slot_start().saturating_add(Duration::from_secs(59));
    assert_eq!(nonces().issue(slot_start()), nonces().issue(late));
}

#[test]
fn survives_one_rotation_of_the_key() {
    let (old, new, newer) = (NonceKey::new([1; 32]), NonceKey::new([2; 32]), NonceKey::new([3; 32]));
    let nonce = NonceKeys::new(old.clone(), None).issue(NOW);
    assert!(NonceKeys::new(new.clone(), Some(old)).accepts(&nonce, NOW));
    assert!(!NonceKeys::new(newer, Some(new)).accepts(&nonce, NOW));
}

#[test]
fn refuses_everything_else() {
    let nonce = nonces().issue(NOW);
    let padded = format!("{nonce}=");
    let flipped = format!("{}{}", if nonce.starts_with('A') { 'B' } else { 'A' }, &nonce[1..]);
    for bad in ["", "nonce", &nonce[..42], &padded, &flipped] {
        assert!(!nonces().accepts(bad, NOW), "{bad}");
    }
}

#[test]
fn key_prints_no_secret() {
    assert!(!format!("{:?}", nonces()).contains('1'));
}
