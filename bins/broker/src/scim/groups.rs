//! A connector's groups. Who is in one decides who gets in: a member that is gone from the answer is gone from every decision
//! after it.

use http::StatusCode;
use serde_json::{Map, Value, json};
use usher_audit::{Event, Record, Reported};
use usher_identity::scim::{Attributes, MemberChange, ResourceType, apply, members};
use usher_sign_in::scim::parse_patch;
use usher_store::{
    Conn,
    project_users::{self, Scope},
    scim::groups::{self as store, Moves, ScimGroup},
};
use usher_types::{ConnectorId, GroupId};

use super::{
    Answer, Change, MAX_MEMBERS, base, check_schemas, check_version, error::ScimError, list_response,
    query::Query, resource,
};
use crate::{AppState, random, scim::caller::Caller};

const OF: ResourceType = ResourceType::Group;

/// Finds a group of the caller's connector; another's does not exist.
async fn find(conn: &mut Conn, connector: ConnectorId, id: &str) -> Result<ScimGroup, ScimError> {
    let found = match id.parse::<GroupId>() {
        Ok(id) => store::by_id(conn, connector, id).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| ScimError::not_found("group"))
}

async fn shown(conn: &mut Conn, base: &str, group: &ScimGroup, query: &Query) -> Result<Value, ScimError> {
    let members =
        if query.wants(OF, "members") { Some(store::members(conn, group.group.id).await?) } else { None };
    Ok(query.select(OF, resource::group(base, group, members.as_ref())))
}

pub(super) async fn list(app: &AppState, caller: &Caller, query: &Query) -> Result<Answer, ScimError> {
    let listing = query.listing(OF)?;
    let mut reader = app.store().read().await?;
    let page = store::list(&mut reader, caller.token.connector_id, &listing).await?;
    let mut resources = Vec::new();
    for group in &page.items {
        resources.push(shown(&mut reader, &base(app), group, query).await?);
    }
    Ok(list_response(page.total, query.start(), &resources))
}

pub(super) async fn show(
    app: &AppState,
    caller: &Caller,
    id: &str,
    query: &Query,
) -> Result<Answer, ScimError> {
    let mut reader = app.store().read().await?;
    let group = find(&mut reader, caller.token.connector_id, id).await?;
    let body = shown(&mut reader, &base(app), &group, query).await?;
    let version = Some(resource::group_version(&group));
    Ok(Answer { version, ..Answer::resource(StatusCode::OK, body) })
}

async fn answer(change: &mut Change, status: StatusCode, group: &ScimGroup) -> Result<Answer, ScimError> {
    let body = shown(&mut change.tx, &change.base, group, &Query::default()).await?;
    Ok(Answer::resource(status, body))
}

pub(super) async fn create(change: &mut Change, body: &Map<String, Value>) -> Result<Answer, ScimError> {
    check_schemas(OF, body)?;
    let attributes = Attributes::read(OF, body)?;
    let joining = members(body)?.unwrap_or_default();
    let token = &change.caller.token;
    let (connector_id, now) = (token.connector_id, change.now);
    let group = store::create(
        &mut change.tx,
        (connector_id, &token.connector),
        attributes.name(),
        attributes.external_id(),
        GroupId::new(now, random::bytes()?),
        now,
    )
    .await?;
    change
        .audit(Event::GroupCreate {
            group_id: group.group.id,
            group_name: group.group.name.clone(),
            connector_id: Some(connector_id),
        })
        .await?;
    audit_said(change, &group, None).await?;
    change_members(change, &group, &[MemberChange::Add(joining)]).await?;
    answer(change, StatusCode::CREATED, &group).await
}

pub(super) async fn replace(
    change: &mut Change,
    id: &str,
    body: &Map<String, Value>,
    if_match: Option<&str>,
) -> Result<Answer, ScimError> {
    check_schemas(OF, body)?;
    let before = begin(change, id, if_match).await?;
    let attributes = Attributes::read(OF, body)?.replacing(&said(&before)?)?;
    // RFC 7644 section 3.5.1: what is not said is cleared. Whom the provider does not name must not stay in.
    let named = members(body)?.unwrap_or_default();
    write(change, &before, &attributes, &[MemberChange::Replace(named)]).await
}

