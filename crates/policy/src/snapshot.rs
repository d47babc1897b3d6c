//! Who may reach what, of the whole team at one moment, packed for looking up: [`AccessFacts`] without a database.
//!
//! Holds what belongs to projects and servers; what belongs to a caller (groups, accounts) comes with the call. Numbers
//! instead of pointers, lists end to end, so that a hundred thousand servers are a few megabytes and a look-up touches
//! a few cache lines. The facts it gives are those of the members' own groups: they decide an allow exactly as all
//! facts do, but a denial needs the rest for its advice, and has to be decided from the tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use usher_types::{GroupId, GroupName, Label, LoginName, ProjectId, ServerId, UserId};

use crate::{AccessFacts, Assignment, Conditions, Policies, Policy, ProjectFacts, ServerFacts};

/// See the module. Made by a [`SnapshotBuilder`].
#[derive(Debug, Default)]
pub struct Snapshot {
    text: String,
    groups: Vec<(GroupId, GroupName)>,
    projects: Vec<Project>,
    assignments: Vec<Packed>,
    conditions: Vec<Arc<Conditions>>,
    labels: Vec<Arc<BTreeMap<Label, Label>>>,
    servers: Vec<Server>,
    /// Hash of a server's name, and its place in `servers`; by hash.
    names: Vec<(u32, u32)>,
    /// By group.
    bastions: Vec<(Label, ServerId)>,
}

#[derive(Debug)]
struct Project {
    facts: ProjectFacts,
    /// Its part of the assignments.
    assignments: (u32, u32),
    policies: Arc<Policies>,
}

/// A group's role in a project.
#[derive(Clone, Copy, Debug)]
struct Packed {
    project: ProjectId,
    group: u32,
    conditions: u32,
    server_access: bool,
    server_admin: bool,
}

#[derive(Clone, Copy, Debug)]
struct Server {
    id: ServerId,
    project: u32,
    labels: u32,
    name: u32,
    length: u8,
}

/// A server of a [`Snapshot`], found once.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    snapshot: &'a Snapshot,
    server: &'a Server,
}

/// What decides about a caller besides what the snapshot holds.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Who.
    pub user_id: UserId,
    /// The user's groups, sorted.
    pub groups: &'a [GroupId],
    /// The user's account in the server's project.
    pub login: Option<&'a LoginName>,
}

impl Snapshot {
    /// A server by id or, when the text is no id, by name.
    #[must_use]
    pub fn find(&self, name_or_id: &str) -> Option<Found<'_>> {
        let server = match name_or_id.parse() {
            Ok(id) => self.by_id(id)?,
            Err(_) => self.by_name(name_or_id)?,
        };
        Some(Found { snapshot: self, server })
    }

    fn by_id(&self, id: ServerId) -> Option<&Server> {
        let at = self.servers.binary_search_by_key(&id, |server| server.id).ok()?;
        self.servers.get(at)
    }

    fn by_name(&self, name: &str) -> Option<&Server> {
        let hash = hash(name);
        let first = self.names.partition_point(|(other, _)| *other < hash);
        let same = self.names.get(first..)?.iter().take_while(|(other, _)| *other == hash);
        let mut servers = same.filter_map(|(_, at)| self.servers.get(index(*at)));
        servers.find(|server| self.name(server) == Some(name))
    }

    fn name(&self, server: &Server) -> Option<&str> {
        let start = index(server.name);
        self.text.get(start..start.saturating_add(usize::from(server.length)))
    }

    /// The bastions of a group, healthy or not.
    pub fn bastions<'a>(&'a self, group: &'a Label) -> impl Iterator<Item = ServerId> + 'a {
        let first = self.bastions.partition_point(|(other, _)| other < group);
        let rest = self.bastions.get(first..).unwrap_or_default();
        rest.iter().take_while(move |(other, _)| other == group).map(|(_, id)| *id)
    }

    /// How many servers it knows.
    #[must_use]
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Bytes on the heap, about.
    #[must_use]
    pub fn heap_size(&self) -> usize {
        let lists = [
            self.text.capacity(),
            self.groups.capacity().saturating_mul(size_of::<(GroupId, GroupName)>()),
            self.groups.iter().map(|(_, name)| name.as_str().len()).sum(),
            self.projects.capacity().saturating_mul(size_of::<Project>()),
            self.projects.iter().map(|project| project.facts.slug.as_str().len()).sum(),
            self.assignments.capacity().saturating_mul(size_of::<Packed>()),
            self.conditions.capacity().saturating_mul(size_of::<Arc<Conditions>>()),
            self.labels.capacity().saturating_mul(size_of::<Arc<BTreeMap<Label, Label>>>()),
            self.servers.capacity().saturating_mul(size_of::<Server>()),
            self.names.capacity().saturating_mul(size_of::<(u32, u32)>()),
            self.bastions.capacity().saturating_mul(size_of::<(Label, ServerId)>()),
        ];
        lists.into_iter().fold(0, usize::saturating_add)
    }
}

