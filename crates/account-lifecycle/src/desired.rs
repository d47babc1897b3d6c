//! Desired state in the form a plan is made from: documents joined, names checked, file contents rendered.

use std::collections::{BTreeMap, BTreeSet};

use usher_types::{Principal, ServerId};

use crate::{
    account::{AdminSudo, PortForwarding, Shell, UnixName},
    plan::{Conflict, ConflictKind},
    render,
    state::{RefusedEntry, Role, ServerDocument, StateDocument},
};

/// What a host should look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// People's accounts.
    pub users: BTreeMap<UnixName, DesiredUser>,
    /// Project groups.
    pub groups: BTreeMap<UnixName, DesiredGroup>,
    /// Whether administrators get sudo at all.
    pub sudo: Sudo,
    /// What sshd forwards for managed accounts at most.
    pub port_forwarding: PortForwarding,
    /// Content of the user CA file.
    pub user_ca: String,
    /// Content of the hop account's principals file, on bastions.
    pub hop: Option<String>,
    /// Whether nobody at all gets in, through the hop account neither.
    pub locked: bool,
    /// Names whose entries could not be read: neither made nor removed.
    pub untouched: BTreeSet<String>,
    /// What is wrong with the documents themselves.
    pub conflicts: Vec<Conflict>,
}

/// An account to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredUser {
    /// User id.
    pub uid: u32,
    /// Id of the private group.
    pub gid: u32,
    /// What the person is called.
    pub gecos: String,
    /// Login shell.
    pub shell: Shell,
    /// Whether it may use sudo.
    pub admin: bool,
    /// Content of its principals file.
    pub principals: String,
    /// Whether nobody gets in: the account stays, without principals, sudo and sessions.
    pub locked: bool,
}

/// A group to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredGroup {
    /// Group id.
    pub gid: u32,
    /// Who is in it.
    pub members: BTreeSet<UnixName>,
}

/// Whether administrators get sudo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sudo {
    /// No.
    #[default]
    None,
    /// Any command without a password.
    Passwordless,
}

impl Desired {
    /// Joins the project's document and the server's own.
    #[must_use]
    pub fn new(project: &StateDocument, refused: &[RefusedEntry], server: &ServerDocument) -> Self {
        let mut desired = Self { locked: project.locked || server.locked, ..Self::default() };
        desired.refuse(refused);
        desired.take_users(project, server.server.id);
        for (name, group) in &project.groups {
            let name = UnixName::from(name);
            let members = group.members.iter().map(UnixName::from).collect();
            if desired.users.contains_key(&name) {
                let reason = "a user of the project has the same name".to_owned();
                desired.conflicts.push(Conflict::new(ConflictKind::Group, name.as_str(), reason));
                desired.untouched.insert(name.to_string());
            } else {
                desired.groups.insert(name, DesiredGroup { gid: group.gid, members });
            }
        }
        desired.drop_shared_ids();
        let (user_ca, bad) = render::user_ca(&project.ssh_user_ca);
        desired.user_ca = user_ca;
        if bad > 0 {
            let reason = format!("{bad} of the project's user CA keys cannot be read and are left out");
            desired.conflicts.push(Conflict::new(ConflictKind::Sshd, "user_ca.pub", reason));
        }
        desired.port_forwarding = project.port_forwarding;
        desired.sudo = match project.admin_sudo {
            AdminSudo::Passwordless => Sudo::Passwordless,
            AdminSudo::StepUp => {
                let reason =
                    "this agent cannot ask for an approval yet, so administrators get no sudo".to_owned();
                desired.conflicts.push(Conflict::new(ConflictKind::Sudoers, "step-up", reason));
                Sudo::None
            }
        };
        desired.hop = match server.role {
            Role::Bastion => Some(render::hop_principals(server.server.id, &server.hops)),
            Role::Target => None,
        };
        desired
    }

    /// Whether an account is one that nobody may get into for now.
    #[must_use]
    pub fn is_locked(&self, name: &UnixName) -> bool {
        self.locked || self.users.get(name).is_some_and(|user| user.locked)
    }

    fn refuse(&mut self, refused: &[RefusedEntry]) {
        for entry in refused {
            let kind = if entry.group { ConflictKind::Group } else { ConflictKind::User };
            self.conflicts.push(Conflict::new(kind, &entry.name, entry.reason.clone()));
            self.untouched.insert(entry.name.clone());
        }
    }

    fn take_users(&mut self, project: &StateDocument, server: ServerId) {
        for (login, user) in &project.users {
            let desired = DesiredUser {
                uid: user.uid,
                gid: user.gid,
                gecos: user.gecos.to_string(),
                shell: user.shell.clone(),
                admin: user.admin,
                locked: user.locked,
                principals: render::principals(&Principal::login(login, server)),
            };
            self.users.insert(UnixName::from(login), desired);
        }
    }

    /// Two names with one id would be one account to the kernel: neither is made.
    fn drop_shared_ids(&mut self) {
        let mut uids: BTreeMap<u32, Vec<UnixName>> = BTreeMap::new();
        let mut gids: BTreeMap<u32, Vec<UnixName>> = BTreeMap::new();
        for (name, user) in &self.users {
            uids.entry(user.uid).or_default().push(name.clone());
            gids.entry(user.gid).or_default().push(name.clone());
        }
        for (name, group) in &self.groups {
            gids.entry(group.gid).or_default().push(name.clone());
        }
        let shared = |ids: BTreeMap<u32, Vec<UnixName>>, what: &'static str| {
            let clashes = ids.into_iter().filter(|(_, names)| names.len() > 1);
            clashes
                .flat_map(move |(id, names)| names.into_iter().map(move |name| (name, what, id)))
                .collect::<Vec<_>>()
        };
        for (name, what, id) in shared(uids, "UID").into_iter().chain(shared(gids, "GID")) {
            let was_user = self.users.remove(&name).is_some();
            self.groups.remove(&name);
            let kind = if was_user { ConflictKind::User } else { ConflictKind::Group };
            let reason = format!("desired state gives {what} {id} to more than one name");
            self.conflicts.push(Conflict::new(kind, name.as_str(), reason));
            self.untouched.insert(name.to_string());
        }
    }
}
