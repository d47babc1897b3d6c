//! Names that an identity provider's users and groups get here. Made once, from what the provider calls them then; a
//! later rename changes nothing of this. Which of the candidates is free is the store's to know.

use usher_types::{DisplayName, GroupName, LoginName, Sha256, UserName};

/// How many names are tried in order. Further ones are far apart, so that one is free also when thousands are taken.
const IN_ORDER: u32 = 9;
const USER_NAME: usize = 48;
const LOGIN: usize = 31;
const GROUP_NAME: usize = 48;
const SHOWN: usize = 64;

/// Groups that mean something to Usher, whatever the case.
const RESERVED_GROUPS: [&str; 2] = ["everyone", "owners"];
/// What [`LoginName`] keeps for the system, however it goes on.
const RESERVED_PREFIXES: [&str; 2] = ["systemd-", "usher-"];

/// Names for a user whom the provider calls `user_name`, best first: the part before `@` in lower case, then the same
/// with a number behind it: 2, 3 and so on, then large ones. On servers dots become `_`. Names that are the system's (`root`) do not come up.
///
/// ```
/// let mut names = usher_identity::naming::users("Alice.Smith@example.com");
/// let (user_name, unix_user_name) = names.next().unwrap();
/// assert_eq!((user_name.as_str(), unix_user_name.as_str()), ("alice.smith", "alice_smith"));
/// assert_eq!(names.next().unwrap().1.as_str(), "alice_smith2");
/// assert_eq!(usher_identity::naming::users("root").next().unwrap().1.as_str(), "root2");
/// ```
pub fn users(user_name: &str) -> impl Iterator<Item = (UserName, LoginName)> + use<> {
    let local = user_name.split('@').next().unwrap_or_default();
    let stem = stem(local, "user");
    let mut login = stem.replace('.', "_");
    if RESERVED_PREFIXES.iter().any(|prefix| login.starts_with(prefix)) {
        login = login.replacen('-', "_", 1);
    }
    numbers(user_name).filter_map(move |number| {
        let user_name = numbered(&stem, number, USER_NAME).parse().ok()?;
        let login = numbered(&login, number, LOGIN).parse().ok()?;
        Some((user_name, login))
    })
}

/// Names for a group that the connector's provider calls `display_name`, best first: all in the connector's namespace.
///
/// ```
/// let mut names = usher_identity::naming::groups("okta", "Site Reliability");
/// assert_eq!(names.next().unwrap().as_str(), "okta.site-reliability");
/// ```
pub fn groups(connector: &str, display_name: &str) -> impl Iterator<Item = GroupName> + use<> {
    let stem = format!("{connector}.{}", stem(display_name, "group"));
    numbers(display_name).filter_map(move |number| numbered(&stem, number, GROUP_NAME).parse().ok())
}

/// Whether a group of a provider may not have this name: it reads as one that means something here.
#[must_use]
pub fn is_reserved_group(display_name: &str) -> bool {
    RESERVED_GROUPS.contains(&stem(display_name, "").as_str())
}

/// What people call somebody whom the provider describes with `text`: without the characters that a display name may
/// not have. None when nothing is left.
#[must_use]
pub fn display_name(text: &str) -> Option<DisplayName> {
    let spaced: String =
        text.chars().map(|c| if c.is_control() || matches!(c, ':' | ',' | '\\') { ' ' } else { c }).collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let kept = words.join(" ");
    let kept: String = kept
        .chars()
        .filter(|c| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'))
        .take(SHOWN)
        .collect();
    kept.trim().parse().ok()
}

/// The lower-case letters, digits, `.`, `_` and `-` of a text, beginning with a letter; runs of anything else between
/// them are one `-`.
fn stem(text: &str, empty: &str) -> String {
    let mut stem = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if stem.len() >= USER_NAME {
            break;
        }
        match c {
            'a'..='z' => stem.push(c),
            '0'..='9' | '.' | '_' if !stem.is_empty() => stem.push(c),
            // Letters of other alphabets are left out: what they would be in this one is not ours to guess.
            _ if c.is_alphanumeric() || stem.is_empty() || stem.ends_with('-') => {}
            _ => stem.push('-'),
        }
    }
    let stem = stem.trim_end_matches(['-', '.', '_']);
    if stem.is_empty() { empty.to_owned() } else { stem.to_owned() }
}

fn numbers(text: &str) -> impl Iterator<Item = u32> + use<> {
    let digest = *Sha256::of(text.as_bytes()).as_bytes();
    let far = (0..8_usize).filter_map(move |index| {
        let bytes = digest.chunks_exact(4).nth(index)?;
        let number = u32::from_be_bytes(bytes.try_into().ok()?).checked_rem(1_000_000)?;
        (number > IN_ORDER).then_some(number)
    });
    (1..=IN_ORDER).chain(far)
}

/// The stem, cut so that the number behind it still fits; the first has none.
fn numbered(stem: &str, number: u32, most: usize) -> String {
    let number = if number == 1 { String::new() } else { number.to_string() };
    let room = most.saturating_sub(number.len());
    let cut: String = stem.chars().take(room).collect();
    format!("{}{number}", cut.trim_end_matches(['-', '.']))
}
