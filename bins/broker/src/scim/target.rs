//! Where requests go. What can be done there is not known here.

use usher_identity::scim::ResourceType;

use super::error::ScimError;

/// A place below `/scim/v2`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Many operations in one.
    Bulk,
    /// All users, or all groups.
    Collection(ResourceType),
    /// One user or group.
    Resource(ResourceType, String),
    /// What types there are, or one of them.
    ResourceTypes(Option<String>),
    /// What schemas there are, or one of them.
    Schemas(Option<String>),
    /// Users or groups, asked for by a body.
    Search(ResourceType),
    /// What this service can do.
    ServiceProviderConfig,
}

impl Target {
    /// Reads a path.
    pub(super) fn parse(path: &str) -> Result<Self, ScimError> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let types = |wanted: &str| {
            ResourceType::ALL.into_iter().find(|of| of.endpoint().strip_prefix('/') == Some(wanted))
        };
        match parts.as_slice() {
            ["Bulk"] => Ok(Self::Bulk),
            ["ServiceProviderConfig"] => Ok(Self::ServiceProviderConfig),
            ["ResourceTypes"] => Ok(Self::ResourceTypes(None)),
            ["ResourceTypes", name] => Ok(Self::ResourceTypes(Some((*name).to_owned()))),
            ["Schemas"] => Ok(Self::Schemas(None)),
            ["Schemas", urn] => Ok(Self::Schemas(Some((*urn).replace("%3A", ":").replace("%3a", ":")))),
            // RFC 7644 section 3.12: 501 for what is part of the standard and not of this service.
            ["Me", ..] | [".search"] => Err(ScimError::not_implemented()),
            [collection] => {
                types(collection).map(Self::Collection).ok_or_else(|| ScimError::not_found("resource"))
            }
            [collection, ".search"] => {
                types(collection).map(Self::Search).ok_or_else(|| ScimError::not_found("resource"))
            }
            [collection, id] => types(collection)
                .map(|of| Self::Resource(of, (*id).to_owned()))
                .ok_or_else(|| ScimError::not_found("resource")),
            _ => Err(ScimError::not_found("resource")),
        }
    }

    /// Whether it describes the service.
    pub(super) fn is_discovery(&self) -> bool {
        matches!(self, Self::ResourceTypes(_) | Self::Schemas(_) | Self::ServiceProviderConfig)
    }
}
