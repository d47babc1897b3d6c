//! Names that people choose, each with one canonical form and an allow-list grammar.
//!
//! The grammars are narrower than what the tools behind them accept, because those tools do not validate: Debian's
//! `useradd` takes `..`, `ALL` and `0day`, `visudo -c` takes a newline. Broker and agent both parse with these types.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::text::string_type;

/// Why a name was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{text}` cannot be a {kind}: {rule}")]
pub struct NameError {
    text: String,
    kind: &'static str,
    rule: &'static str,
}

impl NameError {
    fn new(text: &str, kind: &'static str, rule: &'static str) -> Self {
        // Control characters and anything not ASCII are shown escaped, so that a log line stays one line.
        Self { text: text.chars().take(64).flat_map(char::escape_default).collect(), kind, rule }
    }

    /// The kind of name that was expected, for example `login name`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }
}

/// What a name may consist of.
struct Grammar {
    kind: &'static str,
    rule: &'static str,
    max: usize,
    first: fn(u8) -> bool,
    rest: fn(u8) -> bool,
}

impl Grammar {
    fn check(&self, text: &str) -> Result<String, NameError> {
        let mut bytes = text.bytes();
        let good = text.len() <= self.max
            && bytes.next().is_some_and(self.first)
            && bytes.all(self.rest)
            && !text.ends_with(['-', '.']);
        if good { Ok(text.to_owned()) } else { Err(NameError::new(text, self.kind, self.rule)) }
    }
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase()
}

fn slug(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

fn unix_first(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte == b'_'
}

fn unix_rest(byte: u8) -> bool {
    slug(byte) || byte == b'_'
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn dotted(byte: u8) -> bool {
    slug(byte) || byte == b'.' || byte == b'_'
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        string_type!($name, NameError);

        impl $name {
            fn parse(text: &str) -> Result<Self, NameError> {
                let parse: fn(&str) -> Result<String, NameError> = $parse;
                parse(text).map(Self)
            }
        }
    };
}

name_type! {
    /// The team's immutable short name: `[a-z][a-z0-9-]{0,30}`. It ends host names as `<server>.<team>.usher`.
    TeamSlug, |text| Grammar {
        kind: "team name",
        rule: "use 1 to 31 characters of a-z, 0-9 and -, starting with a letter",
        max: 31, first: lower, rest: slug,
    }.check(text)
}

name_type! {
    /// A project's short name: `[a-z][a-z0-9-]{0,30}`.
    ProjectSlug, |text| Grammar {
        kind: "project name",
        rule: "use 1 to 31 characters of a-z, 0-9 and -, starting with a letter",
        max: 31, first: lower, rest: slug,
    }.check(text)
}

name_type! {
    /// A connector's name: `[a-z][a-z0-9-]{0,23}`.
    ConnectorName, |text| Grammar {
        kind: "connector name",
        rule: "use 1 to 24 characters of a-z, 0-9 and -, starting with a letter",
        max: 24, first: lower, rest: slug,
    }.check(text)
}

name_type! {
    /// What an identity provider calls a person for ever: 1 to 255 bytes, compared byte by byte, never shown as a name.
    ExternalId, |text| {
        let good = (1..=255).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control);
        if good {
            Ok(text.to_owned())
        } else {
            Err(NameError::new(text, "external id", "use 1 to 255 bytes without control characters"))
        }
    }
}

name_type! {
    /// A directory group's name: `[a-z][a-z0-9._-]{0,47}`.
    GroupName, |text| Grammar {
        kind: "group name",
        rule: "use 1 to 48 characters of a-z, 0-9, ., _ and -, starting with a letter",
        max: 48, first: lower, rest: dotted,
    }.check(text)
}

name_type! {
    /// A directory user's name: `[a-z][a-z0-9._-]{0,47}`. Not a Unix login: that is [`LoginName`].
    UserName, |text| Grammar {
        kind: "user name",
        rule: "use 1 to 48 characters of a-z, 0-9, ., _ and -, starting with a letter",
        max: 48, first: lower, rest: dotted,
    }.check(text)
}

name_type! {
    /// A device's name as its owner sees it: `[a-z0-9][a-z0-9._-]{0,47}`.
    DeviceName, |text| Grammar {
        kind: "device name",
        rule: "use 1 to 48 characters of a-z, 0-9, ., _ and -",
        max: 48, first: alphanumeric, rest: dotted,
    }.check(text)
}

