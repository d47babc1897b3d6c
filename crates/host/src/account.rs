//! Accounts and groups, made and deleted by the system's own tools; the account files say afterwards whether it worked.

use std::{collections::BTreeSet, time::Duration};

use usher_account_lifecycle::{
    HOME_BASE, HOP_HOME,
    account::{Shell, UnixName},
};

use crate::{
    AccountFiles, HostError,
    clock::{Deadline, pause},
    exec::{Tool, run},
};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Other tools hold the lock on the account files for milliseconds; a lock that a crash left behind stays.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// `gpasswd -M` takes all members as one argument; Linux takes at most 128 KiB in one.
const MAX_MEMBER_LIST: usize = 100_000;

/// Runs one of the account tools; waits for the lock on the account files.
fn tool(tool: Tool, arguments: &[&str]) -> Result<(), HostError> {
    let deadline = Deadline::after(LOCK_PATIENCE);
    let mut wait = Duration::from_millis(50);
    loop {
        let output = run(tool, arguments, TIMEOUT)?;
        let locked = !output.success && output.stderr.contains("cannot lock");
        if !locked || deadline.left().is_none() {
            return output.checked(tool).map(|_| ());
        }
        pause(wait);
        wait = wait.saturating_mul(2).min(Duration::from_secs(1));
    }
}

fn changed(reason: String) -> HostError {
    HostError::Changed(reason)
}

/// Whether the account exists; an error when it exists with another id.
fn exists(name: &str, uid: u32) -> Result<bool, HostError> {
    match AccountFiles::read()?.users.get(name) {
        None => Ok(false),
        Some(user) if user.uid == uid => Ok(true),
        Some(user) => Err(changed(format!("`{name}` has UID {} and not {uid}", user.uid))),
    }
}

fn group_exists(name: &str, gid: u32) -> Result<bool, HostError> {
    match AccountFiles::read()?.groups.get(name) {
        None => Ok(false),
        Some(group) if group.gid == gid => Ok(true),
        Some(group) => Err(changed(format!("group `{name}` has GID {} and not {gid}", group.gid))),
    }
}

pub(crate) fn create_group(name: &UnixName, gid: u32) -> Result<(), HostError> {
    if group_exists(name.as_str(), gid)? {
        return Ok(());
    }
    tool(Tool::Groupadd, &["--gid", &gid.to_string(), name.as_str()])?;
    if group_exists(name.as_str(), gid)? {
        Ok(())
    } else {
        Err(changed(format!("group `{name}` was not made")))
    }
}

/// Makes an account without a home; `*` in the shadow file fits no password and does not lock out keys.
pub(crate) fn create_user(
    name: &UnixName,
    (uid, gid): (u32, u32),
    gecos: &str,
    shell: &Shell,
    groups: &BTreeSet<UnixName>,
) -> Result<(), HostError> {
    if exists(name.as_str(), uid)? {
        return Ok(());
    }
    let home = if *name == UnixName::hop() { HOP_HOME.to_owned() } else { format!("{HOME_BASE}/{name}") };
    let groups = groups.iter().map(UnixName::as_str).collect::<Vec<_>>().join(",");
    let (uid_text, gid_text) = (uid.to_string(), gid.to_string());
    let mut arguments = vec!["--uid", &uid_text, "--gid", &gid_text, "--home-dir", &home, "--no-create-home"];
    arguments.extend(["--no-log-init", "--shell", shell.as_str(), "--comment", gecos, "--password", "*"]);
    if *name == UnixName::hop() {
        arguments.push("--system");
    }
    if !groups.is_empty() {
        arguments.extend(["--groups", &groups]);
    }
    arguments.push(name.as_str());
    tool(Tool::Useradd, &arguments)?;
    if exists(name.as_str(), uid)? { Ok(()) } else { Err(changed(format!("`{name}` was not made"))) }
}

/// Runs `usermod` on an account that must exist with this id.
fn modify(name: &UnixName, uid: u32, arguments: &[&str]) -> Result<(), HostError> {
    if !exists(name.as_str(), uid)? {
        return Err(changed(format!("`{name}` is gone")));
    }
    tool(Tool::Usermod, &[arguments, &[name.as_str()]].concat())
}

