//! From an administrator's text to a policy: bounded, parsed, checked against the schema, its names bound to ids.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use cedar_policy::{
    Effect, EntityId, EntityTypeName, EntityUid, PolicySet, Schema, SchemaFragment, ValidationMode, Validator,
};
use jiff::tz::TimeZone;
use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use usher_types::{GroupId, LockReason, ProjectId, ServerId, UserId};

use super::{Body, LooksAt, POLICY_SCHEMA, Scope};
use crate::hours;

/// Bytes of a policy's text. A narrow rule is a few hundred.
pub const LONGEST_POLICY: usize = 8 * 1024;

/// Brackets within brackets: more than anybody reads, few enough for any stack.
const DEEPEST_BRACKETS: usize = 24;

/// Levels of the parsed text, a chain of `&&` counting one for each.
const DEEPEST: usize = 128;

/// Parsing and checking climb down into the text. Texts of the greatest length that pass the test of brackets fit.
const STACK: usize = 64 * 1024 * 1024;

/// What is wrong with a policy's text, and where.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub struct PolicyError {
    /// Line and column, from 1.
    place: Option<(usize, usize)>,
    what: String,
}

impl std::fmt::Display for PolicyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "line {line}, column {column}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl PolicyError {
    fn new(what: impl Into<String>) -> Self {
        Self { place: None, what: what.into() }
    }

    /// At a byte of the text.
    fn at(text: &str, offset: usize, what: impl Into<String>) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
        Self { place: Some((line, column)), what: what.into() }
    }

    /// What Cedar says. It repeats parts of the text, which may hold anything.
    fn of(text: &str, error: &dyn Diagnostic) -> Self {
        let mut what = error.to_string();
        let labels = || error.labels().into_iter().flatten();
        if let Some(said) = labels().find_map(|label| label.label().map(str::to_owned)) {
            what = format!("{what}, {said}");
        }
        if let Some(help) = error.help() {
            what = format!("{what}; {help}");
        }
        // There is one policy, and Cedar does not know its name.
        let what = what.strip_prefix("for policy `policy0`, ").unwrap_or(&what);
        let what: String = what
            .chars()
            .take(400)
            .flat_map(|c| {
                let shown: Box<dyn Iterator<Item = char>> = if c.is_control() || is_direction(c) {
                    Box::new(c.escape_default())
                } else {
                    Box::new([c].into_iter())
                };
                shown
            })
            .collect();
        match labels().map(|label| label.offset()).min() {
            Some(offset) => Self::at(text, offset, what),
            None => Self::new(what),
        }
    }
}

/// Characters that turn the direction of text around, and so hide what it says.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What the names in a policy mean. Ids, so that a name given to another group later changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bindings {
    /// Groups.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, GroupId>,
    /// Projects.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub projects: BTreeMap<String, ProjectId>,
    /// Servers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub servers: BTreeMap<String, ServerId>,
    /// Users.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, UserId>,
}

/// The kinds of things that a policy names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// `Group::"sre"`.
    Group,
    /// `Project::"shop"`.
    Project,
    /// `Server::"web-1"`.
    Server,
    /// `User::"alice"`.
    User,
}

impl Bindings {
    fn id(&self, kind: Named, name: &str) -> Option<String> {
        match kind {
            Named::Group => self.groups.get(name).map(ToString::to_string),
            Named::Project => self.projects.get(name).map(ToString::to_string),
            Named::Server => self.servers.get(name).map(ToString::to_string),
            Named::User => self.users.get(name).map(ToString::to_string),
        }
    }
}

/// A policy's text that was checked; its names are still names.
#[derive(Debug)]
pub struct Draft(Parsed);

impl Draft {
    /// Checks everything about a text but whether what it names exists.
    ///
    /// # Errors
    /// [`PolicyError`], with the place in the text.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > LONGEST_POLICY {
            return Err(PolicyError::new(format!(
                "a policy has at most {LONGEST_POLICY} bytes, and this has {}; broad rules are conditions on roles",
                text.len()
            )));
        }
        brackets(text)?;
        stacker::grow(STACK, || {
            let parsed = Parsed::of(text)?;
            parsed.check(text)?;
            Ok(Self(parsed))
        })
    }

    /// Every name in it, with the kind of thing it names.
    #[must_use]
    pub fn names(&self) -> BTreeSet<(Named, String)> {
        self.0.literals().into_iter().map(|(kind, uid)| (kind, uid.id().unescaped().to_owned())).collect()
    }

    /// Whether everything that it names is bound.
    ///
    /// # Errors
    /// [`UnboundError`] names what is not.
    pub fn is_bound_by(&self, bindings: &Bindings) -> Result<(), UnboundError> {
        self.0.body(bindings).map(drop)
    }
}

/// A name without an id.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("nothing is bound to a name in the policy")]
pub struct UnboundError;

/// Text that is a policy.
#[derive(Debug)]
pub(super) struct Parsed {
    set: PolicySet,
    policy: cedar_policy::Policy,
    zone: TimeZone,
    reason: Option<String>,
    next: Option<String>,
}

