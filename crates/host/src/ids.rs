//! Asks every configured name service about names and ids, and finds free ids for our own groups.

use std::collections::BTreeSet;

use usher_account_lifecycle::{Interest, observed::Directory};

use crate::AccountFiles;

/// Our own groups and the hop account get ids from here, best first.
const SYSTEM_IDS: std::ops::RangeInclusive<u32> = 200..=999;

/// As many as three groups need, and some to choose from.
const WANTED: usize = 6;

/// What services other than the local files know of the names and ids in `interest`.
pub(crate) fn directory(interest: &Interest, local: &AccountFiles) -> Directory {
    let mut directory = Directory::default();
    for name in interest.names.iter().map(|name| name.as_str()) {
        if !local.users.contains_key(name) && uzers::get_user_by_name(name).is_some() {
            directory.users.insert(name.to_owned());
        }
        if !local.groups.contains_key(name) && uzers::get_group_by_name(name).is_some() {
            directory.groups.insert(name.to_owned());
        }
    }
    let local_uids: BTreeSet<u32> = local.users.values().map(|user| user.uid).collect();
    for uid in interest.uids.difference(&local_uids) {
        if let Some(user) = uzers::get_user_by_uid(*uid) {
            directory.uids.insert(*uid, user.name().to_string_lossy().into_owned());
        }
    }
    let local_gids: BTreeSet<u32> = local.groups.values().map(|group| group.gid).collect();
    for gid in interest.gids.difference(&local_gids) {
        if let Some(group) = uzers::get_group_by_gid(*gid) {
            directory.gids.insert(*gid, group.name().to_string_lossy().into_owned());
        }
    }
    directory
}

/// Ids below 1000 that no account and no group has, local or not.
pub(crate) fn free_system_ids(local: &AccountFiles) -> Vec<u32> {
    let users = local.users.values().flat_map(|user| [user.uid, user.gid]);
    let used: BTreeSet<u32> = users.chain(local.groups.values().map(|group| group.gid)).collect();
    let free = |id: &u32| {
        !used.contains(id) && uzers::get_user_by_uid(*id).is_none() && uzers::get_group_by_gid(*id).is_none()
    };
    SYSTEM_IDS.rev().filter(free).take(WANTED).collect()
}
