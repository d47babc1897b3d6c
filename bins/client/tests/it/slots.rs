//! Handshake slots.

use std::collections::BTreeSet;

use usher::ssh_agent::{
    slots::{LONGEST, PER_SERVER, Slots},
    store::Handle,
};
use usher_types::UnixTime;

use crate::support::server_id;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

#[test]
fn grants_eight_per_server_and_the_next_when_one_is_back() {
    let mut slots = Slots::default();
    let tickets: Vec<_> =
        (0..20).map(|number| slots.ask(Handle(number), BTreeSet::from([server_id(1)]))).collect();
    assert_eq!(slots.grant(NOW), tickets[..PER_SERVER]);
    assert_eq!(slots.grant(NOW), []);
    slots.release(Handle(3), server_id(1));
    assert_eq!(slots.grant(NOW), [tickets[8]]);
    slots.forget(Handle(0));
    assert_eq!(slots.grant(NOW), [tickets[9]]);
    assert_eq!(slots.most(), PER_SERVER);
}

#[test]
fn takes_all_slots_of_a_route_or_none() {
    let mut slots = Slots::default();
    for number in 0..8 {
        slots.ask(Handle(number), BTreeSet::from([server_id(1)]));
    }
    slots.grant(NOW);
    let both = slots.ask(Handle(100), BTreeSet::from([server_id(1), server_id(2)]));
    let second = slots.ask(Handle(101), BTreeSet::from([server_id(2)]));
    // The one that waits for server 1 does not hold server 2 meanwhile.
    assert_eq!(slots.grant(NOW), [second]);
    slots.release(Handle(0), server_id(1));
    assert_eq!(slots.grant(NOW), [both]);
}

#[test]
fn a_stuck_handshake_does_not_stop_the_others_for_good() {
    let mut slots = Slots::default();
    for number in 0..8 {
        slots.ask(Handle(number), BTreeSet::from([server_id(1)]));
    }
    slots.grant(NOW);
    let late = slots.ask(Handle(9), BTreeSet::from([server_id(1)]));
    assert_eq!(slots.grant(NOW.saturating_add(LONGEST / 2)), []);
    assert_eq!(slots.grant(NOW.saturating_add(LONGEST)), [late]);
}

#[test]
fn whoever_stops_waiting_gets_nothing() {
    let mut slots = Slots::default();
    for number in 0..8 {
        slots.ask(Handle(number), BTreeSet::from([server_id(1)]));
    }
    slots.grant(NOW);
    let gone = slots.ask(Handle(9), BTreeSet::from([server_id(1)]));
    slots.ask(Handle(10), BTreeSet::from([server_id(1)]));
    slots.cancel(gone);
    slots.forget(Handle(10));
    slots.release(Handle(0), server_id(1));
    assert_eq!(slots.grant(NOW), []);
    assert_eq!(slots.held(), 7);
}
