//! `usher connector`: the team's identity providers.

use usher_api::v1::{
    Connector, ConnectorSettings, ConnectorState, CreateConnector, ExternalIdClaim, JoinRule, UpdateConnector,
};
use usher_types::ConnectorName;

use super::{ConnectorReference, api, done, fields, list, or_dash, project::text};
use crate::{
    cli::{Context, wire_value},
    exit::Failure,
    output::{self, Table},
};

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ConnectorCommand {
    /// Connect an identity provider
    Create(Box<CreateArguments>),
    /// Delete a connector that has neither users nor groups
    Delete {
        /// Name or id
        connector: ConnectorReference,
    },
    /// All connectors
    List,
    /// One connector, and what to enter at the provider
    Show {
        /// Name or id
        connector: ConnectorReference,
    },
    /// Change a connector
    Update(Box<UpdateArguments>),
}

/// What to connect.
#[derive(Clone, Debug, clap::Args)]
pub struct CreateArguments {
    /// Its name: buttons and names of groups show it
    name: ConnectorName,
    /// Who is let in that is not known here: `scim` (nobody) or `first-login` (anybody whom the provider lets in)
    #[arg(long, value_parser = wire_value::<JoinRule>)]
    join_rule: JoinRule,
    #[command(flatten)]
    settings: SettingArguments,
}

/// What to change.
#[derive(Clone, Debug, clap::Args)]
pub struct UpdateArguments {
    /// Name or id
    connector: ConnectorReference,
    /// Who is let in that is not known here: `scim` or `first-login`
    #[arg(long, value_parser = wire_value::<JoinRule>)]
    join_rule: Option<JoinRule>,
    /// `active` or `disabled`: that ends the sessions of its users
    #[arg(long, value_parser = wire_value::<ConnectorState>)]
    state: Option<ConnectorState>,
    #[command(flatten)]
    settings: SettingArguments,
}

/// What can be set.
#[derive(Clone, Debug, clap::Args)]
pub struct SettingArguments {
    /// The provider's issuer, exactly as it spells it
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Usher's name at the provider
    #[arg(long, value_name = "TEXT")]
    client_id: Option<String>,
    /// File that holds Usher's secret at the provider; `-` reads it from stdin, an empty file takes it away
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<std::path::PathBuf>,
    /// Scope to ask for beside `openid`; `profile` and `email` when absent
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Authentication context to ask for
    #[arg(long = "acr", value_name = "ACR")]
    acr_values: Vec<String>,
    /// Claim that names a person for ever: `sub`, with Entra `oid`
    #[arg(long, value_parser = wire_value::<ExternalIdClaim>)]
    external_id_claim: Option<ExternalIdClaim>,
    /// Claim that lists a person's groups
    #[arg(long, value_name = "CLAIM")]
    groups_claim: Option<String>,
    /// Private network in which the provider may be, for example `10.0.0.0/8`
    #[arg(long = "private-network", value_name = "NETWORK")]
    private_networks: Vec<String>,
}

impl SettingArguments {
    fn read(self) -> Result<ConnectorSettings, Failure> {
        let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
        let client_secret = match &self.client_secret_file {
            Some(path) => Some(secret(path)?),
            None => None,
        };
        Ok(ConnectorSettings {
            issuer: self.issuer,
            client_id: self.client_id,
            client_secret,
            scopes: some(self.scopes),
            acr_values: some(self.acr_values),
            external_id_claim: self.external_id_claim,
            groups_claim: self.groups_claim,
            private_networks: some(self.private_networks),
        })
    }
}

/// Never an argument: those are seen by everybody on the machine.
fn secret(path: &std::path::Path) -> Result<String, Failure> {
    let read = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let failed =
        |error| Failure::usage(format!("cannot read the client secret from `{}`: {error}", path.display()));
    read.map(|text| text.trim().to_owned()).map_err(failed)
}

/// Runs a verb.
///
/// # Errors
/// What the broker answered.
pub fn run(context: &Context, command: ConnectorCommand) -> Result<(), Failure> {
    match command {
        ConnectorCommand::Create(arguments) => {
            let CreateArguments { name, join_rule, settings } = *arguments;
            let create = CreateConnector { name, join_rule, settings: settings.read()? };
            let connector: Connector = api(context)?.send("POST", "/v1/connectors", &create)?;
            output::show(context.format, &connector, show)
        }
        ConnectorCommand::Delete { connector } => {
            api(context)?.act("DELETE", &format!("/v1/connectors/{connector}"))?;
            done(format_args!("deleted connector `{connector}`"))
        }
        ConnectorCommand::List => list(context, "/v1/connectors", |connectors: &[Connector]| {
            let mut table = Table::new(&["name", "id", "issuer", "join rule", "state"]);
            for connector in connectors {
                table.row([
                    connector.name.to_string(),
                    connector.id.to_string(),
                    or_dash(connector.issuer.as_ref()),
                    text(&connector.join_rule),
                    text(&connector.state),
                ]);
            }
            table.render()
        }),
        ConnectorCommand::Show { connector } => {
            let connector: Connector = api(context)?.get(&format!("/v1/connectors/{connector}"))?;
            output::show(context.format, &connector, show)
        }
        ConnectorCommand::Update(arguments) => {
            let UpdateArguments { connector, join_rule, state, settings } = *arguments;
            let update = UpdateConnector { join_rule, state, settings: settings.read()? };
            let path = format!("/v1/connectors/{connector}");
            let connector: Connector = api(context)?.send("PATCH", &path, &update)?;
            output::show(context.format, &connector, show)
        }
    }
}

fn show(connector: &Connector) -> String {
    let texts = |list: &[String]| if list.is_empty() { "-".to_owned() } else { list.join(" ") };
    fields([
        ("name", connector.name.to_string()),
        ("id", connector.id.to_string()),
        ("state", text(&connector.state)),
        ("join rule", text(&connector.join_rule)),
        ("issuer", or_dash(connector.issuer.as_ref())),
        ("client id", or_dash(connector.client_id.as_ref())),
        ("client secret", if connector.has_client_secret { "stored" } else { "-" }.to_owned()),
        ("redirect URI", connector.redirect_uri.clone()),
        ("logout URI", connector.backchannel_logout_uri.clone()),
        ("scopes", texts(&connector.scopes)),
        ("acr values", texts(&connector.acr_values)),
        ("external id claim", text(&connector.external_id_claim)),
        ("groups claim", or_dash(connector.groups_claim.as_ref())),
        ("private networks", texts(&connector.private_networks)),
        ("created", connector.created_at.to_string()),
    ])
}
