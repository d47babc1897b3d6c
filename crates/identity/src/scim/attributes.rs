//! What a provider says about one resource, brought into the form of the schema: spelled as there, of the right kinds,
//! bounded, and nothing that the schema does not have or that is not the provider's to say.

use serde_json::{Map, Value};
use thiserror::Error;

use super::schema::{Attribute, ENTERPRISE_URN, Kind, Mutability, ResourceType};

/// Longest text of an attribute, in bytes.
const LONGEST: usize = 1024;
/// Most values of an attribute that has many; members of groups have limits of their own.
const MOST_VALUES: usize = 100;
/// Longest name of a user or group, in bytes.
const LONGEST_NAME: usize = 256;
/// Longest attributes of one resource together, as JSON.
const LONGEST_TOGETHER: usize = 32 * 1024;

/// What may be wrong with what a provider says.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AttributeError {
    /// It cannot be changed.
    #[error("`{0}` cannot be changed once it is set")]
    Immutable(&'static str),
    /// A resource cannot be without it.
    #[error("`{0}` is required")]
    Missing(&'static str),
    /// Usher says it, not the provider.
    #[error("`{0}` is read-only")]
    ReadOnly(&'static str),
    /// More than is kept of one resource.
    #[error("the resource is too long")]
    TooLong,
    /// The value is not what the schema says.
    #[error("`{attribute}` {rule}")]
    Value {
        /// The attribute.
        attribute: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

/// The attributes of a user or group that its provider says: no id, no times, no members, no groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    of: ResourceType,
    values: Map<String, Value>,
}

impl Attributes {
    /// Reads a resource. What the schema does not know and what is not the provider's is left out (RFC 7644 section 3.3: the
    /// service provider ignores it); a value that the schema forbids is refused.
    ///
    /// # Errors
    /// [`AttributeError`] when a value is not what the schema says, or a required one is absent.
    pub fn read(of: ResourceType, body: &Map<String, Value>) -> Result<Self, AttributeError> {
        let mut values = Map::new();
        for (name, value) in body {
            let Some(attribute) = of.attribute(name).filter(|attribute| is_kept(attribute)) else { continue };
            if let Some(value) = normal(attribute, value)? {
                values.insert(attribute.name.to_owned(), value);
            }
        }
        Self { of, values }.checked()
    }

    /// What was stored: JSON of [`Self::values`].
    ///
    /// # Errors
    /// [`AttributeError`] when it is not in order, as in [`Self::read`].
    pub fn stored(of: ResourceType, values: Map<String, Value>) -> Result<Self, AttributeError> {
        Self { of, values }.checked()
    }

    /// By name, as on the wire.
    #[must_use]
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    pub(super) fn values_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.values
    }

    /// Users' or groups'.
    #[must_use]
    pub fn of(&self) -> ResourceType {
        self.of
    }

    /// What the provider calls the resource: `userName` of a user, `displayName` of a group.
    #[must_use]
    pub fn name(&self) -> &str {
        let name = match self.of {
            ResourceType::Group => "displayName",
            ResourceType::User => "userName",
        };
        self.text(name).unwrap_or_default()
    }

    /// The provider's id of it, when it said one.
    #[must_use]
    pub fn external_id(&self) -> Option<&str> {
        self.text("externalId")
    }

    /// Whether the provider lets the user in; it does unless it says otherwise.
    #[must_use]
    pub fn active(&self) -> bool {
        self.values.get("active").and_then(Value::as_bool).unwrap_or(true)
    }

    /// What people call the user, by the provider's words: the first of the attributes that are for it.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        let name = self.values.get("name").and_then(Value::as_object);
        let formatted = name.and_then(|name| name.get("formatted")).and_then(Value::as_str);
        self.text("displayName").or(formatted).unwrap_or_else(|| self.name())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(Value::as_str)
    }

    /// These attributes in the place of `before`, of the same resource: what cannot be changed is as it was, and a user about
    /// whom nothing is said stays as active as it was.
    ///
    /// # Errors
    /// [`AttributeError::Immutable`] when the external id would change.
    pub fn replacing(mut self, before: &Self) -> Result<Self, AttributeError> {
        match (self.external_id(), before.external_id()) {
            (Some(now), Some(then)) if now != then => return Err(AttributeError::Immutable("externalId")),
            _ => {}
        }
        for name in ["externalId", "active"] {
            if let (None, Some(value)) = (self.values.get(name), before.values.get(name)) {
                self.values.insert(name.to_owned(), value.clone());
            }
        }
        Ok(self)
    }

    /// The same, when it is in order as a whole.
    pub(super) fn checked(self) -> Result<Self, AttributeError> {
        let required = self.of.attributes().iter().find(|attribute| attribute.required);
        if let Some(missing) = required.filter(|attribute| !self.values.contains_key(attribute.name)) {
            return Err(AttributeError::Missing(missing.name));
        }
        if self.name().len() > LONGEST_NAME {
            let attribute = required.map_or("", |attribute| attribute.name);
            return Err(AttributeError::Value { attribute, rule: "can have at most 256 bytes" });
        }
        let length = serde_json::to_string(&self.values).map_or(usize::MAX, |text| text.len());
        if length > LONGEST_TOGETHER { Err(AttributeError::TooLong) } else { Ok(self) }
    }
}

/// Whether it is kept in the attributes: it is the provider's, and no list of members.
pub(super) fn is_kept(attribute: &Attribute) -> bool {
    attribute.mutability != Mutability::ReadOnly && attribute.name != "members"
}

/// A value in the form of the schema; None when it says nothing (RFC 7643 section 2.5: null, an empty array, a complex
/// value without parts).
pub(super) fn normal(attribute: &'static Attribute, value: &Value) -> Result<Option<Value>, AttributeError> {
    if !attribute.many {
        return one(attribute, value);
    }
    let alone = std::slice::from_ref(value);
    let given = value.as_array().map_or(alone, Vec::as_slice);
    if given.len() > MOST_VALUES {
        return Err(wrong(attribute, "has too many values"));
    }
    let mut values: Vec<Value> = Vec::new();
    for value in given {
        if let Some(value) = one(attribute, value)?.filter(|value| !values.contains(value)) {
            values.push(value);
        }
    }
    if values.iter().filter(|value| is_primary(value)).count() > 1 {
        return Err(wrong(attribute, "has more than one primary value"));
    }
    Ok((!values.is_empty()).then_some(Value::Array(values)))
}

/// RFC 7643 section 2.4: "The primary attribute value "true" MUST appear no more than once."
pub(super) fn is_primary(value: &Value) -> bool {
    value.get("primary").and_then(Value::as_bool) == Some(true)
}

/// One of many values, or the only one.
pub(super) fn one(attribute: &'static Attribute, value: &Value) -> Result<Option<Value>, AttributeError> {
    if value.is_null() {
        return Ok(None);
    }
    match attribute.kind {
        Kind::Complex => complex(attribute, value),
        // Some providers write booleans as text.
        Kind::Flag => match (value.as_bool(), value.as_str()) {
            (Some(flag), _) => Ok(Some(flag.into())),
            (None, Some(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true.into())),
            (None, Some(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false.into())),
            (None, _) => Err(wrong(attribute, "must be true or false")),
        },
        Kind::Reference | Kind::Text | Kind::Time => text(attribute, value),
    }
}

fn complex(attribute: &'static Attribute, value: &Value) -> Result<Option<Value>, AttributeError> {
    let mut parts = Map::new();
    if let Some(given) = value.as_object() {
        for (name, value) in given {
            let part = attribute.part(name).filter(|part| part.mutability != Mutability::ReadOnly);
            let Some(part) = part else { continue };
            if let Some(value) = normal(part, value)? {
                parts.insert(part.name.to_owned(), value);
            }
        }
    } else {
        // The value alone stands for the part that is called so: `"manager": "26118915"`.
        let part = attribute.part("value").ok_or_else(|| wrong(attribute, "must be an object"))?;
        if let Some(value) = one(part, value)? {
            parts.insert(part.name.to_owned(), value);
        }
    }
    Ok((!parts.is_empty()).then_some(Value::Object(parts)))
}

fn text(attribute: &'static Attribute, value: &Value) -> Result<Option<Value>, AttributeError> {
    let text = value.as_str().ok_or_else(|| wrong(attribute, "must be text"))?;
    if text.len() > LONGEST {
        return Err(wrong(attribute, "is too long"));
    }
    // Postal addresses have several lines.
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(wrong(attribute, "has control characters"));
    }
    if attribute.required && text.trim().is_empty() {
        return Err(AttributeError::Missing(attribute.name));
    }
    Ok((!text.is_empty()).then(|| text.into()))
}

pub(super) fn wrong(attribute: &Attribute, rule: &'static str) -> AttributeError {
    AttributeError::Value { attribute: attribute.name, rule }
}

/// The schemas that a resource with these attributes has.
#[must_use]
pub fn schemas(attributes: &Attributes) -> Vec<&'static str> {
    let mut schemas = vec![attributes.of().urn()];
    if attributes.values().contains_key(ENTERPRISE_URN) {
        schemas.push(ENTERPRISE_URN);
    }
    schemas
}
