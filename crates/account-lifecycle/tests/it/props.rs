//! Properties over random documents, hosts and power cuts.

use std::collections::BTreeSet;

use proptest::prelude::*;
use usher_account_lifecycle::{
    Desired, Host as _, Interest, Limits, allocate, plan, plan::MassDeletion, reconcile,
};

use crate::{
    fake_host::FakeHost,
    fixtures::{desired, desired_bastion, project, user, with_group},
};

const NAMES: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];

#[derive(Clone, Debug)]
struct World {
    users: BTreeSet<usize>,
    admins: BTreeSet<usize>,
    group: Option<BTreeSet<usize>>,
    locked: BTreeSet<usize>,
    all_locked: bool,
    bastion: bool,
}

impl World {
    fn desired(&self) -> Desired {
        let mut document = project();
        document.locked = self.all_locked;
        for index in &self.users {
            let mut entry = user(u32::try_from(*index).unwrap() + 1, self.admins.contains(index));
            entry.locked = self.locked.contains(index);
            document.users.insert(NAMES[*index].parse().unwrap(), entry);
        }
        if let Some(group) = &self.group {
            let members: Vec<&str> = group.iter().map(|index| NAMES[*index]).collect();
            document = with_group(document, "developers", 63_500, &members);
        }
        if self.bastion { desired_bastion(&document) } else { desired(&document) }
    }
}

fn world() -> impl Strategy<Value = World> {
    let some = || prop::collection::btree_set(0..NAMES.len(), 0..NAMES.len());
    let worlds = (some(), some(), prop::option::of(some()), some(), prop::bool::weighted(0.1), any::<bool>());
    worlds.prop_map(|(users, admins, group, locked, all_locked, bastion)| World {
        users,
        admins,
        group,
        locked,
        all_locked,
        bastion,
    })
}

/// A host with some foreign accounts that may collide by name, UID, GID or both.
fn host() -> impl Strategy<Value = FakeHost> {
    let account = (
        0..NAMES.len() * 2,
        prop_oneof![60_000_u32..60_010, 1000_u32..1010],
        prop_oneof![63_000_u32..63_010, 1000_u32..1010],
    );
    prop::collection::vec(account, 0..5).prop_map(|accounts| {
        let mut host = FakeHost::new();
        for (name, uid, gid) in accounts {
            let name = NAMES.get(name).map_or_else(|| format!("other{name}"), ToString::to_string);
            let free = host.seen.users.values().all(|user| user.uid != uid)
                && host.seen.groups.values().all(|group| group.gid != gid);
            if free && !host.seen.users.contains_key(&name) {
                host.add_user(&name, uid, gid);
            }
        }
        host
    })
}

fn limits() -> Limits {
    Limits { mass_deletion: MassDeletion::Allow, ..Limits::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_plan_that_was_applied_leaves_nothing_to_plan(mut host in host(), worlds in prop::collection::vec(world(), 1..4)) {
        let before = host.foreign();
        for world in worlds {
            let want = world.desired();
            let outcome = reconcile(&mut host, &want, &limits()).unwrap();
            prop_assert!(outcome.is_complete(), "{:?}", outcome.failed);
            let again = reconcile(&mut host, &want, &limits()).unwrap();
            prop_assert_eq!(again.plan.steps, Vec::new());
            prop_assert_eq!(host.foreign(), before.clone());
        }
    }

    #[test]
    fn a_power_cut_at_any_step_heals(mut host in host(), first in world(), second in world(), cut in 0_usize..40) {
        let before = host.foreign();
        reconcile(&mut host, &first.desired(), &limits()).unwrap();
        host.power = Some(cut);
        reconcile(&mut host, &second.desired(), &limits()).unwrap();
        host.power = None;
        let outcome = reconcile(&mut host, &second.desired(), &limits()).unwrap();
        prop_assert!(outcome.is_complete(), "{:?}", outcome.failed);
        let again = reconcile(&mut host, &second.desired(), &limits()).unwrap();
        prop_assert_eq!(again.plan.steps, Vec::new());
        prop_assert_eq!(host.foreign(), before);
        let mut straight = FakeHost::new();
        straight.seen.users.extend(host.seen.users.clone());
        for name in second.users.iter().map(|index| NAMES[*index]) {
            let ours = host.owned.present_user(&name.parse().unwrap()).is_some();
            let open = ours && !second.desired().is_locked(&name.parse().unwrap());
            prop_assert_eq!(open, host.seen.principals.contains_key(name));
        }
    }

    #[test]
    fn whoever_is_not_desired_has_no_principals(mut host in host(), first in world(), second in world()) {
        reconcile(&mut host, &first.desired(), &limits()).unwrap();
        reconcile(&mut host, &second.desired(), &Limits::default()).unwrap();
        let want = second.desired();
        for file in host.seen.principals.keys() {
            let name = file.parse().unwrap();
            prop_assert!(want.users.contains_key(&name) || (file == "usher-hop" && want.hop.is_some()));
            prop_assert!(!want.is_locked(&name));
        }
    }

    #[test]
    fn planning_is_deterministic(host in host(), world in world()) {
        let want = world.desired();
        let observed = host.observe(&Interest::new(&want, &host.owned)).unwrap();
        let one = plan(&want, &observed, &host.owned, &limits());
        prop_assert_eq!(one, plan(&want, &observed, &host.owned, &limits()));
    }

    #[test]
    fn ids_are_never_given_twice(start in 0_u32..70_000, taken in prop::collection::btree_set(59_000_u32..66_000, 0..50)) {
        let mut next = start;
        let mut given = BTreeSet::new();
        for _ in 0..200 {
            let Ok(allocation) = allocate::uid(next, &taken) else { break };
            prop_assert!(allocation.id >= next && allocation.next > allocation.id);
            prop_assert!(!taken.contains(&allocation.id) && allocate::is_assignable_uid(allocation.id));
            prop_assert!(given.insert(allocation.id));
            next = allocation.next;
        }
    }
}