name_type! {
    /// A server's name inside its team: one DNS label or several, RFC 1123 section 2.1, lower case, at most 63.
    HostName, |text| {
        const RULE: &str = "use 1 to 63 characters of a-z, 0-9, - and ., each part starting and ending with a letter or digit, \
                            not an IP address";
        let kind = "server name";
        let checked = Grammar { kind, rule: RULE, max: 63, first: alphanumeric, rest: |b| slug(b) || b == b'.' }.check(text)?;
        let labels = || checked.split('.');
        let well_formed = labels().all(|label| {
            label.bytes().next().is_some_and(alphanumeric) && label.bytes().last().is_some_and(alphanumeric)
        });
        let numeric = labels().all(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
        if well_formed && !numeric { Ok(checked) } else { Err(NameError::new(text, kind, RULE)) }
    }
}

name_type! {
    /// The name of an access policy: `[a-z][a-z0-9-]{0,47}`.
    PolicyName, |text| Grammar {
        kind: "policy name",
        rule: "use 1 to 48 characters of a-z, 0-9 and -, starting with a letter",
        max: 48, first: lower, rest: slug,
    }.check(text)
}

name_type! {
    /// A label key or value on a server: `[a-z0-9][a-z0-9._-]{0,47}`.
    Label, |text| Grammar {
        kind: "label",
        rule: "use 1 to 48 characters of a-z, 0-9, ., _ and -",
        max: 48, first: alphanumeric, rest: dotted,
    }.check(text)
}

name_type! {
    /// What people are called: 1 to 64 characters, no control characters, no `:` or `,` (both would break GECOS).
    DisplayName, |text| {
        let visible = |c: char| !c.is_control() && !matches!(c, ':' | ',' | '\\' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let good = !text.trim().is_empty() && text.trim() == text && text.chars().count() <= 64 && text.chars().all(visible);
        if good {
            Ok(text.to_owned())
        } else {
            Err(NameError::new(text, "display name", "use 1 to 64 characters, no control characters, colon, comma or backslash"))
        }
    }
}

name_type! {
    /// Why something was locked, in an administrator's words: 1 to 200 characters on one line.
    LockReason, |text| {
        let visible = |c: char| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let good = !text.trim().is_empty() && text.trim() == text && text.chars().count() <= 200 && text.chars().all(visible);
        if good {
            Ok(text.to_owned())
        } else {
            Err(NameError::new(text, "reason", "use 1 to 200 characters on one line, without control characters"))
        }
    }
}

/// Names that mean something to the system, to sudo or to sshd, and must never be a managed account.
const RESERVED_LOGINS: &[&str] = &[
    "_apt",
    "_chrony",
    "abuild",
    "adm",
    "admin",
    "administrator",
    "all",
    "audio",
    "backup",
    "bin",
    "cdrom",
    "centos",
    "chrony",
    "clock",
    "daemon",
    "dbus",
    "debian",
    "defaults",
    "dialout",
    "dip",
    "disk",
    "docker",
    "ec2-user",
    "fedora",
    "floppy",
    "ftp",
    "games",
    "gnats",
    "halt",
    "http",
    "input",
    "irc",
    "kmem",
    "kvm",
    "landscape",
    "list",
    "lock",
    "lp",
    "lxd",
    "mail",
    "man",
    "messagebus",
    "mysql",
    "netdev",
    "news",
    "nobody",
    "nogroup",
    "ntp",
    "nullok",
    "operator",
    "plugdev",
    "polkitd",
    "pollinate",
    "postgres",
    "proxy",
    "render",
    "root",
    "rpc",
    "rpcuser",
    "sasl",
    "sgx",
    "shadow",
    "shutdown",
    "src",
    "ssh",
    "sshd",
    "ssl-cert",
    "staff",
    "statd",
    "sudo",
    "suse",
    "sync",
    "sys",
    "sysadmin",
    "syslog",
    "tape",
    "tcpdump",
    "toor",
    "tss",
    "tty",
    "ubuntu",
    "users",
    "utmp",
    "uucp",
    "uuidd",
    "video",
    "voice",
    "wheel",
    "www-data",
];

fn unix_name(text: &str, kind: &'static str) -> Result<String, NameError> {
    let checked = Grammar {
        kind,
        rule: "use 1 to 31 characters of a-z, 0-9, _ and -, starting with a letter or _",
        max: 31,
        first: unix_first,
        rest: unix_rest,
    }
    .check(text)?;
    let reserved = RESERVED_LOGINS.binary_search(&checked.as_str()).is_ok()
        || checked.starts_with("systemd-")
        || checked.starts_with("usher-");
    if reserved { Err(NameError::new(text, kind, "it is reserved for the system")) } else { Ok(checked) }
}

name_type! {
    /// A managed Unix account's name: `[a-z_][a-z0-9_-]{0,30}`, none of the system's own, not `usher-...`.
    LoginName, |text| unix_name(text, "login name")
}

name_type! {
    /// A managed Unix group's name, same grammar as [`LoginName`].
    UnixGroupName, |text| unix_name(text, "Unix group name")
}

#[cfg(test)]
mod tests {
    use super::RESERVED_LOGINS;

    #[test]
    fn reserved_names_are_sorted_for_the_binary_search() {
        assert!(RESERVED_LOGINS.is_sorted());
    }
}
