//! `usher-agent discover`: what accounts and ids a host has, and what would be in the way. Reads only; needs no enrollment.

use serde::Serialize;
use usher_account_lifecycle::{
    allocate::{is_assignable_gid, is_assignable_uid},
    observed::{SshdSupport, SudoSupport},
};
use usher_host::{Survey, survey};

use crate::{
    exit::Failure,
    output::{self, Format, clean},
};

/// What to compare with.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// First UID that the project gives
    #[arg(long, default_value_t = 60_001, value_name = "UID")]
    uid_from: u32,
    /// First GID that the project gives
    #[arg(long, default_value_t = 63_001, value_name = "GID")]
    gid_from: u32,
    /// How many of each to look at
    #[arg(long, default_value_t = 1000, value_name = "N")]
    count: u32,
}

#[derive(Serialize)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
    shell: String,
}

#[derive(Serialize)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

#[derive(Serialize)]
struct Found {
    v: u32,
    /// Accounts of people: UIDs that a project could give.
    accounts: Vec<Account>,
    groups: Vec<Group>,
    /// What would be in the way of a project that gives ids from the start of the ranges.
    conflicts: Vec<String>,
}

pub(crate) fn run(arguments: Arguments, format: Format) -> Result<(), Failure> {
    let survey = survey()?;
    let found = Found {
        v: 1,
        accounts: accounts(&survey),
        groups: groups(&survey),
        conflicts: conflicts(&survey, arguments),
    };
    match format {
        Format::Json => output::json(&found),
        Format::Text => output::print(&text(&found)),
    }
}

fn accounts(survey: &Survey) -> Vec<Account> {
    let people = survey.accounts.users.iter().filter(|(_, user)| is_assignable_uid(user.uid));
    let account = |(name, user): (&String, &usher_host::UserLine)| Account {
        name: name.clone(),
        uid: user.uid,
        gid: user.gid,
        home: user.home.clone(),
        shell: user.shell.clone(),
    };
    people.map(account).collect()
}

fn groups(survey: &Survey) -> Vec<Group> {
    let groups = survey.accounts.groups.iter().filter(|(_, group)| is_assignable_gid(group.gid));
    groups
        .map(|(name, group)| Group {
            name: name.clone(),
            gid: group.gid,
            members: group.members.iter().cloned().collect(),
        })
        .collect()
}

fn conflicts(survey: &Survey, arguments: Arguments) -> Vec<String> {
    let uids = arguments.uid_from..=arguments.uid_from.saturating_add(arguments.count.saturating_sub(1));
    let gids = arguments.gid_from..=arguments.gid_from.saturating_add(arguments.count.saturating_sub(1));
    let mut conflicts = Vec::new();
    for (name, user) in survey.accounts.users.iter().filter(|(_, user)| uids.contains(&user.uid)) {
        conflicts.push(format!("UID {} belongs to `{name}`", user.uid));
    }
    for (name, group) in survey.accounts.groups.iter().filter(|(_, group)| gids.contains(&group.gid)) {
        conflicts.push(format!("GID {} belongs to the group `{name}`", group.gid));
    }
    for range in &survey.subordinate_ids {
        if range.start() <= uids.end() && uids.start() <= range.end() {
            conflicts.push(format!(
                "UIDs {} to {} are given to containers (/etc/subuid, /etc/subgid)",
                range.start(),
                range.end()
            ));
        }
    }
    if survey.systemd && *uids.start() <= 60_577 && *uids.end() >= 60_001 {
        conflicts.push(
            "UIDs 60001 to 60577 may be used by systemd-homed and systemd-nspawn, if this host uses them"
                .to_owned(),
        );
    }
    if survey.systemd && *gids.start() <= 65_519 && *gids.end() >= 61_184 {
        conflicts.push(
            "GIDs 61184 to 65519 may be used by systemd's dynamic users while such services run".to_owned(),
        );
    }
    for name in ["usher-managed", "usher-admin"] {
        if let Some(group) = survey.accounts.groups.get(name).filter(|_| !survey.has_ownership_record) {
            conflicts.push(format!(
                "the group `{name}` exists (GID {}) and was not made by this agent",
                group.gid
            ));
        }
    }
    if let SshdSupport::Unsupported(reason) = &survey.sshd {
        conflicts.push(format!("sshd: {reason}"));
    }
    if let SudoSupport::Unsupported(reason) = &survey.sudo {
        conflicts.push(format!("sudo: {reason}"));
    }
    conflicts
}

fn text(found: &Found) -> String {
    let mut lines = vec![format!("{} accounts of people", found.accounts.len())];
    for account in &found.accounts {
        lines.push(format!(
            "  {:<32} {:>10} {:>10}  {}",
            clean(&account.name),
            account.uid,
            account.gid,
            clean(&account.home)
        ));
    }
    lines.push(format!("{} groups", found.groups.len()));
    for group in &found.groups {
        lines.push(format!(
            "  {:<32} {:>10}  {}",
            clean(&group.name),
            group.gid,
            clean(&group.members.join(","))
        ));
    }
    lines.push(format!("{} conflicts", found.conflicts.len()));
    lines.extend(found.conflicts.iter().map(|conflict| format!("  {}", clean(conflict))));
    lines.push(String::new());
    lines.join("\n")
}
