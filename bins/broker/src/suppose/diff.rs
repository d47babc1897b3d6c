//! Who would gain or lose what by other rules. Reads everything in one snapshot, then compares beside the requests of
//! others: that is the policy crate's business, see there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::extract::State;
use usher_api::{
    ErrorCode,
    v1::{
        PolicyChange, PolicyCircumstances, PolicyDiff, PolicyDiffResult, PolicyDiffUser, PolicyDifference,
        PolicyReach, ProposedRoles, Purpose,
    },
};
use usher_identity::{UserRecord, UserStatus};
use usher_policy::{
    Assignment, Circumstances, Difference, Person, Policies, Policy, Reach, Rules, ServerFacts, compare,
};
use usher_store::{Conn, connections, groups, policies, project_users, projects, servers, users};
use usher_types::{GroupId, LoginName, PolicyName, ProjectId, UnixTime, UserId};

use crate::{
    AppState,
    admin::{conditions, policies as admin_policies},
    answer::Answer,
    error::ApiError,
    extract::Admin,
    suppose::purpose,
};

pub(super) async fn diff(
    State(app): State<AppState>,
    Admin { info, body, .. }: Admin<PolicyDiff>,
) -> Result<Answer<PolicyDiffResult>, ApiError> {
    let mut reader = app.store().read().await?;
    let world = World::read(&mut reader, &body).await?;
    drop(reader);
    // Long enough for others to wait: not among them.
    let compared = tokio::task::spawn_blocking(move || world.compare(&body, info.now));
    Ok(Answer::ok(compared.await.map_err(ApiError::internal)??))
}

/// Everything that decides, as it is and as it might be.
struct World {
    users: Vec<UserRecord>,
    groups: BTreeMap<UserId, BTreeSet<GroupId>>,
    projects: Vec<Project>,
}

/// One project of it.
struct Project {
    before: Rules,
    after: Rules,
    servers: Vec<ServerFacts>,
    logins: BTreeMap<UserId, LoginName>,
}

impl World {
    async fn read(conn: &mut Conn, proposed: &PolicyDiff) -> Result<Self, ApiError> {
        let standing = policies::all(conn).await?;
        let after = proposed_policies(conn, &standing, proposed).await?;
        let mut by_project: BTreeMap<ProjectId, Vec<ServerFacts>> = BTreeMap::new();
        for server in servers::list(conn).await? {
            by_project.entry(server.project_id).or_default().push(ServerFacts {
                id: server.id,
                name: server.name,
                project_id: server.project_id,
                labels: Arc::new(server.labels),
            });
        }
        let mut all = Vec::new();
        for project in projects::list(conn).await? {
            let Some((facts, assignments)) = connections::rules(conn, project.id).await? else { continue };
            let of = |policies: &[Arc<Policy>]| Arc::new(Policies::of_project(project.id, policies));
            let before = Rules { project: facts, assignments, policies: of(&standing) };
            let assignments = match proposed.projects.get(&project.slug) {
                Some(roles) => proposed_roles(conn, roles).await?,
                None => before.assignments.clone(),
            };
            let after = Rules { project: before.project.clone(), assignments, policies: of(&after) };
            if before != after {
                let servers = by_project.remove(&project.id).unwrap_or_default();
                let logins = project_users::logins(conn, project.id).await?;
                all.push(Project { before, after, servers, logins });
            }
        }
        for slug in proposed.projects.keys() {
            if projects::find(conn, slug.as_str()).await?.is_none() {
                return Err(ApiError::not_found("project", slug.as_str()));
            }
        }
        let active = |user: &UserRecord| match user.status {
            UserStatus::Active => true,
            UserStatus::Disabled => false,
        };
        let users = users::list(conn).await?.into_iter().filter(active).collect();
        Ok(Self { users, groups: groups::memberships(conn).await?, projects: all })
    }

