//! What a PATCH makes of a resource (RFC 7644 section 3.5.2). Pure: attributes and operations in, attributes out. The
//! members of a group are not at hand here, they may be many: for them a [`MemberChange`] says what to do.

use serde_json::{Map, Value};
use thiserror::Error;
use usher_types::UserId;

use super::{
    attributes::{AttributeError, Attributes, is_primary, normal, one, wrong},
    filter::{Filter, Order, Test, TextTest},
    schema::{Attribute, Kind, Mutability, ResourceType},
};

/// What an operation does with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// `add`.
    Add,
    /// `remove`.
    Remove,
    /// `replace`.
    Replace,
}

/// A place in a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// From the resource inwards; not empty.
    pub steps: Vec<&'static Attribute>,
    /// Which values of the first step, when that has many.
    pub filter: Option<Filter>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// What it does.
    pub change: Change,
    /// Where.
    pub path: Path,
    /// With what; null when nothing was said.
    pub value: Value,
}

/// What happens to the members of a group, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// They join.
    Add(Vec<UserId>),
    /// They leave.
    Remove(Vec<UserId>),
    /// Everybody leaves.
    RemoveAll,
    /// These and no others.
    Replace(Vec<UserId>),
}

/// Why a PATCH cannot be done. Then nothing of it is.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PatchError {
    /// A value is not right.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// A filter on members asks for more than their id.
    #[error("members are chosen by their id: `members[value eq \"...\"]`")]
    MemberFilter,
    /// No value matches the filter.
    #[error("no value of `{0}` matches the filter")]
    NoTarget(&'static str),
}

/// Applies operations to a user's or group's own attributes, all or none, and says what they do to the members.
///
/// # Errors
/// [`PatchError`].
pub fn apply(
    attributes: &Attributes,
    operations: &[Operation],
) -> Result<(Attributes, Vec<MemberChange>), PatchError> {
    let mut after = attributes.clone();
    let mut members = Vec::new();
    for operation in operations {
        let Some(first) = operation.path.steps.first() else { continue };
        if first.name == "members" {
            members.push(member_change(operation)?);
            continue;
        }
        refuse(&after, operation)?;
        if operation.path.filter.is_some() {
            filtered(after.values_mut(), operation)?;
        } else {
            plain(after.values_mut(), &operation.path.steps, operation)?;
        }
    }
    Ok((after.checked()?, members))
}

/// What is not the provider's to change.
fn refuse(before: &Attributes, operation: &Operation) -> Result<(), AttributeError> {
    let steps = &operation.path.steps;
    if let Some(step) = steps.iter().find(|step| step.mutability == Mutability::ReadOnly) {
        return Err(AttributeError::ReadOnly(step.name));
    }
    let Some(first) = steps.first().filter(|first| first.mutability == Mutability::Immutable) else {
        return Ok(());
    };
    // Set once; the same again changes nothing.
    match before.values().get(first.name) {
        Some(then) if operation.change == Change::Remove || *then != operation.value => {
            Err(AttributeError::Immutable(first.name))
        }
        _ => Ok(()),
    }
}

