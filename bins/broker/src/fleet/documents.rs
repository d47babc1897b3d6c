//! Lays out desired state: rows in, documents out. Pure; nothing is signed or stored here.

use std::{collections::BTreeMap, net::SocketAddr};

use usher_account_lifecycle::{
    account::{AdminSudo, PortForwarding, Shell},
    state::{
        EncodeError, GroupEntry, HopEntry, ProjectRef, Role, ServerDocument, ServerRef, StateDocument,
        StateKey, UserEntry, VERSION,
    },
};
use usher_store::{
    ServerRole,
    desired::{ProjectState, Reached, ServerPlace},
};
use usher_types::Sha256;

/// What does not come from the project's rows.
pub(super) struct TeamKeys {
    /// Public keys of the project's SSH user CAs.
    pub(super) ssh_user_ca: Vec<String>,
    /// Certificates of its X.509 CAs: DER in base64.
    pub(super) x509_ca: Vec<String>,
    /// Keys that sign desired state.
    pub(super) state_keys: Vec<StateKey>,
    /// Pins of the TLS roots.
    pub(super) pins: Vec<Sha256>,
}

/// The document of a project.
pub(super) fn of_project(project: &ProjectState, keys: TeamKeys) -> Result<String, EncodeError> {
    let users = project.accounts.iter().map(|account| {
        let entry = UserEntry {
            id: account.user_id,
            uid: account.uid,
            gid: account.gid,
            gecos: account.display_name.clone(),
            shell: Shell::bash(),
            admin: account.admin,
            locked: account.locked,
        };
        (account.login.clone(), entry)
    });
    let groups = project
        .groups
        .iter()
        .map(|group| (group.name.clone(), GroupEntry { gid: group.gid, members: group.members.clone() }));
    StateDocument {
        v: VERSION,
        project: ProjectRef { id: project.id, slug: project.slug.clone() },
        ssh_user_ca: keys.ssh_user_ca,
        x509_ca: keys.x509_ca,
        locked: project.locked,
        admin_sudo: match project.admin_sudo {
            usher_store::AdminSudo::Passwordless => AdminSudo::Passwordless,
        },
        // Off needs nothing of sshd: then no certificate allows forwarding.
        port_forwarding: match project.port_forwarding {
            usher_store::PortForwarding::All => PortForwarding::All,
            usher_store::PortForwarding::Local | usher_store::PortForwarding::Off => PortForwarding::Local,
        },
        users: users.collect(),
        groups: groups.collect(),
        state_keys: keys.state_keys,
        pins: keys.pins,
    }
    .encode()
}

/// The document of one server. A bastion forwards to every server that is reached through its group, which may be a
/// bastion itself.
pub(super) fn of_server(server: &ServerPlace, reached: &[Reached]) -> Result<String, EncodeError> {
    let (role, hops) = match (server.role, &server.bastion_group) {
        (ServerRole::Bastion, Some(group)) => {
            let mine = reached.iter().filter(|next| next.via == *group && next.id != server.id);
            let hops = mine.filter_map(|next| Some((next.id, hop(&next.addresses)?))).collect();
            (Role::Bastion, hops)
        }
        (ServerRole::Bastion, None) => (Role::Bastion, BTreeMap::new()),
        (ServerRole::Target, _) => (Role::Target, BTreeMap::new()),
    };
    ServerDocument {
        v: VERSION,
        server: ServerRef { id: server.id, name: server.name.clone() },
        role,
        hops,
        locked: server.locked,
    }
    .encode()
}

/// One port per server, which all these addresses have.
fn hop(addresses: &[SocketAddr]) -> Option<HopEntry> {
    let port = addresses.first()?.port();
    Some(HopEntry { addresses: addresses.iter().map(SocketAddr::ip).collect(), port })
}

