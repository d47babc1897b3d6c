//! Many operations in one request (RFC 7644 section 3.7): one transaction, one move of the epoch. An operation that is refused is undone by
//! itself and the others stand, as the standard wants it.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{Answer, Change, Write, caller::Caller, error::ScimError, object, target::Target};
use crate::AppState;

/// Most operations of one request.
pub(super) const MAX_OPERATIONS: usize = 200;
/// Longest body, in bytes.
pub(super) const MAX_PAYLOAD: usize = 1024 * 1024;

/// One operation, as it was asked for.
struct Operation {
    method: String,
    path: String,
    bulk_id: Option<String>,
    version: Option<String>,
    data: Value,
}

impl Operation {
    fn read(value: &Value) -> Result<Self, ScimError> {
        let operation =
            value.as_object().ok_or_else(|| ScimError::syntax("an operation must be an object"))?;
        let text = |name: &str| operation.get(name).and_then(Value::as_str).map(str::to_owned);
        let need =
            |name: &str| text(name).ok_or_else(|| ScimError::syntax(format!("an operation needs `{name}`")));
        Ok(Self {
            method: need("method")?.to_ascii_uppercase(),
            path: need("path")?,
            bulk_id: text("bulkId"),
            version: text("version"),
            data: operation.get("data").cloned().unwrap_or_default(),
        })
    }
}

/// Does all of them, one after the other.
pub(super) async fn run(app: &AppState, caller: &Caller, body: &[u8]) -> Result<Answer, ScimError> {
    if body.len() > MAX_PAYLOAD {
        let detail = format!("a bulk request can have at most {MAX_PAYLOAD} bytes");
        return Err(ScimError::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    let body = object(body)?;
    let operations = body
        .get("Operations")
        .and_then(Value::as_array)
        .ok_or_else(|| ScimError::syntax("`Operations` must be an array"))?;
    if operations.len() > MAX_OPERATIONS {
        let detail = format!("a bulk request can have at most {MAX_OPERATIONS} operations");
        return Err(ScimError::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    let tolerated = body.get("failOnErrors").and_then(Value::as_u64).unwrap_or(u64::MAX).max(1);
    let mut change = Change::begin(app, caller.clone(), app.now()).await?;
    let (mut ids, mut answers, mut failed) = (BTreeMap::new(), Vec::new(), 0_u64);
    for operation in operations {
        let step = change.tx.step().await?;
        let read = Operation::read(operation);
        let done = match &read {
            Ok(operation) => one(&mut change, operation, &mut ids).await,
            Err(_) => Err(ScimError::syntax("an operation needs `method` and `path`")),
        };
        if let Err(error) = &done {
            // A broker or database that fails ends it all: then nothing of it happened.
            if !error.is_callers() {
                return done;
            }
            change.tx.undo(step).await?;
            failed = failed.saturating_add(1);
        } else {
            change.tx.keep(step).await?;
        }
        answers.push(shown(read.ok().as_ref(), done));
        if failed >= tolerated {
            break;
        }
    }
    change.tx.commit().await?;
    Ok(Answer::ok(json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkResponse"],
        "Operations": answers,
    })))
}

async fn one(
    change: &mut Change,
    operation: &Operation,
    ids: &mut BTreeMap<String, String>,
) -> Result<Answer, ScimError> {
    let path = resolved(&operation.path, ids)?;
    let mut data = operation.data.clone();
    resolve(&mut data, ids)?;
    let method = Method::from_bytes(operation.method.as_bytes()).unwrap_or_default();
    let write = Write::of(&method, Target::parse(&path)?).ok_or_else(ScimError::method_not_allowed)?;
    let data = match data {
        Value::Object(data) => data,
        Value::Null if method == Method::DELETE => Map::new(),
        _ => return Err(ScimError::syntax("an operation needs `data`, an object")),
    };
    let answer = change.write(&write, &data, operation.version.as_deref()).await?;
    let id = answer.location.as_deref().and_then(|location| location.rsplit('/').next());
    if let (Some(bulk_id), Some(id)) = (&operation.bulk_id, id) {
        ids.insert(bulk_id.clone(), id.to_owned());
    }
    Ok(answer)
}

/// A text with the id that an earlier operation got, in the place of its `bulkId`.
fn resolved(text: &str, ids: &BTreeMap<String, String>) -> Result<String, ScimError> {
    let Some((before, bulk_id)) = text.split_once("bulkId:") else { return Ok(text.to_owned()) };
    match ids.get(bulk_id) {
        Some(id) => Ok(format!("{before}{id}")),
        None => Err(ScimError::value("a `bulkId` names an operation before this one, that was done")),
    }
}

fn resolve(value: &mut Value, ids: &BTreeMap<String, String>) -> Result<(), ScimError> {
    match value {
        Value::Array(all) => all.iter_mut().try_for_each(|value| resolve(value, ids)),
        Value::Object(all) => all.values_mut().try_for_each(|value| resolve(value, ids)),
        Value::String(text) if text.starts_with("bulkId:") => {
            *text = resolved(text, ids)?;
            Ok(())
        }
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn shown(operation: Option<&Operation>, done: Result<Answer, ScimError>) -> Value {
    let mut shown = Map::new();
    if let Some(operation) = operation {
        shown.insert("method".to_owned(), operation.method.as_str().into());
        shown.extend(operation.bulk_id.as_deref().map(|id| ("bulkId".to_owned(), id.into())));
    }
    match done {
        Ok(answer) => {
            shown.insert("status".to_owned(), answer.status.as_str().into());
            shown.extend(answer.location.map(|location| ("location".to_owned(), location.into())));
            shown.extend(answer.version.map(|version| ("version".to_owned(), version.into())));
        }
        Err(error) => {
            let (status, body) = error.parts();
            shown.insert("status".to_owned(), status.as_str().into());
            shown.insert("response".to_owned(), body);
        }
    }
    Value::Object(shown)
}
