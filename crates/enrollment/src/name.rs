//! Names are unique in a team and given by the broker: a claimed name that is taken gets a number, never its owner's
//! place.

use thiserror::Error;
use usher_types::HostName;

/// Numbers that are tried before giving up.
pub const MAX_NAME_ATTEMPTS: u32 = 10_000;

/// Every name that could be given is taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{wanted}` and every numbered form of it is taken")]
pub struct NamesExhausted {
    wanted: HostName,
}

/// The name that a server gets: the one it claims, or `claimed-2`, `claimed-3` and so on when it is taken. A claim that
/// leaves no room for the number is shortened.
///
/// # Errors
/// [`NamesExhausted`] when [`MAX_NAME_ATTEMPTS`] names are taken.
pub fn allocate_name(
    claimed: &HostName,
    mut taken: impl FnMut(&HostName) -> bool,
) -> Result<HostName, NamesExhausted> {
    if !taken(claimed) {
        return Ok(claimed.clone());
    }
    (2..=MAX_NAME_ATTEMPTS)
        .filter_map(|number| numbered(claimed, number))
        .find(|name| !taken(name))
        .ok_or_else(|| NamesExhausted { wanted: claimed.clone() })
}

fn numbered(claimed: &HostName, number: u32) -> Option<HostName> {
    const MAX_LENGTH: usize = 63;
    let suffix = format!("-{number}");
    let room = MAX_LENGTH.saturating_sub(suffix.len());
    // Names are ASCII, so every cut is at a character; a cut behind `-` or `.` leaves an ending that no name has.
    let base = claimed.as_str().get(..room).unwrap_or(claimed.as_str()).trim_end_matches(['-', '.']);
    format!("{base}{suffix}").parse().ok()
}
