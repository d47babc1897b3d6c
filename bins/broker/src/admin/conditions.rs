//! Conditions on roles, as administrators write them: checked once here, and shown again.

use usher_api::v1::{Authentication, Conditions};
use usher_audit::{Network, Reported, RoleConditions, WantedAuthentication};
use usher_policy::LONGEST_MAX_AGE;
use usher_types::Cidr;

use crate::error::ApiError;

const MAX_LABELS: usize = 16;
const MAX_NETWORKS: usize = 64;

/// Whoever signs in needs some time to get back to the terminal.
const SHORTEST_MAX_AGE: u32 = 30;

pub(crate) fn parse(given: Conditions) -> Result<usher_policy::Conditions, ApiError> {
    let Conditions { labels, networks, hours, authentication, unknown } = given;
    refuse_unknown("conditions", &unknown)?;
    if labels.len() > MAX_LABELS || networks.len() > MAX_NETWORKS {
        return Err(ApiError::invalid(format!(
            "conditions: at most {MAX_LABELS} labels and {MAX_NETWORKS} networks"
        )));
    }
    let networks = networks.iter().map(|text| text.parse::<Cidr>()).collect::<Result<_, _>>();
    let hours = hours.map(|text| text.parse()).transpose();
    Ok(usher_policy::Conditions {
        labels,
        networks: networks.map_err(|error| ApiError::invalid(format!("conditions.networks: {error}")))?,
        hours: hours.map_err(|error| ApiError::invalid(format!("conditions.hours: {error}")))?,
        authentication: parse_authentication(authentication)?,
    })
}

pub(super) fn parse_authentication(given: Authentication) -> Result<usher_policy::Authentication, ApiError> {
    let Authentication { max_age_seconds, second_factor, named_server, unknown } = given;
    refuse_unknown("authentication", &unknown)?;
    let longest = u32::try_from(LONGEST_MAX_AGE.as_secs()).unwrap_or(u32::MAX);
    if max_age_seconds.is_some_and(|age| !(SHORTEST_MAX_AGE..=longest).contains(&age)) {
        return Err(ApiError::invalid(format!(
            "authentication.max_age_seconds: from {SHORTEST_MAX_AGE} to {longest}"
        )));
    }
    Ok(usher_policy::Authentication { max_age_seconds, second_factor, named_server })
}

/// A condition that this broker does not know could not be kept.
fn refuse_unknown<V>(place: &str, unknown: &std::collections::BTreeMap<String, V>) -> Result<(), ApiError> {
    match unknown.keys().next() {
        None => Ok(()),
        Some(name) => {
            let name: String = name.chars().take(64).flat_map(char::escape_default).collect();
            Err(ApiError::invalid(format!("{place}: there is no condition `{name}`")))
        }
    }
}

pub(crate) fn shown(conditions: &usher_policy::Conditions) -> Conditions {
    Conditions {
        labels: conditions.labels.clone(),
        networks: conditions.networks.iter().map(ToString::to_string).collect(),
        hours: conditions.hours.as_ref().map(ToString::to_string),
        authentication: shown_authentication(&conditions.authentication),
        unknown: Default::default(),
    }
}

pub(crate) fn shown_authentication(authentication: &usher_policy::Authentication) -> Authentication {
    Authentication {
        max_age_seconds: authentication.max_age_seconds,
        second_factor: authentication.second_factor,
        named_server: authentication.named_server,
        unknown: Default::default(),
    }
}

pub(super) fn audited(conditions: &usher_policy::Conditions) -> RoleConditions {
    let network = |cidr: &Cidr| Network { address: cidr.network(), prefix_length: cidr.prefix_length() };
    let asked = &conditions.authentication;
    RoleConditions {
        labels: conditions.labels.clone(),
        networks: conditions.networks.iter().map(network).collect(),
        hours: conditions.hours.as_ref().map(|hours| Reported::new(&hours.to_string().replace(' ', ","))),
        authentication: (!asked.asks_nothing()).then(|| audited_authentication(asked)),
    }
}

pub(super) fn audited_authentication(asked: &usher_policy::Authentication) -> WantedAuthentication {
    WantedAuthentication {
        max_age_seconds: asked.max_age_seconds,
        second_factor: asked.second_factor,
        named_server: asked.named_server,
    }
}
