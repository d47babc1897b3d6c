//! Reads `/etc/passwd`, `/etc/group`, `/etc/shadow` and the subordinate id files. The tools write them, never we.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use usher_account_lifecycle::observed::{LocalGroup, LocalUser, Password};

use crate::HostError;

/// A line of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserLine {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Free text.
    pub gecos: String,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// A line of `/etc/group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLine {
    /// Group id.
    pub gid: u32,
    /// Listed members.
    pub members: BTreeSet<String>,
}

/// The local accounts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountFiles {
    /// `/etc/passwd` by name.
    pub users: BTreeMap<String, UserLine>,
    /// `/etc/group` by name.
    pub groups: BTreeMap<String, GroupLine>,
}

fn read(path: &str) -> Result<String, HostError> {
    let bytes = std::fs::read(path).map_err(HostError::io(format!("read `{path}`")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl AccountFiles {
    /// Reads both files. Lines that are no account (comments, NIS entries) are skipped.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn read() -> Result<Self, HostError> {
        Ok(Self { users: parse_users(&read("/etc/passwd")?), groups: parse_groups(&read("/etc/group")?) })
    }

    pub(crate) fn observed_users(&self) -> Result<BTreeMap<String, LocalUser>, HostError> {
        let passwords = parse_shadow(&read("/etc/shadow")?);
        let users = self.users.iter().map(|(name, line)| {
            let user = LocalUser {
                uid: line.uid,
                gid: line.gid,
                gecos: line.gecos.clone(),
                home: line.home.clone(),
                shell: line.shell.clone(),
                password: passwords.get(name).copied().unwrap_or(Password::Other),
            };
            (name.clone(), user)
        });
        Ok(users.collect())
    }

    pub(crate) fn observed_groups(&self) -> BTreeMap<String, LocalGroup> {
        let group = |line: &GroupLine| LocalGroup { gid: line.gid, members: line.members.clone() };
        self.groups.iter().map(|(name, line)| (name.clone(), group(line))).collect()
    }
}

fn parse_users(text: &str) -> BTreeMap<String, UserLine> {
    let line = |line: &str| {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let (gecos, home, shell) = (fields.next()?, fields.next()?, fields.next().unwrap_or_default());
        let user =
            UserLine { uid, gid, gecos: gecos.to_owned(), home: home.to_owned(), shell: shell.to_owned() };
        Some((name.to_owned(), user))
    };
    text.lines().filter_map(line).collect()
}

fn parse_groups(text: &str) -> BTreeMap<String, GroupLine> {
    let line = |line: &str| {
        let mut fields = line.split(':');
        let (name, _password, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
        let members = fields.next().unwrap_or_default().split(',').filter(|member| !member.is_empty());
        Some((name.to_owned(), GroupLine { gid, members: members.map(str::to_owned).collect() }))
    };
    text.lines().filter_map(line).collect()
}

/// Locked means both: no password fits and the account has expired, so that PAM's account phase refuses keys too.
fn parse_shadow(text: &str) -> BTreeMap<String, Password> {
    let line = |line: &str| {
        let mut fields = line.split(':');
        let (name, password) = (fields.next()?, fields.next()?);
        let expired = fields.nth(5).is_some_and(|day| !day.is_empty());
        let state = match (password, expired) {
            ("*", false) => Password::Star,
            (text, true) if text.starts_with('!') => Password::Locked,
            _ => Password::Other,
        };
        Some((name.to_owned(), state))
    };
    text.lines().filter_map(line).collect()
}

/// Every range of `/etc/subuid` and `/etc/subgid`; both may be missing.
pub(crate) fn subordinate_ids() -> Vec<RangeInclusive<u32>> {
    let range = |line: &str| {
        let mut fields = line.split(':').skip(1);
        let (first, count): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (count > 0).then(|| first..=first.saturating_add(count.saturating_sub(1)))
    };
    let texts = ["/etc/subuid", "/etc/subgid"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    texts.iter().flat_map(|text| text.lines().filter_map(range)).collect()
}

#[cfg(test)]
mod tests {
    use usher_account_lifecycle::observed::Password;

    use super::{parse_groups, parse_shadow, parse_users};

    #[test]
    fn odd_lines_are_skipped() {
        let users =
            parse_users("root:x:0:0:root:/root:/bin/bash\n+::::::\n#x\n\nbad:x:y:0:::\nshort:x:5:6:g:/h\n");
        assert_eq!(users.keys().collect::<Vec<_>>(), ["root", "short"]);
        let groups = parse_groups("a:x:5:b,,c\n+:::\nd:x:6:\n");
        assert_eq!(groups["a"].members.len(), 2);
        assert!(groups["d"].members.is_empty());
    }

    #[test]
    fn locked_needs_both_the_mark_and_the_date() {
        let shadow = parse_shadow(
            "a:*:1::::::\nb:!*:1:::::1:\nc:!*:1::::::\nd:*:1:::::1:\ne:$y$x:1::::::\nf::1::::::\n",
        );
        assert_eq!(shadow["a"], Password::Star);
        assert_eq!(shadow["b"], Password::Locked);
        for name in ["c", "d", "e", "f"] {
            assert_eq!(shadow[name], Password::Other, "{name}");
        }
    }
}
