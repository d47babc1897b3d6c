//! `usher service-user`, `usher api-key`, `usher trust`: users that are programs, and what they sign in with.

use std::collections::BTreeMap;

use usher_api::v1::{
    ApiKey, CreateApiKey, CreateServiceUser, CreateTrust, CreatedApiKey, RotateApiKey, Trust, User,
};
use usher_types::{DisplayName, Label, LoginName, TokenId, TrustId, UserName};

use super::{UserReference, api, done, fields, list, or_dash, project::text, user};
use crate::{
    cli::{Context, duration_seconds},
    exit::Failure,
    output::{self, Format, Table},
};

/// GitHub's issuer, as its tokens spell it.
const GITHUB: &str = "https://token.actions.githubusercontent.com";

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ServiceUserCommand {
    /// Create a user that is a program; it has no password. Groups and roles are as for people
    Create {
        /// Name in the directory
        name: UserName,
        /// What people call it
        #[arg(long, value_name = "NAME")]
        display_name: Option<DisplayName>,
        /// Account name on servers; the user name when absent
        #[arg(long, value_name = "LOGIN")]
        unix_user_name: Option<LoginName>,
    },
    /// Delete a service user for good, with its keys
    Delete {
        /// Name or id
        user: UserReference,
    },
    /// End all access: no certificate from this moment
    Disable {
        /// Name or id
        user: UserReference,
    },
    /// Give access back; keys that have not ended work again
    Enable {
        /// Name or id
        user: UserReference,
    },
    /// All service users
    List,
}

/// Runs a verb.
///
/// # Errors
/// What the broker answered.
pub fn run(context: &Context, command: ServiceUserCommand) -> Result<(), Failure> {
    match command {
        ServiceUserCommand::Create { name, display_name, unix_user_name } => {
            let create = CreateServiceUser { user_name: name, display_name, unix_user_name };
            let user: User = api(context)?.send("POST", "/v1/service-users", &create)?;
            output::show(context.format, &user, |user| {
                fields([
                    ("name", user.user_name.to_string()),
                    ("id", user.id.to_string()),
                    ("login", user.unix_user_name.to_string()),
                ])
            })
        }
        ServiceUserCommand::Delete { user } => user::run(context, user::UserCommand::Delete { user }),
        ServiceUserCommand::Disable { user } => user::run(context, user::UserCommand::Disable { user }),
        ServiceUserCommand::Enable { user } => user::run(context, user::UserCommand::Enable { user }),
        ServiceUserCommand::List => list(context, "/v1/service-users", |users: &[User]| {
            let mut table = Table::new(&["name", "display name", "login", "status"]);
            for user in users {
                table.row([
                    user.user_name.to_string(),
                    user.display_name.to_string(),
                    user.unix_user_name.to_string(),
                    text(&user.status),
                ]);
            }
            table.render()
        }),
    }
}

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ApiKeyCommand {
    /// Create a key for a service user; it is printed once. Keys that the user has go on working
    Create {
        /// The service user
        #[arg(long, value_name = "NAME")]
        service_user: UserName,
        /// What it is called in lists
        #[arg(long, value_name = "TEXT")]
        description: Label,
        /// How long it works, for example `90d`; at most a year
        #[arg(long, value_name = "DURATION", value_parser = duration_seconds)]
        ttl: u32,
        /// Network it may be used from, for example `203.0.113.0/24`
        #[arg(long, value_name = "NETWORK")]
        cidr: Option<String>,
    },
    /// All keys, without secrets, and when each was last used
    List,
    /// Revoke a key; the sessions that began by it end
    Revoke {
        /// Its id
        key: TokenId,
    },
    /// Make a new key like this one, which goes on working for a while; the new one is printed once
    Rotate {
        /// Its id
        key: TokenId,
        /// How long the new one works; as long as the old one was made for when absent
        #[arg(long, value_name = "DURATION", value_parser = duration_seconds)]
        ttl: Option<u32>,
        /// How long the old one goes on working; a day when absent
        #[arg(long, value_name = "DURATION", value_parser = duration_seconds)]
        overlap: Option<u32>,
    },
}

