//! Asks Cedar. What policies may look at is made here once for each decision, and only when a policy's scope can match.

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityTypeName, EntityUid, Request, RestrictedExpression as Value,
};
use jiff::{Timestamp, tz::TimeZone};
use usher_types::UnixTime;

use super::{Action, LooksAt, Policies, Policy, draft::entity};
use crate::{AccessFacts, Asker, Purpose, Reason};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) asker: &'a Asker<'a>,
    pub(crate) facts: &'a AccessFacts,
    pub(crate) purpose: Purpose,
    pub(crate) client: Option<IpAddr>,
    pub(crate) now: UnixTime,
}

/// A defect, or circumstances that nobody knows: forbids.
struct Unknown;

/// Names that are parsed once.
struct Names {
    group: EntityTypeName,
    project: EntityTypeName,
    server: EntityTypeName,
    user: EntityTypeName,
    connect: EntityUid,
    forward: EntityUid,
    authorizer: Authorizer,
}

static NAMES: LazyLock<Option<Names>> = LazyLock::new(|| {
    let action: EntityTypeName = "Action".parse().ok()?;
    Some(Names {
        group: "Group".parse().ok()?,
        project: "Project".parse().ok()?,
        server: "Server".parse().ok()?,
        user: "User".parse().ok()?,
        connect: entity(action.clone(), "connect".to_owned()),
        forward: entity(action, "forward".to_owned()),
        authorizer: Authorizer::new(),
    })
});

impl Policies {
    /// Why `action` is forbidden, one reason for each policy that forbids it.
    pub(crate) fn forbid(&self, action: Action, question: &Question<'_>) -> Vec<Reason> {
        let can_match = |policy: &&Arc<Policy>| policy.can_match(action, question.facts);
        let candidates: Vec<_> = self.list.iter().filter(can_match).collect();
        if candidates.is_empty() {
            return Vec::new();
        }
        let mut asked = Asked::new(action, question, &candidates);
        candidates.into_iter().filter_map(|policy| asked.judge(policy)).collect()
    }
}

/// What is the same for every candidate.
struct Asked<'a> {
    action: Action,
    question: &'a Question<'a>,
    looks_at: LooksAt,
    entities: Option<Entities>,
    /// By time zone; nearly always there is one.
    requests: Vec<(&'a TimeZone, Option<Request>)>,
}

impl<'a> Asked<'a> {
    fn new(action: Action, question: &'a Question<'a>, candidates: &[&'a Arc<Policy>]) -> Self {
        let bodies = || candidates.iter().filter_map(|policy| policy.body.as_ref());
        let looks_at = LooksAt {
            client_address: bodies().any(|body| body.looks_at.client_address),
            now: bodies().any(|body| body.looks_at.now),
        };
        let entities = entities(question).ok();
        Self { action, question, looks_at, entities, requests: Vec::new() }
    }

    fn judge(&mut self, policy: &'a Policy) -> Option<Reason> {
        let name = || policy.name().clone();
        let Some(body) = &policy.body else { return Some(Reason::PolicyFailed { name: name() }) };
        if !self.requests.iter().any(|(zone, _)| *zone == &body.zone) {
            let request = self.request(&body.zone).ok();
            self.requests.push((&body.zone, request));
        }
        let request = self.requests.iter().find(|(zone, _)| *zone == &body.zone);
        let request = request.and_then(|(_, request)| request.as_ref());
        let (Some(names), Some(entities), Some(request)) = (NAMES.as_ref(), &self.entities, request) else {
            return Some(Reason::PolicyFailed { name: name() });
        };
        let answer = names.authorizer.is_authorized(request, &body.set, entities);
        let told = answer.diagnostics();
        if told.errors().next().is_some() {
            return Some(Reason::PolicyFailed { name: name() });
        }
        // The set has no other policy than this one, which forbids.
        told.reason().next().map(|_policy| Reason::Policy {
            name: name(),
            says: body.reason.clone(),
            advises: body.next.clone(),
        })
    }

    fn request(&self, zone: &TimeZone) -> Result<Request, Unknown> {
        let Question { asker, facts, purpose, client, now } = *self.question;
        let names = NAMES.as_ref().ok_or(Unknown)?;
        let timestamp = Timestamp::from_millisecond(now.as_millis()).map_err(|_error| Unknown)?;
        let local = zone.to_datetime(timestamp);
        let weekday = crate::hours::day(local.weekday().to_monday_zero_offset()).ok_or(Unknown)?;
        let age = i64::try_from(now.since(asker.auth_time).as_secs()).map_err(|_error| Unknown)?;
        let purpose = match purpose {
            Purpose::Command => "command",
            Purpose::Interactive => "interactive",
        };
        let mut members = vec![
            ("auth_age_seconds".to_owned(), Value::new_long(age)),
            ("hour".to_owned(), Value::new_long(local.hour().into())),
            ("minute".to_owned(), Value::new_long(local.minute().into())),
            ("weekday".to_owned(), text(weekday)),
            ("purpose".to_owned(), text(purpose)),
            ("second_factor".to_owned(), Value::new_bool(asker.has_second_factor())),
        ];
        // What is not known is not there: a policy that looks at it cannot be evaluated.
        members.extend(asker.device.map(|(_, name)| ("device".to_owned(), text(name.as_str()))));
        if let (true, Some(client)) = (self.looks_at.client_address, client) {
            members.push(("client_address".to_owned(), Value::new_ip(client.to_canonical().to_string())));
        }
        if self.looks_at.now {
            let now = timestamp.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
            members.push(("now".to_owned(), Value::new_datetime(now)));
        }
        let context = Context::from_pairs(members).map_err(|_error| Unknown)?;
        let action = match self.action {
            Action::Connect => names.connect.clone(),
            Action::Forward => names.forward.clone(),
        };
        let principal = entity(names.user.clone(), facts.user_id.to_string());
        let resource = entity(names.server.clone(), facts.server.id.to_string());
        Request::new(principal, action, resource, context, None).map_err(|_error| Unknown)
    }
}

fn text(value: &str) -> Value {
    Value::new_string(value.to_owned())
}

/// The user, with those groups that a policy names, and the server.
fn entities(question: &Question<'_>) -> Result<Entities, Unknown> {
    let Question { asker, facts, .. } = question;
    let names = NAMES.as_ref().ok_or(Unknown)?;
    let mine = facts.policies.groups().iter().filter(|group| facts.groups.contains(group));
    let user = Entity::new_with_tags(
        entity(names.user.clone(), facts.user_id.to_string()),
        [("name".to_owned(), text(asker.user_name.as_str()))],
        mine.map(|group| entity(names.group.clone(), group.to_string())),
        [],
    );
    let server = Entity::new_with_tags(
        entity(names.server.clone(), facts.server.id.to_string()),
        [
            ("name".to_owned(), text(facts.server.name.as_str())),
            ("project".to_owned(), text(facts.project.slug.as_str())),
        ],
        [entity(names.project.clone(), facts.project.id.to_string())],
        facts.server.labels.iter().map(|(key, value)| (key.as_str().to_owned(), text(value.as_str()))),
    );
    let both = [user.map_err(|_error| Unknown)?, server.map_err(|_error| Unknown)?];
    Entities::from_entities(both, None).map_err(|_error| Unknown)
}
