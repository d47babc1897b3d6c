//! What administrators do: nouns, then verbs. One file per noun; each verb is one call of the API, shown as a table or as
//! the API's own JSON.

use std::fmt::Display;

use usher_api::v1::Page;

use crate::{api::Api, cli::Context, exit::Failure, output};

pub mod audit;
pub mod conditions;
pub mod connector;
pub mod device;
pub mod group;
mod keys;
pub mod lock;
pub mod passkey;
pub mod policy;
pub mod project;
pub mod scim_token;
pub mod server;
pub mod service_user;
pub mod session;
pub mod team;
pub mod token;
pub mod user;

/// Reads a list and shows it.
fn list<T: serde::de::DeserializeOwned + serde::Serialize>(
    context: &Context,
    path: &str,
    table: impl FnOnce(&[T]) -> String,
) -> Result<(), Failure> {
    let page: Page<T> = api(context)?.get(path)?;
    output::show(context.format, &page, |page| table(&page.items))
}

/// The current team's broker.
fn api(context: &Context) -> Result<Api, Failure> {
    Api::open(context, &context.team()?)
}

/// Says on stderr what was done; stdout is for data.
fn done(text: impl Display) -> Result<(), Failure> {
    output::note(&text.to_string());
    Ok(())
}

/// `name: value` lines.
pub(crate) fn fields<const N: usize>(rows: [(&str, String); N]) -> String {
    let mut text = String::new();
    for (name, value) in rows {
        let value: String = value.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        text.push_str(format!("{name:<20}{value}").trim_end());
        text.push('\n');
    }
    text
}

fn or_dash<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A name or an id: one parser for both, so that `srv_...` and `web-1` work everywhere.
macro_rules! name_or_id {
    ($(#[$doc:meta])* $reference:ident, $name:ty, $id:ty) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $reference(String);

        impl std::str::FromStr for $reference {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if text.starts_with(<$id>::PREFIX) && text.parse::<$id>().is_ok() {
                    return Ok(Self(text.to_owned()));
                }
                let name: $name = text.parse().map_err(|error| format!("{error}"))?;
                Ok(Self(name.to_string()))
            }
        }

        impl std::fmt::Display for $reference {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_or_id! {
    /// A connector, by name or id.
    ConnectorReference, usher_types::ConnectorName, usher_types::ConnectorId
}
name_or_id! {
    /// A user, by name or id.
    UserReference, usher_types::UserName, usher_types::UserId
}
name_or_id! {
    /// A group, by name or id.
    GroupReference, usher_types::GroupName, usher_types::GroupId
}
name_or_id! {
    /// A project, by name or id.
    ProjectReference, usher_types::ProjectSlug, usher_types::ProjectId
}
name_or_id! {
    /// A server, by name or id.
    ServerReference, usher_types::HostName, usher_types::ServerId
}
