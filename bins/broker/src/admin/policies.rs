//! Policies in Cedar. What a text may say, and what it means, is `usher-policy`'s; this module finds what the names in it
//! mean, and keeps it.

use std::collections::BTreeMap;

use axum::{Router, extract::State, routing::get};
use usher_api::{
    ErrorCode,
    v1::{Page, Policy, PolicySchema, SetPolicy},
};
use usher_audit::Event;
use usher_policy::{Bindings, Draft, Named, POLICY_SCHEMA, PolicySource};
use usher_store::{
    Conn, groups, policies,
    policies::{SetPolicyError, StoredPolicy},
    projects, servers, users,
};
use usher_types::{PolicyName, Sha256};

use super::begin;
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Path},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/policies", get(list))
        .route("/v1/policies/{name}", get(show).put(set).delete(remove))
        .route("/v1/policy-schema", get(schema))
}

fn shown(policy: StoredPolicy) -> Policy {
    let Bindings { groups, projects, servers, users } = policy.source.bindings;
    let mut names = BTreeMap::new();
    names.extend(groups.into_iter().map(|(name, id)| (format!("Group::\"{name}\""), id.to_string())));
    names.extend(projects.into_iter().map(|(name, id)| (format!("Project::\"{name}\""), id.to_string())));
    names.extend(servers.into_iter().map(|(name, id)| (format!("Server::\"{name}\""), id.to_string())));
    names.extend(users.into_iter().map(|(name, id)| (format!("User::\"{name}\""), id.to_string())));
    Policy {
        name: policy.source.name,
        project: policy.project,
        text: policy.source.text,
        names,
        updated_by: policy.updated_by,
        updated_at: policy.updated_at,
    }
}

fn unknown(name: &str) -> ApiError {
    ApiError::not_found("policy", name).with_next("`usher policy list` shows which there are")
}

async fn list(
    State(app): State<AppState>,
    Admin { body: (), .. }: Admin,
) -> Result<Answer<Page<Policy>>, ApiError> {
    let mut reader = app.store().read().await?;
    let items = policies::list(&mut reader).await?.into_iter().map(shown).collect();
    Ok(Answer::ok(Page { items }))
}

async fn show(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Admin { body: (), .. }: Admin,
) -> Result<Answer<Policy>, ApiError> {
    let mut reader = app.store().read().await?;
    let policy = policies::by_name(&mut reader, &name).await?.ok_or_else(|| unknown(&name))?;
    Ok(Answer::ok(shown(policy)))
}

async fn schema(Admin { body: (), .. }: Admin) -> Result<Answer<PolicySchema>, ApiError> {
    Ok(Answer::ok(PolicySchema { text: POLICY_SCHEMA.to_owned() }))
}

/// Checks a policy that is to be set, or that might be, and finds what its names mean now.
pub(crate) async fn bind(
    conn: &mut Conn,
    name: PolicyName,
    given: &SetPolicy,
) -> Result<PolicySource, ApiError> {
    let draft = Draft::parse(&given.text).map_err(|error| {
        ApiError::invalid(format!("policy `{name}`: {error}"))
            .with_next("`usher policy schema` shows what policies may look at")
    })?;
    let project = match &given.project {
        Some(slug) => {
            let found = projects::find(conn, slug.as_str()).await?;
            Some(found.ok_or_else(|| ApiError::not_found("project", slug.as_str()))?.id)
        }
        None => None,
    };
    let bindings = bindings(conn, &draft).await?;
    draft.is_bound_by(&bindings).map_err(ApiError::internal)?;
    Ok(PolicySource { name, project, text: given.text.clone(), bindings })
}

async fn bindings(conn: &mut Conn, draft: &Draft) -> Result<Bindings, ApiError> {
    let mut bindings = Bindings::default();
    for (kind, name) in draft.names() {
        let missing = |kind: &str| ApiError::not_found(kind, &name);
        match kind {
            Named::Group => {
                let id = groups::find(conn, &name).await?.ok_or_else(|| missing("group"))?.id;
                bindings.groups.insert(name, id);
            }
            Named::Project => {
                let id = projects::find(conn, &name).await?.ok_or_else(|| missing("project"))?.id;
                bindings.projects.insert(name, id);
            }
            Named::Server => {
                let id = servers::find(conn, &name).await?.ok_or_else(|| missing("server"))?.id;
                bindings.servers.insert(name, id);
            }
            Named::User => {
                let id = users::find(conn, &name).await?.ok_or_else(|| missing("user"))?.id;
                bindings.users.insert(name, id);
            }
        }
    }
    Ok(bindings)
}

async fn set(
    State(app): State<AppState>,
    Path(name): Path<PolicyName>,
    Admin { admin: caller, info, body }: Admin<SetPolicy>,
) -> Result<Answer<Policy>, ApiError> {
    let by = caller.user().user_id();
    let mut change = begin(&app, &caller, info).await?;
    let now = change.info.now;
    let source = bind(&mut change.tx, name.clone(), &body).await?;
    let before = policies::by_name(&mut change.tx, name.as_str()).await?;
    if before.as_ref().is_none_or(|before| before.source != source) {
        policies::set(&mut change.tx, &source, by, now).await?;
        let hash = |source: &PolicySource| Sha256::of(source.text.as_bytes());
        change
            .audit(Event::PolicySet {
                policy: name.clone(),
                project_id: source.project,
                text: hash(&source),
                before: before.as_ref().map(|before| hash(&before.source)),
            })
            .await?;
    }
    let set =
        policies::by_name(&mut change.tx, name.as_str()).await?.ok_or_else(|| unknown(name.as_str()))?;
    change.commit().await?;
    Ok(Answer::ok(shown(set)))
}

async fn remove(
    State(app): State<AppState>,
    Path(name): Path<PolicyName>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<()>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let before =
        policies::by_name(&mut change.tx, name.as_str()).await?.ok_or_else(|| unknown(name.as_str()))?;
    policies::remove(&mut change.tx, &name).await?;
    let before = Sha256::of(before.source.text.as_bytes());
    change.audit(Event::PolicyRemove { policy: name, before }).await?;
    change.commit().await?;
    Ok(Answer::empty())
}

impl From<SetPolicyError> for ApiError {
    fn from(error: SetPolicyError) -> Self {
        match error {
            SetPolicyError::TooMany => Self::new(ErrorCode::InUse, error.to_string()).with_next(
                "remove one with `usher policy remove`; what is about many people is a condition on roles",
            ),
            SetPolicyError::Store(source) => source.into(),
        }
    }
}
