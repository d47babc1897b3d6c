//! Conditions on roles on the command line, and as people read them.

use usher_api::v1::{Authentication, Conditions};

use crate::cli::duration_seconds;

/// Options that say when a role counts.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConditionOptions {
    /// Only on servers with this label, `KEY=VALUE`; several times for servers that have all of them
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = super::token::label)]
    labels: Vec<(usher_types::Label, usher_types::Label)>,
    /// Only from this network, `10.0.0.0/8`; several times for one of several
    #[arg(long = "from", value_name = "CIDR")]
    networks: Vec<String>,
    /// Only at these hours: `mon-fri 08:00-18:00 Europe/Vienna`
    #[arg(long, value_name = "HOURS")]
    hours: Option<String>,
    #[command(flatten)]
    authentication: AuthenticationOptions,
}

/// Options that say what is asked of a person's sign-in.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AuthenticationOptions {
    /// Only when the last sign-in is younger than this: `15m`
    #[arg(long, value_name = "TIME", value_parser = duration_seconds)]
    max_age: Option<u32>,
    /// Only after signing in with a second factor
    #[arg(long)]
    second_factor: bool,
    /// Only after signing in for the very server
    #[arg(long)]
    named_server: bool,
}

impl From<ConditionOptions> for Conditions {
    fn from(options: ConditionOptions) -> Self {
        Self {
            labels: options.labels.into_iter().collect(),
            networks: options.networks,
            hours: options.hours,
            authentication: options.authentication.into(),
            unknown: Default::default(),
        }
    }
}

impl From<AuthenticationOptions> for Authentication {
    fn from(options: AuthenticationOptions) -> Self {
        Self {
            max_age_seconds: options.max_age,
            second_factor: options.second_factor,
            named_server: options.named_server,
            unknown: Default::default(),
        }
    }
}

/// In words; `always` without conditions.
#[must_use]
pub fn words(conditions: &Conditions) -> String {
    let mut parts = Vec::new();
    if !conditions.labels.is_empty() {
        let labels = conditions.labels.iter().map(|(key, value)| format!("{key}={value}"));
        parts.push(format!("on {}", labels.collect::<Vec<_>>().join(",")));
    }
    if !conditions.networks.is_empty() {
        parts.push(format!("from {}", conditions.networks.join(",")));
    }
    parts.extend(conditions.hours.as_ref().map(|hours| format!("at {hours}")));
    parts.extend(authentication_words(&conditions.authentication));
    // What this version does not know is at least not passed over.
    parts.extend(conditions.unknown.keys().map(|name| format!("`{name}`")));
    if parts.is_empty() { "always".to_owned() } else { parts.join("; ") }
}

/// In words; `None` when nothing is asked.
#[must_use]
pub fn authentication_words(authentication: &Authentication) -> Option<String> {
    let mut parts = Vec::new();
    if authentication.second_factor {
        parts.push("with a second factor".to_owned());
    }
    if authentication.named_server {
        parts.push("for the server by name".to_owned());
    }
    parts.extend(authentication.max_age_seconds.map(|age| format!("at most {age} s ago")));
    parts.extend(authentication.unknown.keys().map(|name| format!("`{name}`")));
    (!parts.is_empty()).then(|| format!("signed in {}", parts.join(", ")))
}
