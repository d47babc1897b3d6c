//! Documents and ids for tests.

use std::collections::{BTreeMap, BTreeSet};

use usher_account_lifecycle::{
    Desired,
    account::{AdminSudo, PortForwarding, Shell},
    state::{GroupEntry, HopEntry, ProjectRef, Role, ServerDocument, ServerRef, StateDocument, UserEntry},
};
use usher_types::{ProjectId, ServerId, UnixTime, UserId};

pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

pub(crate) const CA: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZ2Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFy";

pub(crate) fn server_id(seed: u8) -> ServerId {
    ServerId::new(NOW, [seed; 10])
}

pub(crate) fn project() -> StateDocument {
    StateDocument {
        v: 1,
        project: ProjectRef { id: ProjectId::new(NOW, [1; 10]), slug: "prod".parse().unwrap() },
        ssh_user_ca: vec![CA.to_owned()],
        x509_ca: Vec::new(),
        locked: false,
        admin_sudo: AdminSudo::Passwordless,
        port_forwarding: PortForwarding::Local,
        users: BTreeMap::new(),
        groups: BTreeMap::new(),
        state_keys: Vec::new(),
        pins: Vec::new(),
    }
}

pub(crate) fn server(role: Role) -> ServerDocument {
    let hop = HopEntry { addresses: BTreeSet::from(["10.0.0.5".parse().unwrap()]), port: 22 };
    let hops = match role {
        Role::Bastion => BTreeMap::from([(server_id(9), hop)]),
        Role::Target => BTreeMap::new(),
    };
    ServerDocument {
        v: 1,
        server: ServerRef { id: server_id(2), name: "web-1".parse().unwrap() },
        role,
        hops,
        locked: false,
    }
}

/// User `n`: UID 60000 + n, GID 63000 + n.
pub(crate) fn user(n: u32, admin: bool) -> UserEntry {
    UserEntry {
        id: UserId::new(NOW, [u8::try_from(n % 250).unwrap(); 10]),
        uid: 60_000 + n,
        gid: 63_000 + n,
        gecos: format!("User {n}").parse().unwrap(),
        shell: Shell::bash(),
        admin,
        locked: false,
    }
}

pub(crate) fn with_users(names: &[&str]) -> StateDocument {
    let mut document = project();
    for (index, name) in names.iter().enumerate() {
        document.users.insert(name.parse().unwrap(), user(u32::try_from(index).unwrap() + 1, index == 0));
    }
    document
}

pub(crate) fn with_group(
    mut document: StateDocument,
    name: &str,
    gid: u32,
    members: &[&str],
) -> StateDocument {
    let members = members.iter().map(|member| member.parse().unwrap()).collect();
    document.groups.insert(name.parse().unwrap(), GroupEntry { gid, members });
    document
}

pub(crate) fn desired(document: &StateDocument) -> Desired {
    Desired::new(document, &[], &server(Role::Target))
}

pub(crate) fn desired_bastion(document: &StateDocument) -> Desired {
    Desired::new(document, &[], &server(Role::Bastion))
}
