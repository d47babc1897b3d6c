//! `usher passkey`: the keys with which a person signs in at a browser. They are registered there, not here.

use usher_api::v1::{Passkey, UpdatePasskey};
use usher_types::{DisplayName, PasskeyId};

use super::{UserReference, api, done, fields, list, or_dash};
use crate::{
    cli::Context,
    exit::Failure,
    output::{self, Table},
};

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum PasskeyCommand {
    /// Your passkeys
    List {
        /// Somebody else's, for administrators
        #[arg(long, value_name = "USER")]
        user: Option<UserReference>,
    },
    /// Remove a passkey: nobody signs in with it any more
    Remove {
        /// Its id
        passkey: PasskeyId,
        /// Whose, for administrators
        #[arg(long, value_name = "USER")]
        user: Option<UserReference>,
    },
    /// Give a passkey another name
    Rename {
        /// Its id
        passkey: PasskeyId,
        /// What to call it
        name: DisplayName,
    },
}

/// Runs a verb.
///
/// # Errors
/// What the broker answered.
pub fn run(context: &Context, command: &PasskeyCommand) -> Result<(), Failure> {
    match command {
        PasskeyCommand::List { user } => list(context, &path(user.as_ref()), |passkeys: &[Passkey]| {
            let mut table = Table::new(&["id", "name", "created", "last used"]);
            for passkey in passkeys {
                table.row([
                    passkey.id.to_string(),
                    passkey.name.to_string(),
                    passkey.created_at.to_string(),
                    or_dash(passkey.last_used_at),
                ]);
            }
            table.render()
        }),
        PasskeyCommand::Remove { passkey, user } => {
            api(context)?.act("DELETE", &format!("{}/{passkey}", path(user.as_ref())))?;
            done(format_args!("removed passkey `{passkey}`"))
        }
        PasskeyCommand::Rename { passkey, name } => {
            let change = UpdatePasskey { name: name.clone() };
            let passkey: Passkey =
                api(context)?.send("PATCH", &format!("/v1/passkeys/{passkey}"), &change)?;
            output::show(context.format, &passkey, |passkey| {
                fields([("id", passkey.id.to_string()), ("name", passkey.name.to_string())])
            })
        }
    }
}

fn path(user: Option<&UserReference>) -> String {
    user.map_or_else(|| "/v1/passkeys".to_owned(), |user| format!("/v1/users/{user}/passkeys"))
}