#[cfg(test)]
mod tests {
    use usher_store::{
        AdminSudo, PortForwarding, ServerRole,
        desired::{Account, ProjectState, Reached, ServerPlace, UnixGroup},
    };
    use usher_types::{ProjectId, ServerId, Sha256, UnixTime, UserId};

    use super::{TeamKeys, of_project, of_server};

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn server(number: u8) -> ServerId {
        ServerId::new(NOW, [number; 10])
    }

    /// Agents compare hashes of these bytes: another order of fields would be a new generation for every server.
    #[test]
    fn the_project_document_is_these_bytes() {
        let (project, user) = (ProjectId::new(NOW, [1; 10]), UserId::new(NOW, [2; 10]));
        let state = ProjectState {
            id: project,
            slug: "shop".parse().unwrap(),
            admin_sudo: AdminSudo::Passwordless,
            port_forwarding: PortForwarding::Local,
            accounts: vec![Account {
                user_id: user,
                login: "alice".parse().unwrap(),
                uid: 60_001,
                gid: 63_002,
                display_name: "Alice".parse().unwrap(),
                admin: true,
                locked: false,
            }],
            groups: vec![UnixGroup {
                name: "sre".parse().unwrap(),
                gid: 63_001,
                members: ["alice".parse().unwrap()].into(),
            }],
            locked: false,
        };
        let pin = Sha256::of(b"spki");
        let keys = || TeamKeys {
            ssh_user_ca: vec!["ssh-ed25519 AAAA".to_owned()],
            x509_ca: vec![],
            state_keys: vec![],
            pins: vec![pin],
        };
        let expected = format!(
            r#"{{"v":1,"project":{{"id":"{project}","slug":"shop"}},"ssh_user_ca":["ssh-ed25519 AAAA"],"admin_sudo":"passwordless","users":{{"alice":{{"id":"{user}","uid":60001,"gid":63002,"gecos":"Alice","shell":"/bin/bash","admin":true}}}},"groups":{{"sre":{{"gid":63001,"members":["alice"]}}}},"state_keys":[],"pins":["{pin}"]}}"#
        );
        assert_eq!(of_project(&state, keys()).unwrap(), expected);
        // Said only where it is another: all other projects keep their generation.
        let open = ProjectState { port_forwarding: PortForwarding::All, ..state };
        let expected = expected
            .replace(r#""passwordless","users""#, r#""passwordless","port_forwarding":"all","users""#);
        assert_eq!(of_project(&open, keys()).unwrap(), expected);
    }

    #[test]
    fn a_bastion_forwards_to_what_is_reached_through_its_group() {
        let reached = |number, via: &str, addresses: &[&str]| Reached {
            id: server(number),
            via: via.parse().unwrap(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        };
        let all = [
            reached(1, "edge", &["10.0.0.1:22"]),
            reached(2, "edge", &["10.0.0.2:2222", "[2001:db8::2]:2222"]),
            reached(3, "other", &["10.0.0.4:22"]),
        ];
        let bastion = ServerPlace {
            id: server(9),
            name: "edge-1".parse().unwrap(),
            role: ServerRole::Bastion,
            bastion_group: Some("edge".parse().unwrap()),
            locked: false,
        };
        let (own, one, two) = (server(9), server(1), server(2));
        let expected = format!(
            r#"{{"v":1,"server":{{"id":"{own}","name":"edge-1"}},"role":"bastion","hops":{{"{one}":{{"addresses":["10.0.0.1"],"port":22}},"{two}":{{"addresses":["10.0.0.2","2001:db8::2"],"port":2222}}}}}}"#
        );
        assert_eq!(of_server(&bastion, &all).unwrap(), expected);
        let target = ServerPlace { role: ServerRole::Target, bastion_group: None, ..bastion };
        let expected =
            format!(r#"{{"v":1,"server":{{"id":"{own}","name":"edge-1"}},"role":"target","hops":{{}}}}"#);
        assert_eq!(of_server(&target, &all).unwrap(), expected);
    }
}
