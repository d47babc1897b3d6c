//! `usher scim-token`: what an identity provider shows to the broker to say who its users are.

use usher_api::v1::{CreateScimToken, CreatedScimToken, ScimToken};
use usher_types::{ConnectorName, Label, TokenId};

use super::{api, done, list, or_dash};
use crate::{
    cli::{Context, duration_seconds},
    exit::Failure,
    output::{self, Format, Table},
};

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ScimTokenCommand {
    /// Create a token for a connector; it is printed once. Tokens that the connector has go on working
    Create {
        /// The connector for which it speaks
        #[arg(long)]
        connector: ConnectorName,
        /// What it is called in lists
        #[arg(long, value_name = "TEXT")]
        description: Label,
        /// How long it works, for example `90d`; a year when absent
        #[arg(long, value_name = "DURATION", value_parser = duration_seconds)]
        ttl: Option<u32>,
        /// Network it may be used from, for example `203.0.113.0/24`
        #[arg(long, value_name = "NETWORK")]
        cidr: Option<String>,
    },
    /// All tokens, without secrets, and when each was last used
    List,
    /// Revoke a token; users and groups that came with it stay
    Revoke {
        /// Its id
        token: TokenId,
    },
}

/// Runs a verb.
///
/// # Errors
/// What the broker answered.
pub fn run(context: &Context, command: ScimTokenCommand) -> Result<(), Failure> {
    match command {
        ScimTokenCommand::Create { connector, description, ttl, cidr } => {
            create(context, &CreateScimToken { connector, description, ttl_seconds: ttl, cidr })
        }
        ScimTokenCommand::List => list(context, "/v1/scim-tokens", |tokens: &[ScimToken]| {
            let mut table =
                Table::new(&["id", "connector", "description", "network", "last used", "expires"]);
            for token in tokens {
                table.row([
                    token.id.to_string(),
                    token.connector.to_string(),
                    token.description.to_string(),
                    or_dash(token.cidr.as_ref()),
                    or_dash(token.last_used_at.as_ref()),
                    token.expires_at.to_string(),
                ]);
            }
            table.render()
        }),
        ScimTokenCommand::Revoke { token } => {
            api(context)?.act("DELETE", &format!("/v1/scim-tokens/{token}"))?;
            done(format_args!("revoked token `{token}`"))
        }
    }
}

fn create(context: &Context, request: &CreateScimToken) -> Result<(), Failure> {
    let created: CreatedScimToken = api(context)?.send("POST", "/v1/scim-tokens", request)?;
    if context.format == Format::Text {
        output::note(&format!(
            "token `{}` speaks for connector `{}` until {}\nnext: give the identity provider this token and this \
             address\n  {}",
            created.scim_token.id, created.scim_token.connector, created.scim_token.expires_at, created.url
        ));
    }
    output::show(context.format, &created, |created| format!("{}\n", created.token))
}