impl Found<'_> {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> ServerId {
        self.server.id
    }

    /// Its project.
    #[must_use]
    pub fn project_id(&self) -> Option<ProjectId> {
        self.project().map(|project| project.facts.id)
    }

    fn project(&self) -> Option<&Project> {
        self.snapshot.projects.get(index(self.server.project))
    }

    /// What decides whether `member`, whom no lock is on, may be let in: enough for an allow, see the module.
    #[must_use]
    pub fn facts(&self, member: &Member<'_>) -> Option<AccessFacts> {
        let snapshot = self.snapshot;
        let project = self.project()?;
        let (first, end) = project.assignments;
        let mut facts = AccessFacts {
            user_id: member.user_id,
            login: member.login.cloned(),
            groups: BTreeSet::new(),
            server: ServerFacts {
                id: self.server.id,
                name: snapshot.name(self.server)?.parse().ok()?,
                project_id: project.facts.id,
                labels: Arc::clone(snapshot.labels.get(index(self.server.labels))?),
            },
            project: project.facts.clone(),
            assignments: Vec::new(),
            policies: Arc::clone(&project.policies),
            named_at: None,
            locks: Vec::new(),
        };
        for packed in snapshot.assignments.get(index(first)..index(end))? {
            let (group_id, name) = snapshot.groups.get(index(packed.group))?;
            if member.groups.binary_search(group_id).is_ok() {
                facts.groups.insert(*group_id);
                facts.assignments.push(Assignment {
                    group_id: *group_id,
                    group_name: name.clone(),
                    server_access: packed.server_access,
                    server_admin: packed.server_admin,
                    conditions: Arc::clone(snapshot.conditions.get(index(packed.conditions))?),
                });
            }
        }
        let named = project.policies.groups().iter();
        facts.groups.extend(named.filter(|group| member.groups.binary_search(group).is_ok()));
        Some(facts)
    }
}

/// Collects what a [`Snapshot`] is made of, in any order. What belongs to a project or group that never comes, or is
/// locked, is left out, which denies.
#[derive(Debug, Default)]
pub struct SnapshotBuilder {
    snapshot: Snapshot,
    assignments: Vec<(ProjectId, GroupId, Assignment)>,
    policies: Vec<Arc<Policy>>,
    servers: Vec<(ProjectId, Server)>,
    locked_servers: BTreeSet<ServerId>,
    locked_projects: BTreeSet<ProjectId>,
    labels: BTreeMap<ServerId, Arc<BTreeMap<Label, Label>>>,
}

impl SnapshotBuilder {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A project.
    pub fn project(&mut self, facts: ProjectFacts) {
        self.snapshot.projects.push(Project { facts, assignments: (0, 0), policies: Arc::default() });
    }

    /// A group's role in a project.
    pub fn assignment(&mut self, project: ProjectId, assignment: Assignment) {
        self.assignments.push((project, assignment.group_id, assignment));
    }

    /// A policy.
    pub fn policy(&mut self, policy: Arc<Policy>) {
        self.policies.push(policy);
    }

    /// A server. One whose name is too long to be one is left out.
    pub fn server(&mut self, id: ServerId, name: &str, project: ProjectId) {
        let (Ok(start), Ok(length)) = (u32::try_from(self.snapshot.text.len()), u8::try_from(name.len()))
        else {
            return;
        };
        self.snapshot.text.push_str(name);
        self.servers.push((project, Server { id, project: 0, labels: 0, name: start, length }));
    }

