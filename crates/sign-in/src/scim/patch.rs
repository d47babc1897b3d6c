//! The body of a PATCH (RFC 7644 section 3.5.2), and what providers make of it: `Op` in capitals, paths as names in a value
//! object, one value in an array where there is one.

use scim_v2::filter::PatchPath;
use serde_json::{Map, Value};
use thiserror::Error;
use usher_identity::scim::{Attribute, Change, Kind, Mutability, Operation, Path, ResourceType};

use super::{
    MAX_DEPTH, MAX_OPERATIONS, MAX_TEXT, PathError,
    filter::{FilterError, many, of_value},
    resolve,
};

const PATCH_URN: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// Why the body of a PATCH is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParsePatchError {
    /// It removes, and does not say what.
    #[error("a remove needs a path")]
    NoTarget,
    /// A path leads nowhere.
    #[error("a path cannot be followed")]
    Path(#[source] PathError),
    /// It is not the body of a PATCH.
    #[error("{0}")]
    Syntax(&'static str),
    /// It has too many operations.
    #[error("a PATCH can have at most {MAX_OPERATIONS} operations")]
    TooMany,
}

/// Reads the body of a PATCH. Every operation of the result has a path.
///
/// # Errors
/// [`ParsePatchError`].
pub fn parse_patch(of: ResourceType, body: &Map<String, Value>) -> Result<Vec<Operation>, ParsePatchError> {
    if let Some(schemas) = member(body, "schemas") {
        let known = schemas.as_array().is_some_and(|all| all.iter().any(|urn| is_text(urn, PATCH_URN)));
        if !known {
            return Err(ParsePatchError::Syntax("`schemas` must name the PatchOp message"));
        }
    }
    let operations = member(body, "Operations")
        .and_then(Value::as_array)
        .filter(|operations| !operations.is_empty())
        .ok_or(ParsePatchError::Syntax("`Operations` must be an array with at least one operation"))?;
    if operations.len() > MAX_OPERATIONS {
        return Err(ParsePatchError::TooMany);
    }
    let mut read = Vec::new();
    for operation in operations {
        let operation =
            operation.as_object().ok_or(ParsePatchError::Syntax("an operation must be an object"))?;
        read_operation(of, operation, &mut read)?;
    }
    Ok(read)
}

fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn is_text(value: &Value, text: &str) -> bool {
    value.as_str().is_some_and(|value| value.eq_ignore_ascii_case(text))
}

fn read_operation(
    of: ResourceType,
    operation: &Map<String, Value>,
    into: &mut Vec<Operation>,
) -> Result<(), ParsePatchError> {
    let word = member(operation, "op").and_then(Value::as_str).unwrap_or_default();
    let change = [("add", Change::Add), ("remove", Change::Remove), ("replace", Change::Replace)]
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(word))
        .map(|(_, change)| change)
        .ok_or(ParsePatchError::Syntax("`op` must be add, remove or replace"))?;
    let value = member(operation, "value").cloned().unwrap_or_default();
    let path = match member(operation, "path") {
        None | Some(Value::Null) => None,
        Some(path) => Some(path.as_str().ok_or(ParsePatchError::Syntax("`path` must be text"))?),
    };
    if let Some(path) = path.filter(|path| !path.is_empty()) {
        let path = parse_path(of, path).map_err(ParsePatchError::Path)?;
        into.push(Operation { change, value: undressed(&path, value), path });
        return Ok(());
    }
    if change == Change::Remove {
        return Err(ParsePatchError::NoTarget);
    }
    let Value::Object(values) = value else {
        return Err(ParsePatchError::Syntax("without a path, `value` must be an object"));
    };
    for (name, value) in values {
        // As in a whole resource, what is unknown or not the provider's is not read.
        let Ok(path) = parse_path(of, &name) else { continue };
        if path.steps.iter().all(|step| step.mutability != Mutability::ReadOnly) {
            into.push(Operation { change, value: undressed(&path, value), path });
        }
    }
    Ok(())
}

/// Reads a path: `name.familyName`, `emails[type eq "work"].value`, also behind a schema's URN.
pub(super) fn parse_path(of: ResourceType, text: &str) -> Result<Path, PathError> {
    // A URN alone: its last segment looks like a version to the grammar.
    if let Some(extension) = of.extension().filter(|extension| extension.name.eq_ignore_ascii_case(text)) {
        return Ok(Path { steps: vec![extension], filter: None });
    }
    if text.len() > MAX_TEXT {
        return Err(PathError::Form);
    }
    if let Some(path) = extension_path(of, text) {
        return Ok(path);
    }
    match text.parse().map_err(|_error| PathError::Form)? {
        PatchPath::Attr(path) => Ok(Path { steps: resolve(of, &path)?, filter: None }),
        PatchPath::Value(path) => {
            let mut steps = resolve(of, &path.attr)?;
            let attribute = many(&steps).map_err(inner)?;
            let filter = of_value(attribute, &path.filter, MAX_DEPTH).map_err(inner)?;
            if let Some(part) = path.sub_attr {
                steps.push(attribute.part(&part).ok_or_else(|| PathError::Unknown(super::shown(&part)))?);
            }
            Ok(Path { steps, filter: Some(filter) })
        }
    }
}

/// `urn:...:User:manager.value`, and Entra's `urn:...:User.manager`.
fn extension_path(of: ResourceType, text: &str) -> Option<Path> {
    let extension = of.extension()?;
    let (urn, rest) = text.split_at_checked(extension.name.len())?;
    if !urn.eq_ignore_ascii_case(extension.name) {
        return None;
    }
    let mut steps: Vec<&'static Attribute> = vec![extension];
    for name in rest.get(1..)?.split('.') {
        steps.push(steps.last()?.part(name)?);
    }
    Some(Path { steps, filter: None })
}

fn inner(error: FilterError) -> PathError {
    match error {
        FilterError::Path(error) => error,
        FilterError::Comparison(_) | FilterError::Form | FilterError::TooMany => PathError::Form,
    }
}

/// Entra puts the one value of an attribute into an array, and into an object.
fn undressed(path: &Path, value: Value) -> Value {
    let Some(last) = path.steps.last().filter(|last| !last.many) else { return value };
    let value = match value {
        Value::Array(mut all) if all.len() == 1 => all.pop().unwrap_or_default(),
        other => other,
    };
    match (last.kind, value) {
        (Kind::Complex, value) => value,
        (_, Value::Object(mut parts)) if parts.contains_key("value") => {
            parts.remove("value").unwrap_or_default()
        }
        (_, value) => value,
    }
}
