//! What a query asks for: which resources, in which order, how many, and which of their attributes.

use http::StatusCode;
use serde_json::{Map, Value};
use usher_identity::scim::{Attribute, ResourceType};
use usher_sign_in::scim::{parse_attribute, parse_filter};
use usher_store::scim::Listing;

use super::{Answer, error::ScimError};

/// Most resources of one answer.
pub(super) const MOST: u32 = 500;
/// How many when nobody says.
const DEFAULT: u32 = 100;

/// A query, as it was written.
#[derive(Debug, Default)]
pub(super) struct Query {
    filter: Option<String>,
    sort_by: Option<String>,
    descending: bool,
    start: Option<i64>,
    count: Option<i64>,
    attributes: Vec<String>,
    excluded: Vec<String>,
}

impl Query {
    /// Reads a query string. What is unknown is left out.
    pub(super) fn parse(text: &str) -> Result<Self, ScimError> {
        let mut query = Self::default();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            query.set(&name, &value)?;
        }
        Ok(query)
    }

    /// Reads the body of a search.
    pub(super) fn of_search(of: ResourceType, body: &Map<String, Value>) -> Result<Self, ScimError> {
        let mut query = Self::default();
        for (name, value) in body {
            match value {
                Value::String(text) => query.set(name, text)?,
                Value::Number(number) => query.set(name, &number.to_string())?,
                Value::Array(all) => {
                    let texts: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
                    query.set(name, &texts.join(","))?;
                }
                Value::Bool(_) | Value::Null | Value::Object(_) => {}
            }
        }
        query.listing(of).map(|_listing| query)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), ScimError> {
        let number = || value.trim().parse::<i64>().map_err(|_error| ScimError::value("expected a number"));
        let names = || value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        match name {
            "attributes" => self.attributes = names().collect(),
            "count" => self.count = Some(number()?),
            "excludedAttributes" => self.excluded = names().collect(),
            "filter" => self.filter = Some(value.to_owned()),
            "sortBy" => self.sort_by = Some(value.to_owned()),
            "sortOrder" => self.descending = value.eq_ignore_ascii_case("descending"),
            "startIndex" => self.start = Some(number()?),
            _ => {}
        }
        Ok(())
    }

    /// RFC 7644 section 4: "If a 'filter' is provided, the service provider SHOULD respond with HTTP status code 403".
    pub(super) fn refuse_filter(&self) -> Result<(), ScimError> {
        if self.filter.is_none() {
            return Ok(());
        }
        Err(ScimError::new(StatusCode::FORBIDDEN, "what describes this service cannot be filtered"))
    }

    /// The same for the store.
    pub(super) fn listing(&self, of: ResourceType) -> Result<Listing, ScimError> {
        let bounded = |number: i64| u32::try_from(number.max(0)).unwrap_or(u32::MAX);
        Ok(Listing {
            filter: self.filter.as_deref().map(|text| parse_filter(of, text)).transpose()?,
            sort_by: self.sort_by.as_deref().map(|text| parse_attribute(of, text)).transpose()?,
            descending: self.descending,
            skip: self.start().saturating_sub(1),
            count: self.count.map_or(DEFAULT, bounded).min(MOST),
        })
    }

    /// Of the first resource, counted from 1.
    pub(super) fn start(&self) -> u32 {
        self.start.map_or(1, |start| u32::try_from(start.max(1)).unwrap_or(u32::MAX))
    }

    /// Whether an attribute, or a part of it, is in the answer.
    pub(super) fn wants(&self, of: ResourceType, name: &str) -> bool {
        let named = |path: &Vec<&'static Attribute>| path.first().is_some_and(|first| first.name == name);
        if self.attributes.is_empty() {
            !paths(of, &self.excluded).iter().any(|path| path.len() == 1 && named(path))
        } else {
            paths(of, &self.attributes).iter().any(named)
        }
    }

    /// A resource with the attributes that were asked for. Its id and its schemas are always there.
    pub(super) fn select(&self, of: ResourceType, resource: Value) -> Value {
        let Value::Object(whole) = resource else { return resource };
        if self.attributes.is_empty() {
            let mut left = whole;
            paths(of, &self.excluded)
                .iter()
                .filter(|path| !is_always(path))
                .for_each(|path| remove(&mut left, path));
            return Value::Object(left);
        }
        let mut kept = Map::new();
        for name in ["schemas", "id"] {
            kept.extend(whole.get(name).map(|value| (name.to_owned(), value.clone())));
        }
        paths(of, &self.attributes).iter().for_each(|path| copy(&whole, &mut kept, path));
        Value::Object(kept)
    }

    /// The same for the answer to a change.
    pub(super) fn selected(&self, of: ResourceType, answer: Answer) -> Answer {
        Answer { body: answer.body.map(|body| self.select(of, body)), ..answer }
    }
}

/// Unknown names are left out.
fn paths(of: ResourceType, names: &[String]) -> Vec<Vec<&'static Attribute>> {
    names.iter().filter_map(|name| parse_attribute(of, name).ok()).collect()
}

fn is_always(path: &[&'static Attribute]) -> bool {
    path.first().is_some_and(|first| first.name == "id")
}

fn remove(from: &mut Map<String, Value>, path: &[&'static Attribute]) {
    match path {
        [] => {}
        [last] => {
            from.remove(last.name);
        }
        [first, further @ ..] => match from.get_mut(first.name) {
            Some(Value::Object(inner)) => remove(inner, further),
            Some(Value::Array(all)) => {
                all.iter_mut().filter_map(Value::as_object_mut).for_each(|value| remove(value, further));
            }
            Some(_) | None => {}
        },
    }
}

fn copy(from: &Map<String, Value>, to: &mut Map<String, Value>, path: &[&'static Attribute]) {
    let Some((first, further)) = path.split_first() else { return };
    let Some(value) = from.get(first.name) else { return };
    if further.is_empty() {
        to.insert(first.name.to_owned(), value.clone());
        return;
    }
    match value {
        Value::Object(inner) => {
            let kept = to.entry(first.name).or_insert_with(|| Value::Object(Map::new()));
            if let Some(kept) = kept.as_object_mut() {
                copy(inner, kept, further);
            }
        }
        Value::Array(all) => {
            let empty = || Value::Array(all.iter().map(|_| Value::Object(Map::new())).collect());
            let kept = to.entry(first.name).or_insert_with(empty);
            let kept = kept.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut);
            all.iter()
                .filter_map(Value::as_object)
                .zip(kept)
                .for_each(|(value, kept)| copy(value, kept, further));
        }
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}