    /// A server has labels.
    pub fn labels(&mut self, server: ServerId, labels: Arc<BTreeMap<Label, Label>>) {
        self.labels.insert(server, labels);
    }

    /// A server is a bastion of a group.
    pub fn bastion(&mut self, group: Label, server: ServerId) {
        self.snapshot.bastions.push((group, server));
    }

    /// Nobody gets to a server for now.
    pub fn lock_server(&mut self, server: ServerId) {
        self.locked_servers.insert(server);
    }

    /// Nobody gets to a project's servers for now.
    pub fn lock_project(&mut self, project: ProjectId) {
        self.locked_projects.insert(project);
    }

    /// Sorts and packs.
    #[must_use]
    pub fn finish(self) -> Snapshot {
        let Self {
            mut snapshot,
            mut assignments,
            policies,
            servers,
            locked_servers,
            locked_projects,
            labels,
        } = self;
        // At place 0, what most have.
        snapshot.conditions.push(Arc::default());
        snapshot.labels.push(Arc::default());
        snapshot.projects.sort_unstable_by_key(|project| project.facts.id);
        let project = |projects: &[Project], id: ProjectId| {
            let at = projects.binary_search_by_key(&id, |project| project.facts.id).ok()?;
            u32::try_from(at).ok()
        };

        assignments.sort_unstable_by_key(|(project, group, _)| (*project, *group));
        let mut groups: Vec<_> =
            assignments.iter().map(|(_, id, assignment)| (*id, assignment.group_name.clone())).collect();
        groups.sort_unstable();
        groups.dedup_by_key(|(id, _)| *id);
        groups.shrink_to_fit();
        for (project, id, assignment) in assignments {
            let at = groups.binary_search_by_key(&id, |(group, _)| *group).ok();
            let conditions = if assignment.conditions.is_empty() {
                Some(0)
            } else {
                push(&mut snapshot.conditions, assignment.conditions)
            };
            let group = at.and_then(|at| u32::try_from(at).ok());
            snapshot.assignments.extend(group.zip(conditions).map(|(group, conditions)| Packed {
                project,
                group,
                conditions,
                server_access: assignment.server_access,
                server_admin: assignment.server_admin,
            }));
        }
        snapshot.groups = groups;
        let mut last_policies: Option<Arc<Policies>> = None;
        for project in &mut snapshot.projects {
            let id = project.facts.id;
            let first = snapshot.assignments.partition_point(|packed| packed.project < id);
            let end = snapshot.assignments.partition_point(|packed| packed.project <= id);
            let concern = Policies::of_project(id, &policies);
            // Most projects share what is about the whole team.
            project.policies = match &last_policies {
                Some(last) if **last == concern => Arc::clone(last),
                _ => Arc::clone(last_policies.insert(Arc::new(concern))),
            };
            project.assignments =
                (u32::try_from(first).unwrap_or_default(), u32::try_from(end).unwrap_or_default());
        }

        let mut last = None;
        let placed = servers.into_iter().filter_map(|(id, server)| {
            if locked_projects.contains(&id) || locked_servers.contains(&server.id) {
                return None;
            }
            // They come project by project.
            let at = match last {
                Some((known, at)) if known == id => at,
                _ => project(&snapshot.projects, id)?,
            };
            last = Some((id, at));
            let labels = match labels.get(&server.id) {
                Some(labels) => push(&mut snapshot.labels, Arc::clone(labels))?,
                None => 0,
            };
            Some(Server { project: at, labels, ..server })
        });
        let placed: Vec<_> = placed.collect();
        snapshot.servers = placed;
        snapshot.servers.sort_unstable_by_key(|server| server.id);
        snapshot.names = (0_u32..)
            .zip(&snapshot.servers)
            .map(|(at, server)| (hash(snapshot.name(server).unwrap_or_default()), at))
            .collect();
        snapshot.names.sort_unstable();
        snapshot.bastions.sort_unstable();
        snapshot
    }
}

/// Where it then stands; `None` when there are too many.
fn push<T>(list: &mut Vec<T>, item: T) -> Option<u32> {
    let place = u32::try_from(list.len()).ok()?;
    list.push(item);
    Some(place)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// FNV-1a. Names are checked after the hash matched; a collision costs a comparison.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