pub(crate) fn update_user(name: &UnixName, uid: u32, gecos: &str, shell: &Shell) -> Result<(), HostError> {
    modify(name, uid, &["--comment", gecos, "--shell", shell.as_str()])
}

/// `!*` and expired: PAM's account phase then refuses every kind of login, certificates too.
pub(crate) fn lock_user(name: &UnixName, uid: u32) -> Result<(), HostError> {
    modify(name, uid, &["--password", "!*", "--expiredate", "1"])
}

pub(crate) fn unlock_user(name: &UnixName, uid: u32) -> Result<(), HostError> {
    modify(name, uid, &["--password", "*", "--expiredate", ""])
}

/// Without `--remove`: the home stays.
pub(crate) fn delete_user(name: &UnixName, uid: u32) -> Result<(), HostError> {
    if !exists(name.as_str(), uid)? {
        return Ok(());
    }
    tool(Tool::Userdel, &[name.as_str()])?;
    if exists(name.as_str(), uid)? { Err(changed(format!("`{name}` was not deleted"))) } else { Ok(()) }
}

pub(crate) fn delete_group(name: &UnixName, gid: u32) -> Result<(), HostError> {
    if !group_exists(name.as_str(), gid)? {
        return Ok(());
    }
    tool(Tool::Groupdel, &[name.as_str()])
}

/// Accounts that could not be made are left out: one of them must not keep the others out of the group.
pub(crate) fn set_members(group: &UnixName, gid: u32, members: &BTreeSet<UnixName>) -> Result<(), HostError> {
    if !group_exists(group.as_str(), gid)? {
        return Err(changed(format!("group `{group}` is gone")));
    }
    let files = AccountFiles::read()?;
    let wanted: BTreeSet<&str> =
        members.iter().map(UnixName::as_str).filter(|name| files.users.contains_key(*name)).collect();
    let list = wanted.iter().copied().collect::<Vec<_>>().join(",");
    if list.len() <= MAX_MEMBER_LIST {
        return tool(Tool::Gpasswd, &["--members", &list, group.as_str()]);
    }
    let have: BTreeSet<&str> = files
        .groups
        .get(group.as_str())
        .map(|line| line.members.iter().map(String::as_str).collect())
        .unwrap_or_default();
    for name in have.difference(&wanted) {
        tool(Tool::Gpasswd, &["--delete", name, group.as_str()])?;
    }
    for name in wanted.difference(&have) {
        tool(Tool::Gpasswd, &["--add", name, group.as_str()])?;
    }
    Ok(())
}

/// The account that the agent's network process runs as. It owns the agent's key and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceUser {
    /// User id.
    pub uid: u32,
    /// Id of its own group.
    pub gid: u32,
}

impl ServiceUser {
    /// Its name; also its group's.
    pub const NAME: &'static str = "usher-agent";

    /// The account, when it exists.
    ///
    /// # Errors
    /// [`HostError::Unsafe`] when it is an account that people or root can use.
    pub fn find() -> Result<Option<Self>, HostError> {
        let files = AccountFiles::read()?;
        let Some(user) = files.users.get(Self::NAME) else { return Ok(None) };
        let shell = user.shell.rsplit('/').next().unwrap_or_default();
        if user.uid == 0 || user.uid >= 1000 || !matches!(shell, "nologin" | "false") {
            let reason = "it must be a system account without a login shell";
            return Err(HostError::not_safe(format!("user {}", Self::NAME), reason));
        }
        Ok(Some(Self { uid: user.uid, gid: user.gid }))
    }

    /// The account, made when it is missing.
    ///
    /// # Errors
    /// [`HostError`] when it cannot be made.
    pub fn ensure(home: &str) -> Result<Self, HostError> {
        if let Some(user) = Self::find()? {
            return Ok(user);
        }
        let mut arguments =
            vec!["--system", "--user-group", "--no-create-home", "--home-dir", home, "--no-log-init"];
        arguments.extend([
            "--shell",
            "/usr/sbin/nologin",
            "--password",
            "*",
            "--comment",
            "Usher agent",
            Self::NAME,
        ]);
        tool(Tool::Useradd, &arguments)?;
        Self::find()?.ok_or_else(|| changed(format!("`{}` was not made", Self::NAME)))
    }
}