impl Parsed {
    /// Without comparing it with the schema: once is enough.
    pub(super) fn of(text: &str) -> Result<Self, PolicyError> {
        let set: PolicySet = text.parse().map_err(|errors| {
            let errors: cedar_policy::ParseErrors = errors;
            errors
                .iter()
                .next()
                .map_or_else(|| PolicyError::new("no policy"), |error| PolicyError::of(text, error))
        })?;
        let mut policies = set.policies();
        let (Some(policy), None, 0) = (policies.next(), policies.next(), set.num_of_templates()) else {
            return Err(PolicyError::new("write exactly one policy, without `?principal` and `?resource`"));
        };
        match policy.effect() {
            Effect::Forbid => {}
            Effect::Permit => {
                let what =
                    "policies only take away: write `forbid`, and give access by a role in the project";
                return Err(PolicyError::at(text, text.find("permit").unwrap_or_default(), what));
            }
        }
        let policy = policy.clone();
        drop(policies);
        let (mut zone, mut reason, mut next) = (TimeZone::UTC, None, None);
        for (key, value) in policy.annotations() {
            let at = text.find(&format!("@{key}")).unwrap_or_default();
            let sentence = || {
                let good = value.parse::<LockReason>();
                let what = "use 1 to 200 characters on one line, without control characters";
                good.map(String::from).map_err(|_error| PolicyError::at(text, at, format!("@{key}: {what}")))
            };
            match key {
                "reason" => reason = Some(sentence()?),
                "next" => next = Some(sentence()?),
                "time_zone" => {
                    let known = hours::zone_named(value);
                    zone = known.map_err(|error| PolicyError::at(text, at, error.to_string()))?;
                }
                _ => {
                    let what = "annotations are @reason, @next and @time_zone";
                    return Err(PolicyError::at(text, at, what));
                }
            }
        }
        Ok(Self { set, policy, zone, reason, next })
    }

    fn check(&self, text: &str) -> Result<(), PolicyError> {
        let json = self.policy.to_json().map_err(|error| PolicyError::of(text, &error))?;
        if depth(&json) > DEEPEST {
            return Err(PolicyError::new("the policy is nested too deeply; write several, or use sets"));
        }
        let schema =
            SCHEMA.as_ref().ok_or_else(|| PolicyError::new("the schema of policies cannot be read"))?;
        let found = Validator::new(schema.clone()).validate(&self.set, ValidationMode::Strict);
        if let Some(error) = found.validation_errors().next() {
            return Err(PolicyError::of(text, error));
        }
        match found.validation_warnings().next() {
            Some(warning) => Err(PolicyError::of(text, warning)),
            None => Ok(()),
        }
    }

    fn literals(&self) -> Vec<(Named, EntityUid)> {
        let kind = |uid: &EntityUid| match uid.type_name().basename() {
            "Group" => Some(Named::Group),
            "Project" => Some(Named::Project),
            "Server" => Some(Named::Server),
            "User" => Some(Named::User),
            _ => None,
        };
        let all = self.policy.entity_literals().into_iter();
        all.filter_map(|uid| kind(&uid).map(|kind| (kind, uid))).collect()
    }

    /// What is evaluated: the same with ids for names.
    pub(super) fn body(&self, bindings: &Bindings) -> Result<Body, UnboundError> {
        let mut ids = BTreeMap::new();
        for (kind, uid) in self.literals() {
            let id = bindings.id(kind, uid.id().unescaped()).ok_or(UnboundError)?;
            let bound = entity(uid.type_name().clone(), id);
            ids.insert(uid, bound);
        }
        let policy = self.policy.sub_entity_literals(ids).map_err(|_error| UnboundError)?;
        // More than needed costs time; names of attributes are in here however the text spells them.
        let json = policy.to_json().map_err(|_error| UnboundError)?.to_string();
        Ok(Body {
            scope: Scope::of(&policy),
            groups: bindings.groups.values().copied().collect(),
            zone: self.zone.clone(),
            looks_at: LooksAt {
                client_address: json.contains("client_address"),
                now: json.contains("\"now\""),
            },
            reason: self.reason.clone(),
            next: self.next.clone(),
            set: PolicySet::from_policies([policy]).map_err(|_error| UnboundError)?,
        })
    }
}

pub(super) fn entity(kind: EntityTypeName, id: String) -> EntityUid {
    EntityUid::from_type_name_and_id(kind, EntityId::new(id))
}

static SCHEMA: LazyLock<Option<Schema>> = LazyLock::new(|| {
    let (fragment, _warnings) = SchemaFragment::from_cedarschema_str(POLICY_SCHEMA).ok()?;
    Schema::from_schema_fragments([fragment]).ok()
});

/// Refuses what is nested deeply before anything climbs down into it.
fn brackets(text: &str) -> Result<(), PolicyError> {
    let mut open = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => open = open.saturating_add(1),
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > DEEPEST_BRACKETS {
            let what = format!("at most {DEEPEST_BRACKETS} brackets within each other");
            return Err(PolicyError::at(text, at, what));
        }
    }
    Ok(())
}

fn depth(json: &serde_json::Value) -> usize {
    use serde_json::Value::{Array, Bool, Null, Number, Object, String};
    let below = match json {
        Array(items) => items.iter().map(depth).max(),
        Object(members) => members.values().map(depth).max(),
        Bool(_) | Null | Number(_) | String(_) => None,
    };
    below.unwrap_or_default().saturating_add(1)
}
