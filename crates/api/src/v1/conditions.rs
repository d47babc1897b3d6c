//! When a group's role counts, and what a person is asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use usher_types::Label;
use utoipa::ToSchema;

/// Conditions on a role; without any it always counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Conditions {
    /// Only on servers that have all of these labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: BTreeMap<Label, Label>,
    /// Only for clients in one of these networks, for example `10.0.0.0/8`. The broker must see clients' addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Only at these hours: `mon-fri 08:00-18:00 Europe/Vienna`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<String>,
    /// How the person must have signed in.
    #[serde(skip_serializing_if = "Authentication::is_empty")]
    pub authentication: Authentication,
    /// What a newer version has besides: tolerated in answers, refused in requests.
    #[serde(flatten)]
    #[schema(ignore)]
    pub unknown: BTreeMap<String, serde_json::Value>,
}

/// What is asked of a person's last sign-in (RFC 9470).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Authentication {
    /// At most so many seconds ago; up to a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u32>,
    /// With a second factor.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub second_factor: bool,
    /// For the very server, named when signing in.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub named_server: bool,
    /// As in [`Conditions`].
    #[serde(flatten)]
    #[schema(ignore)]
    pub unknown: BTreeMap<String, serde_json::Value>,
}

impl Conditions {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Authentication {
    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
