//! Section `[kms]`: how AWS KMS is reached. Credentials come from the machine (role, environment, profile) or from a
//! file, never from this section.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
};

use serde::Deserialize;
use url::Url;
use usher_keystore::kms::KmsSettings;
use usher_types::TeamSlug;

/// AWS KMS, for keys in its custody.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KmsConfig {
    /// Where the keys are.
    pub region: String,
    /// ARN of the IAM role or user that the broker runs as; new keys let it sign, and nobody else.
    #[serde(default)]
    pub principal: Option<String>,
    /// ARN of the symmetric key that wraps keys in custody `aws-kms-wrapped`.
    #[serde(default)]
    pub wrapping_key: Option<String>,
    /// First part of the keys' aliases.
    #[serde(default = "default_alias_prefix")]
    pub alias_prefix: String,
    /// Calls per second, of all projects together.
    #[serde(default = "default_requests_per_second")]
    pub requests_per_second: NonZeroU32,
    /// Calls at one time.
    #[serde(default = "default_concurrency")]
    pub concurrency: NonZeroUsize,
    /// Another address than the region's own.
    #[serde(default)]
    pub endpoint_url: Option<Url>,
    /// A file in the form of `~/.aws/credentials`.
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
}

fn default_alias_prefix() -> String {
    "usher".to_owned()
}

fn default_requests_per_second() -> NonZeroU32 {
    super::count(300)
}

fn default_concurrency() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(63)
}

impl KmsConfig {
    /// Defaults for everything but the region.
    #[must_use]
    pub fn new(region: String) -> Self {
        Self {
            region,
            principal: None,
            wrapping_key: None,
            alias_prefix: default_alias_prefix(),
            requests_per_second: default_requests_per_second(),
            concurrency: default_concurrency(),
            endpoint_url: None,
            credentials_file: None,
        }
    }

    pub(crate) fn settings(&self, team: &TeamSlug) -> KmsSettings {
        KmsSettings {
            region: self.region.clone(),
            endpoint_url: self.endpoint_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()),
            credentials_file: self.credentials_file.clone(),
            alias_prefix: self.alias_prefix.clone(),
            team: team.to_string(),
            principal: self.principal.clone(),
            wrapping_key: self.wrapping_key.clone(),
            requests_per_second: self.requests_per_second,
            concurrency: self.concurrency,
        }
    }

    /// The section as `init` writes it.
    pub(crate) fn to_toml(&self) -> String {
        let quoted = |text: String| toml::Value::String(text).to_string();
        let path = self.credentials_file.as_ref().map(|path| path.display().to_string());
        let entries = [
            ("region", Some(self.region.clone())),
            ("principal", self.principal.clone()),
            ("wrapping_key", self.wrapping_key.clone()),
            ("endpoint_url", self.endpoint_url.as_ref().map(Url::to_string)),
            ("credentials_file", path),
        ];
        let lines = entries.into_iter().filter_map(|(name, value)| Some((name, value?)));
        lines
            .fold("\n[kms]\n".to_owned(), |text, (name, value)| format!("{text}{name} = {}\n", quoted(value)))
    }
}