    fn compare(self, proposed: &PolicyDiff, now: UnixTime) -> Result<PolicyDiffResult, ApiError> {
        let rules = self.projects.iter().map(|project| (&project.before, &project.after));
        let given = (proposed.purpose.map(purpose), proposed.from, proposed.at);
        let circumstances = Circumstances::telling(rules, given, now).map_err(|error| {
            ApiError::invalid(error.to_string()).with_next("name a place or a time with `--from` and `--at`")
        })?;
        let mut result =
            PolicyDiffResult { users: count(self.users.len()), servers: 0, differences: Vec::new() };
        for project in &self.projects {
            result.servers = result.servers.saturating_add(count(project.servers.len()));
            let people: Vec<_> = self.users.iter().map(|user| self.person(user, project)).collect();
            let found = compare(&people, &project.servers, &project.before, &project.after, &circumstances);
            result.differences.extend(found.into_iter().map(|one| shown(one, &people, project)));
        }
        Ok(result)
    }

    fn person(&self, user: &UserRecord, project: &Project) -> Person {
        Person {
            id: user.id,
            name: user.user_name.clone(),
            login: project.logins.get(&user.id).unwrap_or(&user.unix_user_name).clone(),
            groups: self.groups.get(&user.id).cloned().unwrap_or_default(),
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

async fn proposed_policies(
    conn: &mut Conn,
    standing: &[Arc<Policy>],
    proposed: &PolicyDiff,
) -> Result<Vec<Arc<Policy>>, ApiError> {
    let known = |name: &PolicyName| standing.iter().any(|policy| policy.name() == name);
    if let Some(name) = proposed.removed_policies.iter().find(|name| !known(name)) {
        return Err(ApiError::not_found("policy", name.as_str()));
    }
    if let Some(name) = proposed.removed_policies.iter().find(|name| proposed.policies.contains_key(*name)) {
        return Err(ApiError::invalid(format!("policy `{name}` is both set and removed")));
    }
    let stays = |policy: &&Arc<Policy>| {
        !proposed.policies.contains_key(policy.name()) && !proposed.removed_policies.contains(policy.name())
    };
    let mut after: Vec<_> = standing.iter().filter(stays).cloned().collect();
    for (name, policy) in &proposed.policies {
        after.push(policies::parsed(admin_policies::bind(conn, name.clone(), policy).await?));
    }
    if after.len() > usize::try_from(policies::MOST_POLICIES).unwrap_or_default() {
        return Err(ApiError::new(ErrorCode::InUse, policies::SetPolicyError::TooMany.to_string()));
    }
    // As they come out of the database, so that what is the same is equal.
    after.sort_by(|one, other| one.name().cmp(other.name()));
    Ok(after)
}

async fn proposed_roles(conn: &mut Conn, roles: &ProposedRoles) -> Result<Vec<Assignment>, ApiError> {
    let mut assignments = Vec::new();
    for (name, role) in &roles.groups {
        let group = groups::find(conn, name).await?.ok_or_else(|| ApiError::not_found("group", name))?;
        assignments.push(Assignment {
            group_id: group.id,
            group_name: group.name,
            server_access: role.server_access,
            server_admin: role.server_admin,
            conditions: Arc::new(conditions::parse(role.conditions.clone())?),
        });
    }
    assignments.sort_by(|one, other| one.group_name.cmp(&other.group_name));
    Ok(assignments)
}

fn shown(difference: Difference, people: &[Person], project: &Project) -> PolicyDifference {
    let Difference { people: who, servers, before, after, when } = difference;
    let who = who.iter().filter_map(|place| people.get(*place));
    let servers = servers.iter().filter_map(|place| project.servers.get(*place));
    let reach = |reach: Reach| PolicyReach {
        server_admin: reach.server_admin,
        port_forwarding: reach.port_forwarding,
        asks: conditions::shown_authentication(&reach.asks),
    };
    PolicyDifference {
        project: project.before.project.slug.clone(),
        change: match (&before, &after) {
            (None, _) => PolicyChange::Gain,
            (Some(_), None) => PolicyChange::Loss,
            (Some(_), Some(_)) => PolicyChange::Change,
        },
        users: who.map(|one| PolicyDiffUser { user: one.name.clone(), login: one.login.clone() }).collect(),
        servers: servers.map(|server| server.name.clone()).collect(),
        before: before.map(reach),
        after: after.map(reach),
        when: PolicyCircumstances {
            purpose: match when.purpose {
                usher_policy::Purpose::Command => Purpose::Command,
                usher_policy::Purpose::Interactive => Purpose::Interactive,
            },
            from: when.client,
            at: when.at,
        },
    }
}
