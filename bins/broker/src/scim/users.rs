//! A connector's users.

use http::StatusCode;
use serde_json::{Map, Value};
use usher_audit::{Event, Reported, UserProperties};
use usher_identity::{
    UserStatus,
    scim::{Attributes, ResourceType, apply},
};
use usher_sign_in::scim::parse_patch;
use usher_store::{
    Conn,
    project_users::{self, Scope},
    scim::users::{self as store, ScimUser},
    users,
};
use usher_types::{ConnectorId, Sha256, TeamRole, UserId};

use super::{
    Answer, Change, base, check_schemas, check_version, error::ScimError, list_response, query::Query,
    resource,
};
use crate::{AppState, random, scim::caller::Caller};

const OF: ResourceType = ResourceType::User;

/// Finds a user of the caller's connector; another's does not exist.
async fn find(conn: &mut Conn, connector: ConnectorId, id: &str) -> Result<ScimUser, ScimError> {
    let found = match id.parse::<UserId>() {
        Ok(id) => store::by_id(conn, connector, id).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| ScimError::not_found("user"))
}

async fn shown(conn: &mut Conn, base: &str, user: &ScimUser, query: &Query) -> Result<Value, ScimError> {
    let groups = match user.user.connector_id {
        Some(connector) if query.wants(OF, "groups") => {
            Some(store::groups(conn, connector, user.user.id).await?)
        }
        Some(_) | None => None,
    };
    Ok(query.select(OF, resource::user(base, user, groups.as_ref())))
}

pub(super) async fn list(app: &AppState, caller: &Caller, query: &Query) -> Result<Answer, ScimError> {
    let listing = query.listing(OF)?;
    let mut reader = app.store().read().await?;
    let page = store::list(&mut reader, caller.token.connector_id, &listing).await?;
    let mut resources = Vec::new();
    for user in &page.items {
        resources.push(shown(&mut reader, &base(app), user, query).await?);
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
    let user = find(&mut reader, caller.token.connector_id, id).await?;
    let body = shown(&mut reader, &base(app), &user, query).await?;
    let version = Some(resource::user_version(&user));
    Ok(Answer { version, ..Answer::resource(StatusCode::OK, body) })
}

async fn answer(change: &mut Change, status: StatusCode, user: &ScimUser) -> Result<Answer, ScimError> {
    let body = shown(&mut change.tx, &change.base, user, &Query::default()).await?;
    Ok(Answer::resource(status, body))
}

pub(super) async fn create(change: &mut Change, body: &Map<String, Value>) -> Result<Answer, ScimError> {
    check_schemas(OF, body)?;
    let attributes = Attributes::read(OF, body)?;
    let connector_id = change.caller.token.connector_id;
    let id = UserId::new(change.now, random::bytes()?);
    let user = store::create(&mut change.tx, connector_id, attributes, id, change.now).await?;
    if user.user.id == id {
        change
            .audit(Event::UserCreate {
                user_id: id,
                user_name: user.user.user_name.clone(),
                unix_user_name: user.user.unix_user_name.clone(),
                team_role: TeamRole::Member,
                connector_id: Some(connector_id),
            })
            .await?;
        audit_bound(change, &user).await?;
    }
    audit_said(change, &user, None).await?;
    if user.user.status == UserStatus::Disabled {
        change.audit(Event::UserDisable { user_id: user.user.id }).await?;
    }
    answer(change, StatusCode::CREATED, &user).await
}

pub(super) async fn replace(
    change: &mut Change,
    id: &str,
    body: &Map<String, Value>,
    if_match: Option<&str>,
) -> Result<Answer, ScimError> {
    check_schemas(OF, body)?;
    let before = begin(change, id, if_match).await?;
    let attributes = Attributes::read(OF, body)?.replacing(&before.attributes)?;
    write(change, &before, attributes).await
}

pub(super) async fn patch(
    change: &mut Change,
    id: &str,
    body: &Map<String, Value>,
    if_match: Option<&str>,
) -> Result<Answer, ScimError> {
    let before = begin(change, id, if_match).await?;
    let operations = parse_patch(OF, body)?;
    let (attributes, _members) = apply(&before.attributes, &operations)?;
    write(change, &before, attributes).await
}

pub(super) async fn delete(
    change: &mut Change,
    id: &str,
    if_match: Option<&str>,
) -> Result<Answer, ScimError> {
    let user = begin(change, id, if_match).await?.user;
    users::delete(&mut change.tx, &user).await?;
    change.audit(Event::UserDelete { user_id: user.id, user_name: user.user_name }).await?;
    Ok(Answer::no_content())
}

async fn begin(change: &mut Change, id: &str, if_match: Option<&str>) -> Result<ScimUser, ScimError> {
    let user = find(&mut change.tx, change.caller.token.connector_id, id).await?;
    check_version(if_match, &resource::user_version(&user))?;
    Ok(user)
}

/// Writes what the provider says now, and down what that changed.
async fn write(change: &mut Change, before: &ScimUser, attributes: Attributes) -> Result<Answer, ScimError> {
    let after = store::update(&mut change.tx, before, attributes, change.now).await?;
    let user_id = after.user.id;
    if after.attributes != before.attributes {
        audit_said(change, &after, Some(before)).await?;
    }
    if before.attributes.external_id().is_none() {
        audit_bound(change, &after).await?;
    }
    if before.user.display_name != after.user.display_name {
        let was = UserProperties { display_name: Some(before.user.display_name.clone()), team_role: None };
        let display_name = Some(after.user.display_name.clone());
        change.audit(Event::UserUpdate { user_id, display_name, team_role: None, before: Some(was) }).await?;
    }
    match (before.user.status, after.user.status) {
        (UserStatus::Active, UserStatus::Disabled) => change.audit(Event::UserDisable { user_id }).await?,
        (UserStatus::Disabled, UserStatus::Active) => {
            // Groups may have got access while the user was disabled.
            project_users::allocate(&mut change.tx, Scope::User(user_id), change.now).await?;
            change.audit(Event::UserEnable { user_id }).await?;
        }
        (UserStatus::Active, UserStatus::Active) | (UserStatus::Disabled, UserStatus::Disabled) => {}
    }
    answer(change, StatusCode::OK, &after).await
}

fn digest(user: &ScimUser) -> Sha256 {
    let stored = serde_json::to_string(user.attributes.values()).unwrap_or_default();
    Sha256::of(stored.as_bytes())
}

async fn audit_said(
    change: &mut Change,
    user: &ScimUser,
    before: Option<&ScimUser>,
) -> Result<(), ScimError> {
    let event = Event::UserProvision {
        user_id: user.user.id,
        user_name: Reported::new(user.attributes.name()),
        attributes: digest(user),
        before: before.map(digest),
    };
    Ok(change.audit(event).await?)
}

async fn audit_bound(change: &mut Change, user: &ScimUser) -> Result<(), ScimError> {
    let Some(external_id) = user.attributes.external_id() else { return Ok(()) };
    let event = Event::UserBind {
        user_id: user.user.id,
        connector_id: change.caller.token.connector_id,
        external_id: Sha256::of(external_id.as_bytes()),
    };
    Ok(change.audit(event).await?)
}
