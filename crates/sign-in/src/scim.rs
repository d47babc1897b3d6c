//! The text forms of SCIM: filters, paths and the body of a PATCH, into the typed values of `usher_identity::scim`. With
//! limits on length, depth and number, and with the dialects that Okta and Entra speak; nothing is looked up here.

mod filter;
mod patch;

use scim_v2::filter::AttrPath;
use thiserror::Error;
use usher_identity::scim::{Attribute, ResourceType};

pub use self::{
    filter::{FilterError, parse_filter},
    patch::{ParsePatchError, parse_patch},
};

/// Longest filter or path, in bytes.
pub const MAX_TEXT: usize = 4096;
/// Deepest nesting of a filter.
pub const MAX_DEPTH: usize = 8;
/// Most comparisons of a filter.
pub const MAX_TERMS: usize = 100;
/// Most operations of a PATCH.
pub const MAX_OPERATIONS: usize = 1000;

/// Text that is no path, or leads to nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PathError {
    /// It is not the text of a path.
    #[error("this is not a path")]
    Form,
    /// It has a filter where there can be none.
    #[error("`{0}` has one value: it cannot be filtered")]
    NotMany(&'static str),
    /// There is no such attribute.
    #[error("there is no attribute `{0}`")]
    Unknown(String),
}

/// Where the text of a path leads that has no filter: `name.familyName`, or the same behind a schema's URN.
///
/// # Errors
/// [`PathError`].
pub fn parse_attribute(of: ResourceType, text: &str) -> Result<Vec<&'static Attribute>, PathError> {
    let path = patch::parse_path(of, text)?;
    if path.filter.is_some() { Err(PathError::Form) } else { Ok(path.steps) }
}

fn resolve(of: ResourceType, path: &AttrPath) -> Result<Vec<&'static Attribute>, PathError> {
    let found = of.resolve(path.uri.as_deref(), &path.name, path.sub_attr.as_deref());
    found.ok_or_else(|| PathError::Unknown(shown(&path.to_string())))
}

/// For a message: bounded, on one line.
fn shown(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_default).collect()
}
