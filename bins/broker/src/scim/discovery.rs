//! What this service can do and what its resources look like, made of the table that requests are read by.

use serde_json::{Map, Value, json};
use usher_identity::scim::{Attribute, EXTERNAL_ID, Kind, Mutability, ResourceType};

use super::{Answer, base, bulk, error::ScimError, list_response, query, target::Target};
use crate::AppState;

/// Answers for a place that describes the service.
pub(super) fn answer(app: &AppState, target: &Target) -> Result<Answer, ScimError> {
    let base = base(app);
    match target {
        Target::ResourceTypes(None) => Ok(all(&ResourceType::ALL.map(|of| resource_type(&base, of)))),
        Target::ResourceTypes(Some(name)) => {
            let of = ResourceType::ALL.into_iter().find(|of| of.name() == name);
            of.map(|of| Answer::ok(resource_type(&base, of)))
                .ok_or_else(|| ScimError::not_found("resource type"))
        }
        Target::Schemas(None) => Ok(all(&schemas(&base))),
        Target::Schemas(Some(urn)) => {
            let found = schemas(&base).into_iter().find(|schema| schema["id"] == urn.as_str());
            found.map(Answer::ok).ok_or_else(|| ScimError::not_found("schema"))
        }
        _ => Ok(Answer::ok(service_provider_config(&base))),
    }
}

fn all(resources: &[Value]) -> Answer {
    list_response(u64::try_from(resources.len()).unwrap_or(u64::MAX), 1, resources)
}

fn service_provider_config(base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": true},
        "bulk": {
            "supported": true,
            "maxOperations": bulk::MAX_OPERATIONS,
            "maxPayloadSize": bulk::MAX_PAYLOAD,
        },
        "filter": {"supported": true, "maxResults": query::MOST},
        "changePassword": {"supported": false},
        "sort": {"supported": true},
        "etag": {"supported": true},
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Token of the connector",
            "description": "Made with `usher scim-token create`, for one connector",
            "specUri": "https://www.rfc-editor.org/rfc/rfc6750",
            "primary": true,
        }],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{base}/ServiceProviderConfig"),
        },
    })
}

fn resource_type(base: &str, of: ResourceType) -> Value {
    let name = of.name();
    let extensions: Vec<Value> =
        of.extension().iter().map(|extension| json!({"schema": extension.name, "required": false})).collect();
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": name,
        "name": name,
        "description": format!("{name}s of the connector"),
        "endpoint": of.endpoint(),
        "schema": of.urn(),
        "schemaExtensions": extensions,
        "meta": {"resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{name}")},
    })
}

fn schemas(base: &str) -> Vec<Value> {
    let mut schemas = Vec::new();
    for of in ResourceType::ALL {
        schemas.push(schema(base, of.urn(), of.name(), &[&[EXTERNAL_ID], of.attributes()].concat()));
        if let Some(extension) = of.extension() {
            schemas.push(schema(base, extension.name, "EnterpriseUser", extension.parts));
        }
    }
    schemas
}

fn schema(base: &str, urn: &str, name: &str, attributes: &[Attribute]) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": urn,
        "name": name,
        "description": name,
        "attributes": attributes.iter().map(attribute).collect::<Vec<_>>(),
        "meta": {"resourceType": "Schema", "location": format!("{base}/Schemas/{urn}")},
    })
}

fn attribute(attribute: &Attribute) -> Value {
    let kind = match attribute.kind {
        Kind::Complex => "complex",
        Kind::Flag => "boolean",
        Kind::Reference => "reference",
        Kind::Text => "string",
        Kind::Time => "dateTime",
    };
    let mutability = match attribute.mutability {
        Mutability::Immutable => "immutable",
        Mutability::ReadOnly => "readOnly",
        Mutability::ReadWrite => "readWrite",
    };
    let mut shown = Map::new();
    shown.insert("name".to_owned(), attribute.name.into());
    shown.insert("type".to_owned(), kind.into());
    shown.insert("multiValued".to_owned(), attribute.many.into());
    shown.insert("description".to_owned(), attribute.description.into());
    shown.insert("required".to_owned(), attribute.required.into());
    shown.insert("mutability".to_owned(), mutability.into());
    shown.insert("returned".to_owned(), "default".into());
    shown.insert("uniqueness".to_owned(), if attribute.unique { "server" } else { "none" }.into());
    if matches!(attribute.kind, Kind::Reference | Kind::Text) {
        shown.insert("caseExact".to_owned(), attribute.case_exact.into());
    }
    if !attribute.canonical.is_empty() {
        shown.insert("canonicalValues".to_owned(), json!(attribute.canonical));
    }
    if !attribute.references.is_empty() {
        shown.insert("referenceTypes".to_owned(), json!(attribute.references));
    }
    if !attribute.parts.is_empty() {
        shown.insert("subAttributes".to_owned(), attribute.parts.iter().map(self::attribute).collect());
    }
    Value::Object(shown)
}