pub(super) async fn patch(
    change: &mut Change,
    id: &str,
    body: &Map<String, Value>,
    if_match: Option<&str>,
) -> Result<Answer, ScimError> {
    let before = begin(change, id, if_match).await?;
    let operations = parse_patch(OF, body)?;
    let (attributes, changes) = apply(&said(&before)?, &operations)?;
    write(change, &before, &attributes, &changes).await
}

pub(super) async fn delete(
    change: &mut Change,
    id: &str,
    if_match: Option<&str>,
) -> Result<Answer, ScimError> {
    let group = begin(change, id, if_match).await?.group;
    for project_id in store::delete(&mut change.tx, &group, change.now).await? {
        change.audit(Event::ProjectGroupRemove { project_id, group_id: group.id }).await?;
    }
    change.audit(Event::GroupDelete { group_id: group.id, group_name: group.name }).await?;
    Ok(Answer::no_content())
}

async fn begin(change: &mut Change, id: &str, if_match: Option<&str>) -> Result<ScimGroup, ScimError> {
    let group = find(&mut change.tx, change.caller.token.connector_id, id).await?;
    check_version(if_match, &resource::group_version(&group))?;
    Ok(group)
}

/// A group's attributes, as its provider said them.
fn said(group: &ScimGroup) -> Result<Attributes, ScimError> {
    let mut values = Map::new();
    values.insert("displayName".to_owned(), json!(group.display_name()));
    if let Some(external_id) = &group.external_id {
        values.insert("externalId".to_owned(), json!(external_id));
    }
    Ok(Attributes::stored(OF, values)?)
}

/// Writes what the provider says now, and down what that changed.
async fn write(
    change: &mut Change,
    before: &ScimGroup,
    attributes: &Attributes,
    changes: &[MemberChange],
) -> Result<Answer, ScimError> {
    let moved = change_members(change, before, changes).await?;
    let (name, external_id) = (attributes.name(), attributes.external_id());
    if !moved && name == before.display_name() && external_id == before.external_id.as_deref() {
        return answer(change, StatusCode::OK, before).await;
    }
    let after = store::update(&mut change.tx, before, name, external_id, change.now).await?;
    if !moved || name != before.display_name() {
        audit_said(change, &after, Some(before)).await?;
    }
    answer(change, StatusCode::OK, &after).await
}

/// Changes members, gives those who got access their accounts, and writes down who moved. Says whether anybody did.
async fn change_members(
    change: &mut Change,
    group: &ScimGroup,
    changes: &[MemberChange],
) -> Result<bool, ScimError> {
    let named = changes.iter().map(|change| match change {
        MemberChange::Add(users) | MemberChange::Remove(users) | MemberChange::Replace(users) => users.len(),
        MemberChange::RemoveAll => 0,
    });
    if named.sum::<usize>() > MAX_MEMBERS {
        return Err(ScimError::too_many(format!("a request can name at most {MAX_MEMBERS} members")));
    }
    let (group_id, connector_id) = (group.group.id, change.caller.token.connector_id);
    let moves = store::change_members(&mut change.tx, connector_id, group_id, changes, change.now).await?;
    let Moves { joined, left } = &moves;
    if !joined.is_empty() {
        project_users::allocate(&mut change.tx, Scope::Group(group_id), change.now).await?;
    }
    let left = left.iter().map(|user_id| Event::GroupRemoveMember { group_id, user_id: *user_id });
    let joined = joined.iter().map(|user_id| Event::GroupAddMember { group_id, user_id: *user_id });
    let records: Vec<Record> = left.chain(joined).map(|event| change.record(event)).collect();
    change.tx.audit_all(&records.iter().collect::<Vec<_>>()).await?;
    Ok(!records.is_empty())
}

async fn audit_said(
    change: &mut Change,
    group: &ScimGroup,
    before: Option<&ScimGroup>,
) -> Result<(), ScimError> {
    let event = Event::GroupProvision {
        group_id: group.group.id,
        display_name: Reported::new(group.display_name()),
        before: before.map(|before| Reported::new(before.display_name())),
    };
    Ok(change.audit(event).await?)
}
