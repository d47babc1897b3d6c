//! Which signature belongs to what the log knows. The log knows intervals: between two moments so many were asked for, and
//! so many were certainly given. Signatures are put into intervals that end soonest, which leaves as few over as can be.

use std::collections::BTreeMap;

use usher_types::UnixTime;

use super::cloudtrail::Signed;

/// What a broker asked a key for between two moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) begin: UnixTime,
    pub(super) end: UnixTime,
    /// When it was written down.
    pub(super) at: UnixTime,
    /// Requests that may have been executed.
    pub(super) sent: u64,
    /// Those that certainly were.
    pub(super) made: u64,
}

/// See [`matched`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matched {
    /// Signatures that nothing accounts for, by their place.
    pub(super) left: Vec<usize>,
    /// Signatures that were certainly given and are not there: when that was written down, and how many.
    pub(super) missing: Vec<(UnixTime, u64)>,
}

/// An interval, and how many signatures are in it.
struct Slot<'a> {
    asked: &'a Asked,
    taken: u64,
}

/// Puts `signatures`, oldest first, into what was asked for.
pub(super) fn matched(signatures: &[Signed], asked: &[Asked], allowed: impl Fn(&Signed) -> bool) -> Matched {
    let mut slots: Vec<Slot<'_>> = asked.iter().map(|asked| Slot { asked, taken: 0 }).collect();
    slots.sort_by_key(|slot| slot.asked.begin);
    let mut result = Matched::default();
    let mut waiting = slots.iter_mut().enumerate().peekable();
    // Those that have begun and have room, by their end.
    let mut open = BTreeMap::new();
    for (index, signature) in signatures.iter().enumerate() {
        while let Some((number, slot)) = waiting.next_if(|(_, slot)| slot.asked.begin <= signature.at) {
            open.insert((slot.asked.end, number), slot);
        }
        open.retain(|(end, _), slot| signature.at <= *end && slot.taken < slot.asked.sent);
        match open.first_entry().filter(|_| allowed(signature)) {
            Some(mut entry) => entry.get_mut().taken = entry.get().taken.saturating_add(1),
            None => result.left.push(index),
        }
    }
    drop(open);
    // A request that got no answer may be in the place of one that did.
    let surplus = |slot: &Slot<'_>| slot.taken.saturating_sub(slot.asked.made);
    let mut instead = slots.iter().map(surplus).fold(0_u64, u64::saturating_add);
    for slot in &slots {
        let lacks = slot.asked.made.saturating_sub(slot.taken);
        let missing = lacks.saturating_sub(instead);
        instead = instead.saturating_sub(lacks);
        if missing > 0 {
            result.missing.push((slot.asked.at, missing));
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use usher_testkit::NOW;

    use super::*;

    fn at(seconds: i64) -> UnixTime {
        UnixTime::from_millis(NOW.as_millis() + seconds * 1000)
    }

    fn asked(begin: i64, end: i64, sent: u64, made: u64) -> Asked {
        Asked { begin: at(begin), end: at(end), at: at(end), sent, made }
    }

    fn signed(times: &[i64]) -> Vec<Signed> {
        let text = || String::new();
        let one = |time: &i64| Signed { at: at(*time), request: text(), caller: text(), address: text() };
        times.iter().map(one).collect()
    }

    fn check(times: &[i64], asked: &[Asked], left: &[usize], missing: &[(UnixTime, u64)]) {
        let found = matched(&signed(times), asked, |_| true);
        assert_eq!((found.left.as_slice(), found.missing.as_slice()), (left, missing));
    }

    #[test]
    fn as_many_as_were_asked_for_are_explained_and_one_more_is_left() {
        check(&[1, 2, 3], &[asked(0, 60, 3, 3)], &[], &[]);
        check(&[1, 2, 3, 4], &[asked(0, 60, 3, 3)], &[3], &[]);
        check(&[1], &[], &[0], &[]);
    }

    #[test]
    fn a_request_without_an_answer_may_have_been_executed_or_not() {
        for times in [&[1, 2][..], &[1, 2, 3]] {
            check(times, &[asked(0, 60, 3, 2)], &[], &[]);
        }
        check(&[1, 2, 3, 4], &[asked(0, 60, 3, 2)], &[3], &[]);
        check(&[1], &[asked(0, 60, 3, 2)], &[], &[(at(60), 1)]);
    }

    /// Otherwise the long one would take what only the short one could have taken.
    #[test]
    fn what_ends_soonest_is_filled_first() {
        check(&[1, 50], &[asked(0, 60, 1, 1), asked(0, 10, 1, 1)], &[], &[]);
    }

    #[test]
    fn a_signature_outside_of_every_interval_is_left() {
        check(&[-1, 61], &[asked(0, 60, 2, 2)], &[0, 1], &[(at(60), 2)]);
        check(&[5, 30], &[asked(0, 10, 9, 1), asked(20, 25, 9, 0)], &[1], &[]);
    }

    #[test]
    fn an_answer_in_the_place_of_another_is_not_missing() {
        check(&[1, 2, 3], &[asked(0, 60, 2, 1), asked(0, 61, 2, 2)], &[], &[]);
    }

    #[test]
    fn who_may_not_sign_is_left_whatever_was_asked_for() {
        let found = matched(&signed(&[1]), &[asked(0, 60, 1, 0)], |_| false);
        assert_eq!(found.left, [0]);
    }
}
