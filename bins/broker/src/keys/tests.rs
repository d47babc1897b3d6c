//! Which key signs for whom, whatever order things happen in.

use std::collections::BTreeSet;

use proptest::prelude::*;
use usher_types::Sha256;

use super::signing_for;

/// What can happen to a project and one of its servers.
#[derive(Clone, Copy, Debug)]
enum Happens {
    /// A new key is put beside the others.
    Rotate,
    /// The server brings its file to what the project says at that moment, and reports it.
    Report,
    /// The agent restarts and does not know yet.
    Silence,
    /// All but the newest key are retired: when the server knows the newest, or it is left behind.
    Retire { leave_behind: bool },
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        Just(Happens::Rotate),
        Just(Happens::Report),
        Just(Happens::Silence),
        any::<bool>().prop_map(|leave_behind| Happens::Retire { leave_behind }),
    ]
}

fn key(number: u8) -> Sha256 {
    Sha256::of(&[number])
}

proptest! {
    #[test]
    fn nobody_gets_a_certificate_of_a_key_it_does_not_trust_while_it_trusts_another(
        steps in prop::collection::vec(happens(), 0..40),
    ) {
        let (mut active, mut next) = (vec![key(0)], 1_u8);
        let mut trusted: Option<BTreeSet<Sha256>> = None;
        for step in steps {
            match step {
                Happens::Rotate => {
                    active.insert(0, key(next));
                    next += 1;
                }
                Happens::Report => trusted = Some(active.iter().copied().collect()),
                Happens::Silence => {}
                Happens::Retire { leave_behind } => {
                    let knows = trusted.as_ref().is_some_and(|trusted| trusted.contains(&active[0]));
                    if knows || leave_behind {
                        active.truncate(1);
                    }
                }
            }
            let signing = *signing_for(&active, trusted.as_ref(), |key| *key).unwrap();
            prop_assert!(active.contains(&signing), "never a retired key");
            let known: BTreeSet<_> = trusted.iter().flatten().filter(|key| active.contains(key)).collect();
            prop_assert!(known.is_empty() || known.contains(&signing));
            let newest_known = active.iter().find(|key| known.contains(key));
            prop_assert_eq!(signing, *newest_known.or_else(|| active.last()).unwrap());
        }
    }
}
