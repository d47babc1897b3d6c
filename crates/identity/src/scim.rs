//! What an identity provider says about its users and groups, and asks about them: SCIM (RFC 7643, RFC 7644) without
//! its text forms and its HTTP.
//!
//! One table ([`ResourceType`]) says what there is; [`Attributes`] is what a provider said, in that form; [`apply`]
//! makes of it what a PATCH asks for; [`Filter`] is a question over attributes that exist. Who may ask, and where
//! the answers are kept, is not known here.

mod attributes;
mod filter;
mod patch;
mod schema;

pub use attributes::{AttributeError, Attributes, schemas};
pub use filter::{Filter, Order, Test, TextTest};
pub use patch::{Change, MemberChange, Operation, PatchError, Path, apply, members};
pub use schema::{
    Attribute, ENTERPRISE_URN, EXTERNAL_ID, GROUP_URN, Kind, Mutability, ResourceType, USER_URN,
};