/// An operation on the whole of what the steps lead to.
fn plain(
    values: &mut Map<String, Value>,
    steps: &[&'static Attribute],
    operation: &Operation,
) -> Result<(), PatchError> {
    let Some((attribute, further)) = steps.split_first() else { return Ok(()) };
    if further.is_empty() {
        return Ok(put(values, attribute, operation.change, &operation.value)?);
    }
    if attribute.many {
        // A part of every value: `emails.type`.
        let Some(all) = values.get_mut(attribute.name).and_then(Value::as_array_mut) else {
            return match operation.change {
                Change::Remove => Ok(()),
                Change::Add | Change::Replace => Err(PatchError::NoTarget(attribute.name)),
            };
        };
        for value in all.iter_mut().filter_map(Value::as_object_mut) {
            plain(value, further, operation)?;
        }
        return settle(values, attribute, None);
    }
    let mut inner = values.get(attribute.name).and_then(Value::as_object).cloned().unwrap_or_default();
    plain(&mut inner, further, operation)?;
    if inner.is_empty() {
        values.remove(attribute.name);
    } else {
        values.insert(attribute.name.to_owned(), Value::Object(inner));
    }
    Ok(())
}

/// Sets, adds to or removes one attribute.
fn put(
    values: &mut Map<String, Value>,
    attribute: &'static Attribute,
    change: Change,
    value: &Value,
) -> Result<(), AttributeError> {
    if change == Change::Remove {
        return remove(values, attribute, value);
    }
    let given = normal(attribute, value)?;
    let before = values.get(attribute.name);
    let after = match (given, before) {
        (Some(given), Some(before)) if attribute.many && change == Change::Add => {
            Some(added(before.as_array().map(Vec::as_slice).unwrap_or_default(), given))
        }
        // A complex value keeps the parts that nothing is said about, also when it is replaced: providers send what changed.
        (Some(Value::Object(given)), Some(Value::Object(before))) => {
            let mut merged = before.clone();
            merged.extend(given);
            Some(Value::Object(merged))
        }
        (None, Some(before)) if change == Change::Add => Some(before.clone()),
        (given, _) => given,
    };
    match after {
        Some(after) => {
            // A list that became too long is refused like one that came so.
            if let Some(after) = normal(attribute, &after)? {
                values.insert(attribute.name.to_owned(), after);
            }
        }
        // Nothing said of what must be there: it stays as it was.
        None if attribute.required => return Err(AttributeError::Missing(attribute.name)),
        None => {
            values.remove(attribute.name);
        }
    }
    Ok(())
}

/// Values together; a new primary one takes the place of the old.
fn added(before: &[Value], given: Value) -> Value {
    let Value::Array(given) = given else { return given };
    let mut all = before.to_vec();
    if given.iter().any(is_primary) {
        all.iter_mut().for_each(not_primary);
    }
    for value in given {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    Value::Array(all)
}

fn not_primary(value: &mut Value) {
    if is_primary(value)
        && let Some(parts) = value.as_object_mut()
    {
        parts.insert("primary".to_owned(), false.into());
    }
}

/// Removes an attribute, or those of its values that are given.
fn remove(
    values: &mut Map<String, Value>,
    attribute: &'static Attribute,
    value: &Value,
) -> Result<(), AttributeError> {
    if attribute.required {
        return Err(AttributeError::Missing(attribute.name));
    }
    if !attribute.many || value.is_null() {
        values.remove(attribute.name);
        return Ok(());
    }
    let given = normal(attribute, value)?;
    let given = given.as_ref().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let same = |kept: &Value| {
        given.iter().any(|given| {
            given == kept || (given.get("value").is_some() && given.get("value") == kept.get("value"))
        })
    };
    if let Some(all) = values.get_mut(attribute.name).and_then(Value::as_array_mut) {
        all.retain(|kept| !same(kept));
        if all.is_empty() {
            values.remove(attribute.name);
        }
    }
    Ok(())
}

/// An operation on those values of an attribute that match: `emails[type eq "work"].value`.
fn filtered(values: &mut Map<String, Value>, operation: &Operation) -> Result<(), PatchError> {
    let Path { steps, filter: Some(filter) } = &operation.path else { return Ok(()) };
    let Some((attribute, further)) = steps.split_first() else { return Ok(()) };
    let mut all = values.get(attribute.name).and_then(Value::as_array).cloned().unwrap_or_default();
    let matching = |value: &Value| value.as_object().is_some_and(|parts| filter.matches(parts));
    let mut chosen = None;
    if operation.change == Change::Remove && further.is_empty() {
        all.retain(|value| !matching(value));
    } else {
        let mut found = false;
        for (index, value) in all.iter_mut().enumerate().filter(|(_, value)| matching(value)) {
            found = true;
            set(value, attribute, further, operation)?;
            chosen = is_primary(value).then_some(index).or(chosen);
        }
        if !found {
            match (operation.change, new_value(attribute, filter)) {
                (Change::Remove, _) => {}
                // Entra adds to, and replaces in, values that are not there yet: the filter says what they are otherwise.
                (Change::Add | Change::Replace, Some(mut value)) => {
                    set(&mut value, attribute, further, operation)?;
                    chosen = is_primary(&value).then_some(all.len());
                    all.push(value);
                }
                (Change::Add | Change::Replace, None) => return Err(PatchError::NoTarget(attribute.name)),
            }
        }
    }
    values.insert(attribute.name.to_owned(), Value::Array(all));
    settle(values, attribute, chosen)
}

/// Changes one value, or a part of it.
fn set(
    value: &mut Value,
    attribute: &'static Attribute,
    further: &[&'static Attribute],
    operation: &Operation,
) -> Result<(), PatchError> {
    let Some(parts) = value.as_object_mut() else { return Ok(()) };
    if !further.is_empty() {
        return plain(parts, further, operation);
    }
    let given = one(attribute, &operation.value)?.ok_or_else(|| wrong(attribute, "needs a value"))?;
    if let Value::Object(given) = given {
        parts.extend(given);
    }
    Ok(())
}

/// What a filter of equalities describes.
fn new_value(attribute: &'static Attribute, filter: &Filter) -> Option<Value> {
    fn describe(filter: &Filter, parts: &mut Map<String, Value>) -> Option<()> {
        if let Filter::And(all) = filter {
            return all.iter().try_for_each(|filter| describe(filter, parts));
        }
        let Filter::Test { path, test } = filter else { return None };
        let [part] = path.as_slice() else { return None };
        let value: Value = match test {
            Test::Flag(flag) => (*flag).into(),
            Test::Text(TextTest::Order(Order::Equal), text) => text.as_str().into(),
            Test::Present | Test::Text(..) | Test::Time(..) => return None,
        };
        parts.insert(part.name.to_owned(), value);
        Some(())
    }
    let mut parts = Map::new();
    describe(filter, &mut parts)?;
    (attribute.kind == Kind::Complex && !parts.is_empty()).then_some(Value::Object(parts))
}

/// Brings the values of an attribute into form again; only the chosen one stays primary, when one was chosen.
fn settle(
    values: &mut Map<String, Value>,
    attribute: &'static Attribute,
    chosen: Option<usize>,
) -> Result<(), PatchError> {
    let mut all = values.remove(attribute.name).unwrap_or_default();
    if let (Some(chosen), Some(all)) = (chosen, all.as_array_mut()) {
        all.iter_mut()
            .enumerate()
            .filter(|(index, _)| *index != chosen)
            .for_each(|(_, value)| not_primary(value));
    }
    if let Some(all) = normal(attribute, &all)? {
        values.insert(attribute.name.to_owned(), all);
    }
    Ok(())
}

fn member_change(operation: &Operation) -> Result<MemberChange, PatchError> {
    let Some(members) = operation.path.steps.first() else { return Err(PatchError::MemberFilter) };
    if operation.path.steps.len() > 1 {
        return Err(AttributeError::Immutable("members").into());
    }
    match (operation.change, &operation.path.filter) {
        (Change::Remove, Some(filter)) => {
            Ok(MemberChange::Remove(chosen(filter).ok_or(PatchError::MemberFilter)?))
        }
        (Change::Add | Change::Replace, Some(_)) => Err(AttributeError::Immutable("members").into()),
        (Change::Add, None) => Ok(MemberChange::Add(member_ids(members, &operation.value)?)),
        (Change::Remove, None) if operation.value.is_null() => Ok(MemberChange::RemoveAll),
        // Entra says in the value who leaves.
        (Change::Remove, None) => Ok(MemberChange::Remove(member_ids(members, &operation.value)?)),
        (Change::Replace, None) => Ok(MemberChange::Replace(member_ids(members, &operation.value)?)),
    }
}

/// The ids that `value eq "..." or value eq "..."` names. One that cannot be an id is nobody's.
fn chosen(filter: &Filter) -> Option<Vec<UserId>> {
    match filter {
        Filter::Or(all) => {
            let each: Option<Vec<_>> = all.iter().map(chosen).collect();
            Some(each?.concat())
        }
        Filter::Test { path, test: Test::Text(TextTest::Order(Order::Equal), id) }
            if path.iter().map(|step| step.name).eq(["value"]) =>
        {
            Some(id.parse().into_iter().collect())
        }
        Filter::And(_) | Filter::Any { .. } | Filter::Not(_) | Filter::Test { .. } => None,
    }
}

/// Ids of the members of a group, in a resource or an operation.
///
/// # Errors
/// [`AttributeError`] when they are not ids of users.
pub fn members(body: &Map<String, Value>) -> Result<Option<Vec<UserId>>, AttributeError> {
    let Some(members) = ResourceType::Group.attribute("members") else { return Ok(None) };
    let given = body.iter().find(|(name, _)| name.eq_ignore_ascii_case(members.name));
    given.map(|(_, value)| member_ids(members, value)).transpose()
}

fn member_ids(members: &'static Attribute, value: &Value) -> Result<Vec<UserId>, AttributeError> {
    let rule = "must be users of this connector, by id";
    if value.is_null() {
        return Ok(Vec::new());
    }
    let alone = std::slice::from_ref(value);
    let given = value.as_array().map_or(alone, Vec::as_slice);
    let id = |member: &Value| {
        let parts = member.as_object();
        let part = |wanted: &str| {
            parts?.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
        };
        let is_user =
            part("type").and_then(Value::as_str).is_none_or(|kind| kind.eq_ignore_ascii_case("user"));
        let id = part("value").unwrap_or(member).as_str().filter(|_| is_user);
        id.and_then(|id| id.parse::<UserId>().ok()).ok_or_else(|| wrong(members, rule))
    };
    given.iter().map(id).collect()
}