/// Runs a verb.
///
/// # Errors
/// What the broker answered.
pub fn api_key(context: &Context, command: ApiKeyCommand) -> Result<(), Failure> {
    match command {
        ApiKeyCommand::Create { service_user, description, ttl, cidr } => {
            let create = CreateApiKey { service_user, description, ttl_seconds: ttl, cidr };
            show_key(context, &api(context)?.send("POST", "/v1/api-keys", &create)?)
        }
        ApiKeyCommand::List => list(context, "/v1/api-keys", |keys: &[ApiKey]| {
            let mut table =
                Table::new(&["id", "service user", "description", "network", "last used", "expires"]);
            for key in keys {
                table.row([
                    key.id.to_string(),
                    key.service_user.to_string(),
                    key.description.to_string(),
                    or_dash(key.cidr.as_ref()),
                    or_dash(key.last_used_at.as_ref()),
                    key.expires_at.to_string(),
                ]);
            }
            table.render()
        }),
        ApiKeyCommand::Revoke { key } => {
            api(context)?.act("DELETE", &format!("/v1/api-keys/{key}"))?;
            done(format_args!("revoked API key `{key}`"))
        }
        ApiKeyCommand::Rotate { key, ttl, overlap } => {
            let rotate = RotateApiKey { ttl_seconds: ttl, overlap_seconds: overlap };
            let path = format!("/v1/api-keys/{key}/rotate");
            show_key(context, &api(context)?.send("POST", &path, &rotate)?)
        }
    }
}

fn show_key(context: &Context, created: &CreatedApiKey) -> Result<(), Failure> {
    if context.format == Format::Text {
        output::note(&format!(
            "API key `{}` of `{}` works until {}\nnext: keep it where the program finds it, and name the file in \
             USHER_API_KEY_FILE",
            created.api_key.id, created.api_key.service_user, created.api_key.expires_at
        ));
    }
    output::show(context.format, created, |created| format!("{}\n", created.key))
}

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum TrustCommand {
    /// Let a workload's identity tokens in as a service user
    Create(Box<TrustArguments>),
    /// Let them in no longer; the sessions that began by them end
    Delete {
        /// Its id
        trust: TrustId,
    },
    /// All trusts, and when each was last used
    List,
}

/// Whose tokens.
#[derive(Clone, Debug, clap::Args)]
pub struct TrustArguments {
    /// The service user
    #[arg(long, value_name = "NAME")]
    service_user: UserName,
    /// What it is called in lists
    #[arg(long, value_name = "TEXT")]
    description: Label,
    /// Who says so, exactly as the tokens spell it; GitHub Actions when absent
    #[arg(long, value_name = "URL", default_value = GITHUB)]
    issuer: String,
    /// For whom the tokens must be made; the broker's address when absent
    #[arg(long, value_name = "TEXT")]
    audience: Option<String>,
    /// What a token must say, for example `repository=acme/app`; `*` stands for a whole part between `/` and `:`
    #[arg(long = "claim", value_name = "CLAIM=VALUE", required = true, value_parser = claim)]
    claims: Vec<(String, String)>,
    /// Private network in which the issuer may be, for example `10.0.0.0/8`
    #[arg(long = "private-network", value_name = "NETWORK")]
    private_networks: Vec<String>,
}

fn claim(text: &str) -> Result<(String, String), String> {
    let (claim, value) = text.split_once('=').ok_or("expected a claim, `=` and its value")?;
    Ok((claim.to_owned(), value.to_owned()))
}

/// Runs a verb.
///
/// # Errors
/// What the broker answered.
pub fn trust(context: &Context, command: TrustCommand) -> Result<(), Failure> {
    match command {
        TrustCommand::Create(arguments) => {
            let TrustArguments { service_user, description, issuer, audience, claims, private_networks } =
                *arguments;
            let mut map = BTreeMap::new();
            for (claim, value) in claims {
                if map.insert(claim.clone(), value).is_some() {
                    return Err(Failure::usage(format!("claim `{claim}` comes twice"))
                        .next("make a trust for each value"));
                }
            }
            let create =
                CreateTrust { service_user, description, issuer, audience, claims: map, private_networks };
            let trust: Trust = api(context)?.send("POST", "/v1/trusts", &create)?;
            output::show(context.format, &trust, |trust| {
                fields([
                    ("id", trust.id.to_string()),
                    ("service user", trust.service_user.to_string()),
                    ("issuer", trust.issuer.clone()),
                    ("audience", trust.audience.clone()),
                    ("claims", claims_text(trust)),
                ])
            })
        }
        TrustCommand::Delete { trust } => {
            api(context)?.act("DELETE", &format!("/v1/trusts/{trust}"))?;
            done(format_args!("deleted trust `{trust}`"))
        }
        TrustCommand::List => list(context, "/v1/trusts", |trusts: &[Trust]| {
            let mut table =
                Table::new(&["id", "service user", "description", "issuer", "claims", "last used"]);
            for trust in trusts {
                table.row([
                    trust.id.to_string(),
                    trust.service_user.to_string(),
                    trust.description.to_string(),
                    trust.issuer.clone(),
                    claims_text(trust),
                    or_dash(trust.last_used_at.as_ref()),
                ]);
            }
            table.render()
        }),
    }
}

fn claims_text(trust: &Trust) -> String {
    let claims: Vec<String> = trust.claims.iter().map(|(claim, value)| format!("{claim}={value}")).collect();
    claims.join(" ")
}
