//! `usher token`: enrollment tokens, which let servers join a project.

use std::collections::BTreeMap;

use usher_api::v1::{CreateToken, CreatedToken, EnrollmentToken, ServerRole};
use usher_types::{Label, ProjectSlug, TokenId};

use super::{api, done, fields, list, or_dash, project::text};
use crate::{
    cli::{Context, duration_seconds, wire_value},
    exit::Failure,
    output::{self, Format, Table},
};

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum TokenCommand {
    /// Create an enrollment token; it is printed once
    Create(Box<CreateArguments>),
    /// Revoke a token; servers that joined stay
    Delete {
        /// Its id
        token: TokenId,
    },
    /// All tokens, without secrets
    List,
    /// One token, without its secret
    Show {
        /// Its id
        token: TokenId,
    },
}

/// What a token is good for.
#[derive(Clone, Debug, clap::Args)]
pub struct CreateArguments {
    /// Project that servers join
    #[arg(long)]
    project: ProjectSlug,
    /// What it is called in lists
    #[arg(long, value_name = "TEXT")]
    description: Label,
    /// How long it works, for example `1h`; an hour when absent
    #[arg(long, value_name = "DURATION", value_parser = duration_seconds)]
    ttl: Option<u32>,
    /// How many servers it makes; one when absent
    #[arg(long, value_name = "N")]
    max_uses: Option<u32>,
    /// What the servers are: `target` or `bastion`
    #[arg(long, value_parser = wire_value::<ServerRole>, default_value = "target")]
    role: ServerRole,
    /// Bastion group that the servers belong to; with `--role bastion`
    #[arg(long, value_name = "GROUP")]
    bastion_group: Option<Label>,
    /// Bastion group that the servers are reached through
    #[arg(long, value_name = "GROUP")]
    via: Option<Label>,
    /// Labels of the servers
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(Label, Label)>,
    /// Names it may be used for: exact, or a prefix followed by `*`
    #[arg(long, value_name = "PATTERN")]
    name_pattern: Option<String>,
    /// Network it may be used from, for example `10.0.0.0/16`
    #[arg(long, value_name = "NETWORK")]
    cidr: Option<String>,
}

pub(crate) fn label(text: &str) -> Result<(Label, Label), String> {
    let (key, value) = text.split_once('=').ok_or("use KEY=VALUE")?;
    let parse = |text: &str| text.parse::<Label>().map_err(|error| error.to_string());
    Ok((parse(key)?, parse(value)?))
}

/// Runs a verb.
///
/// # Errors
/// What the broker answered.
pub fn run(context: &Context, command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create(arguments) => create(context, *arguments),
        TokenCommand::Delete { token } => {
            api(context)?.act("DELETE", &format!("/v1/tokens/{token}"))?;
            done(format_args!("revoked token `{token}`"))
        }
        TokenCommand::List => list(context, "/v1/tokens", |tokens: &[EnrollmentToken]| {
            let mut table = Table::new(&["id", "description", "project", "role", "uses", "expires"]);
            for token in tokens {
                table.row([
                    token.id.to_string(),
                    token.description.to_string(),
                    token.project.to_string(),
                    text(&token.role),
                    format!("{}/{}", token.uses, token.max_uses),
                    token.expires_at.to_string(),
                ]);
            }
            table.render()
        }),
        TokenCommand::Show { token } => {
            let token: EnrollmentToken = api(context)?.get(&format!("/v1/tokens/{token}"))?;
            output::show(context.format, &token, |token| {
                fields([
                    ("id", token.id.to_string()),
                    ("description", token.description.to_string()),
                    ("project", token.project.to_string()),
                    ("created by", token.created_by.to_string()),
                    ("expires", token.expires_at.to_string()),
                    ("uses", format!("{}/{}", token.uses, token.max_uses)),
                    ("role", text(&token.role)),
                    ("bastion group", or_dash(token.bastion_group.as_ref())),
                    ("via", or_dash(token.via.as_ref())),
                    ("name pattern", or_dash(token.name_pattern.as_ref())),
                    ("network", or_dash(token.cidr.as_ref())),
                ])
            })
        }
    }
}

fn create(context: &Context, arguments: CreateArguments) -> Result<(), Failure> {
    let request = CreateToken {
        project: arguments.project,
        description: arguments.description,
        ttl_seconds: arguments.ttl,
        max_uses: arguments.max_uses,
        role: arguments.role,
        bastion_group: arguments.bastion_group,
        via: arguments.via,
        labels: arguments.labels.into_iter().collect::<BTreeMap<_, _>>(),
        name_pattern: arguments.name_pattern,
        cidr: arguments.cidr,
    };
    let created: CreatedToken = api(context)?.send("POST", "/v1/tokens", &request)?;
    if context.format == Format::Text {
        output::note(&format!(
            "token `{}` makes {} server(s) until {}\nnext: put it into a file on the server and run there\n  \
             usher-agent enroll --token-file FILE",
            created.enrollment_token.id,
            created.enrollment_token.max_uses,
            created.enrollment_token.expires_at
        ));
    }
    output::show(context.format, &created, |created| format!("{}\n", created.token))
}
