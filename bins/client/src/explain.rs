//! `usher explain`: why somebody may, or may not, get on a server. The broker says it; this only shows it.

use std::net::IpAddr;

use usher_api::v1::{Explanation, Verdict};

use crate::{
    admin::{ServerReference, UserReference, conditions, fields},
    api::Api,
    cli::Context,
    exit::Failure,
    output::{self, Table},
};

/// The command line of `usher explain`.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainCommand {
    /// A server, by name or id; administrators may name a user before it
    #[arg(required = true, num_args = 1..=2, value_name = "[USER] SERVER")]
    pub names: Vec<String>,
    /// Where that user would come from
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<IpAddr>,
}

/// Shows it.
///
/// # Errors
/// What the broker answered.
pub fn run(context: &Context, command: &ExplainCommand) -> Result<(), Failure> {
    let (user, server) = match command.names.as_slice() {
        [user, server] => (Some(user), server),
        [server] if command.from.is_none() => (None, server),
        _ => {
            return Err(Failure::usage(
                "`--from` goes with a user: `usher explain USER SERVER --from ADDRESS`",
            ));
        }
    };
    let team = context.team_of_host(server)?;
    let server: ServerReference = context.config.split_host(server).0.parse().map_err(Failure::usage)?;
    let path = format!("/v1/servers/{server}/access");
    let mut api = Api::open(context, &team)?;
    let told: Explanation = match user {
        None => api.get(&path)?,
        Some(user) => {
            let user: UserReference = user.parse().map_err(Failure::usage)?;
            let query = command.from.map(|from| format!("from={from}")).unwrap_or_default();
            api.call("GET", &format!("{path}/{user}"), &query, None::<&()>)?
        }
    };
    output::show(context.format, &told, show)
}

fn show(told: &Explanation) -> String {
    let verdict = match told.verdict {
        Verdict::Allow => "yes".to_owned(),
        Verdict::AllowAfterSignIn => "yes, after signing in as is asked for".to_owned(),
        Verdict::Deny => "no".to_owned(),
    };
    let login = told.login.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let mut text = fields([
        ("user", told.user.to_string()),
        ("server", format!("{} (project {})", told.server, told.project)),
        ("may connect", verdict),
        ("account", login),
    ]);
    if let Some(words) = conditions::authentication_words(&told.asks) {
        text.push_str(&fields([("asks", words)]));
    }
    for reason in &told.reasons {
        text.push_str(&fields([("because", reason.clone())]));
    }
    if let Some(next) = &told.next {
        text.push_str(&fields([("next", next.clone())]));
    }
    let mut table = Table::new(&["group", "member", "gives", "when", "counts now"]);
    for role in &told.roles {
        let gives = match (role.server_access, role.server_admin) {
            (true, true) => "login, sudo",
            (true, false) => "login",
            (false, _) => "nothing",
        };
        let yes = |value: bool| if value { "yes" } else { "no" }.to_owned();
        table.row([
            role.group.to_string(),
            yes(role.member),
            gives.to_owned(),
            conditions::words(&role.conditions),
            yes(role.counts),
        ]);
    }
    text.push('\n');
    text.push_str(&table.render());
    text
}
