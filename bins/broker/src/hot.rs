//! What connections are decided from without asking the database: who may reach what ([`Rules`]), who asks
//! ([`Callers`]) and when it did last ([`Uses`]), and the servers on the way ([`Places`]).
//!
//! Everything here is remembered with the epoch that it was read at and may be old. That costs nobody's safety: the
//! issuing transaction compares the epoch and decides again from the rows when it moved. It does say no to nobody
//! either: only an allow is taken from here, everything else is decided from the rows.

mod callers;
mod places;
mod rules;
mod uses;

use std::{collections::BTreeMap, sync::atomic::AtomicU64};

pub(crate) use self::{
    callers::{Callers, Known},
    places::{Place, Places},
    rules::{Rules, Team},
    uses::Uses,
};

/// All of it, and how often that was enough.
#[derive(Debug, Default)]
pub(crate) struct Hot {
    pub(crate) callers: Callers,
    pub(crate) places: Places,
    pub(crate) rules: Rules,
    pub(crate) uses: Uses,
    pub(crate) planned: AtomicU64,
}

/// Most entries of a cache; a full one starts anew.
const MOST: usize = 20_000;

pub(crate) fn remember<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V) {
    if map.len() >= MOST {
        map.clear();
    }
    map.insert(key, value);
}
