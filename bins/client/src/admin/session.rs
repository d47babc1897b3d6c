//! `usher session`: who is signed in, where, and since when.

use usher_api::v1::Session;
use usher_types::SessionId;

use super::{api, done, list, or_dash};
use crate::{cli::Context, exit::Failure, output::Table};

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum SessionCommand {
    /// Your open sessions; all of them for an administrator
    List,
    /// End a session: its device has to sign in again
    Revoke {
        /// Its id
        session: SessionId,
    },
}

/// Runs a verb.
///
/// # Errors
/// What the broker answered.
pub fn run(context: &Context, command: &SessionCommand) -> Result<(), Failure> {
    match command {
        SessionCommand::List => list(context, "/v1/sessions", |sessions: &[Session]| {
            let mut table =
                Table::new(&["id", "user", "device", "from", "signed in", "how", "last used", "ends"]);
            for session in sessions {
                let mark = if session.current { " (this one)" } else { "" };
                table.row([
                    session.id.to_string(),
                    session.user_name.to_string(),
                    format!("{}{mark}", session.device_name),
                    or_dash(session.client_address.as_ref()),
                    session.auth_time.to_string(),
                    session.amr.join(" "),
                    session.last_used_at.to_string(),
                    session.expires_at.to_string(),
                ]);
            }
            table.render()
        }),
        SessionCommand::Revoke { session } => {
            api(context)?.act("DELETE", &format!("/v1/sessions/{session}"))?;
            done(format_args!("ended session `{session}`"))
        }
    }
}
