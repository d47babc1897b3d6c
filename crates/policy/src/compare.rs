//! Who would gain or lose what by other rules: every active person and every server of a project, decided by
//! [`suppose`](crate::suppose) under the rules that stand and under those that are proposed.
//!
//! People with the same groups, as far as the rules look at groups, are decided about once; so are servers with the same
//! labels. Ten thousand people on a thousand servers are a few thousand decisions.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, LazyLock},
    time::Duration,
};

use thiserror::Error;
use usher_identity::AuthenticationMethod;
use usher_types::{Cidr, DeviceId, DeviceName, GroupId, LoginName, ServerId, UnixTime, UserId, UserName};

use crate::{
    AccessFacts, AccessRequest, Asker, Assignment, Authentication, Decision, Hours, Policies, Policy,
    ProjectFacts, Purpose, ServerFacts, authorize, suppose,
};

/// Somebody who can sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub id: UserId,
    /// Its name.
    pub name: UserName,
    /// The account that it has in the project, or would get.
    pub login: LoginName,
    /// Its groups.
    pub groups: BTreeSet<GroupId>,
}

/// What decides in one project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The project.
    pub project: ProjectFacts,
    /// Its groups' roles.
    pub assignments: Vec<Assignment>,
    /// What is forbidden there.
    pub policies: Arc<Policies>,
}

/// What somebody may do on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Use sudo.
    pub server_admin: bool,
    /// Forward ports.
    pub port_forwarding: bool,
    /// What is asked of the sign-in, at the least.
    pub asks: Authentication,
}

/// Where, when and for what somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// For what.
    pub purpose: Purpose,
    /// From where.
    pub client: IpAddr,
    /// When.
    pub at: UnixTime,
}

/// A difference, and all whom it is the same for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Places in the list of people.
    pub people: Vec<usize>,
    /// Places in the list of servers.
    pub servers: Vec<usize>,
    /// What they may do there now.
    pub before: Option<Reach>,
    /// What they might.
    pub after: Option<Reach>,
    /// The first circumstances that show it.
    pub when: Circumstances,
}

/// The rules look at too many places and times to go through all of them.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "these rules depend on {0} combinations of place, time and purpose; at most {MOST_CIRCUMSTANCES} are compared at once"
)]
pub struct TooManyCircumstances(usize);

/// Each costs a decision for every kind of person on every kind of server.
const MOST_CIRCUMSTANCES: usize = 512;

/// An address for documentation (RFC 5737): nobody comes from there.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Nobody's device: which one somebody will come with is not known.
static ANY_DEVICE: LazyLock<Option<DeviceName>> = LazyLock::new(|| "any".parse().ok());

const HALF_HOUR: Duration = Duration::from_secs(30 * 60);

impl Circumstances {
    /// Those that can make a difference between `before` and `after`: an address in each network that they name and one
    /// elsewhere, a time inside and one outside of all hours, and, where a policy that is not in both looks at the clock,
    /// every hour of a day and every day of a week. What is given is taken instead.
    ///
    /// # Errors
    /// [`TooManyCircumstances`]; give some of them.
    pub fn telling<'a>(
        rules: impl IntoIterator<Item = (&'a Rules, &'a Rules)>,
        given: (Option<Purpose>, Option<IpAddr>, Option<UnixTime>),
        now: UnixTime,
    ) -> Result<Vec<Self>, TooManyCircumstances> {
        let mut networks = BTreeSet::new();
        let mut hours = BTreeMap::new();
        let mut changed: Vec<Arc<Policy>> = Vec::new();
        for (before, after) in rules {
            for assignment in before.assignments.iter().chain(&after.assignments) {
                networks.extend(&assignment.conditions.networks);
                hours.extend(assignment.conditions.hours.as_ref().map(|hours| (hours.to_string(), hours)));
            }
            let (old, new) = (before.policies.all(), after.policies.all());
            let one_sided = old
                .iter()
                .filter(|one| !new.contains(one))
                .chain(new.iter().filter(|one| !old.contains(one)));
            changed.extend(one_sided.filter(|one| !changed.contains(one)).cloned().collect::<Vec<_>>());
        }
        let (purpose, client, at) = given;
        let clients = client.map_or_else(|| clients(&networks, &changed), |client| vec![client]);
        let times = at.map_or_else(|| times(now, &hours, &changed), |at| vec![at]);
        let purposes = match purpose {
            Some(purpose) => vec![purpose],
            None if changed.iter().any(|policy| policy.says("purpose")) => {
                vec![Purpose::Interactive, Purpose::Command]
            }
            None => vec![Purpose::Interactive],
        };
        let all = clients.len().saturating_mul(times.len()).saturating_mul(purposes.len());
        if all > MOST_CIRCUMSTANCES {
            return Err(TooManyCircumstances(all));
        }
        let mut circumstances = Vec::with_capacity(all);
        for purpose in purposes {
            for at in &times {
                circumstances.extend(clients.iter().map(|client| Self { purpose, client: *client, at: *at }));
            }
        }
        Ok(circumstances)
    }
}

fn clients(networks: &BTreeSet<&Cidr>, changed: &[Arc<Policy>]) -> Vec<IpAddr> {
    let mut clients: BTreeSet<IpAddr> = networks.iter().map(|network| network.network()).collect();
    for policy in changed {
        // Addresses are written `ip("10.0.0.0/8")` in Cedar.
        let written = policy.source().text.split("ip(\"").skip(1).filter_map(|rest| rest.split('"').next());
        clients.extend(written.filter_map(|text| text.split('/').next()?.parse::<IpAddr>().ok()));
    }
    let mut all = vec![ELSEWHERE];
    all.extend(clients.into_iter().filter(|client| *client != ELSEWHERE));
    all
}

fn times(now: UnixTime, hours: &BTreeMap<String, &Hours>, changed: &[Arc<Policy>]) -> Vec<UnixTime> {
    let later = |count: u32| now.saturating_add(HALF_HOUR.saturating_mul(count.saturating_mul(2)));
    let mut times = BTreeSet::from([now]);
    for hours in hours.values() {
        // Half hours of a week: hours that are shorter may be missed, and can be given.
        let half = |count: u32| now.saturating_add(HALF_HOUR.saturating_mul(count));
        let mut week = (0..7 * 48).map(half);
        times.extend(week.clone().find(|at| hours.contain(*at)));
        times.extend(week.find(|at| !hours.contain(*at)));
    }
    if changed.iter().any(|policy| ["hour", "minute", "weekday", "now"].iter().any(|word| policy.says(word)))
    {
        times.extend((1..24).map(later));
        times.extend((1..7).map(|day: u32| later(day.saturating_mul(24))));
    }
    times.into_iter().collect()
}

impl Policy {
    /// Whether a word is in its text, which is all that matters here: too much is compared rather than too little.
    fn says(&self, word: &str) -> bool {
        self.source().text.contains(word)
    }
}

/// Compares two sets of rules of one project. Locks are left out: they are on both sides.
#[must_use]
pub fn compare(
    people: &[Person],
    servers: &[ServerFacts],
    before: &Rules,
    after: &Rules,
    circumstances: &[Circumstances],
) -> Vec<Difference> {
    let policies = || before.policies.all().iter().chain(after.policies.all());
    let sides = [before, after];
    let groups: BTreeSet<GroupId> = sides
        .iter()
        .flat_map(|rules| {
            rules.assignments.iter().map(|one| one.group_id).chain(rules.policies.groups().iter().copied())
        })
        .collect();
    let named = policies().any(|policy| policy.says("name"));
    let users: BTreeSet<UserId> =
        policies().flat_map(|policy| policy.source().bindings.users.values()).copied().collect();
    let hosts: BTreeSet<ServerId> =
        policies().flat_map(|policy| policy.source().bindings.servers.values()).copied().collect();

    let mut kinds_of_people: BTreeMap<(BTreeSet<GroupId>, Option<UserId>), Vec<usize>> = BTreeMap::new();
    for (place, person) in people.iter().enumerate() {
        let own = (named || users.contains(&person.id)).then_some(person.id);
        let mine = groups.intersection(&person.groups).copied().collect();
        kinds_of_people.entry((mine, own)).or_default().push(place);
    }
    let mut kinds_of_servers: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (place, server) in servers.iter().enumerate() {
        let own = (named || hosts.contains(&server.id)).then_some(server.id);
        kinds_of_servers.entry((server.labels.as_ref(), own)).or_default().push(place);
    }

    let mut outcomes: Vec<(Vec<Changed>, Vec<usize>)> = Vec::new();
    for ((groups, _), places) in kinds_of_people {
        let Some(person) = places.first().and_then(|place| people.get(*place)) else { continue };
        let mut changed = Vec::new();
        for (kind, kind_places) in kinds_of_servers.values().enumerate() {
            let Some(server) = kind_places.first().and_then(|place| servers.get(*place)) else { continue };
            let mut subjects = [before, after].map(|rules| subject(person, &groups, server, rules));
            changed.extend(
                differences(person, &mut subjects, circumstances)
                    .into_iter()
                    .map(|(before, after, when)| Changed { kind, before, after, when }),
            );
        }
        if changed.is_empty() {
            continue;
        }
        match outcomes.iter_mut().find(|(known, _)| *known == changed) {
            Some((_, all)) => all.extend(places),
            None => outcomes.push((changed, places)),
        }
    }
    let kinds: Vec<_> = kinds_of_servers.into_values().collect();
    outcomes.into_iter().flat_map(|(changed, people)| gather(changed, people, &kinds)).collect()
}

/// What changes for one kind of people on one kind of servers.
#[derive(Clone, Debug, PartialEq)]
struct Changed {
    kind: usize,
    before: Option<Reach>,
    after: Option<Reach>,
    when: Circumstances,
}

/// Servers where the same changes go together.
fn gather(changed: Vec<Changed>, mut people: Vec<usize>, kinds: &[Vec<usize>]) -> Vec<Difference> {
    people.sort_unstable();
    let mut all: Vec<Difference> = Vec::new();
    for Changed { kind, before, after, when } in changed {
        let places = kinds.get(kind).into_iter().flatten().copied();
        let same = |one: &&mut Difference| one.before == before && one.after == after && one.when == when;
        match all.iter_mut().find(same) {
            Some(known) => known.servers.extend(places),
            None => {
                all.push(Difference {
                    people: people.clone(),
                    servers: places.collect(),
                    before,
                    after,
                    when,
                });
            }
        }
    }
    all.iter_mut().for_each(|one| one.servers.sort_unstable());
    all
}

fn subject(person: &Person, groups: &BTreeSet<GroupId>, server: &ServerFacts, rules: &Rules) -> AccessFacts {
    AccessFacts {
        user_id: person.id,
        login: Some(person.login.clone()),
        groups: groups.clone(),
        server: server.clone(),
        project: rules.project.clone(),
        assignments: rules.assignments.clone(),
        policies: Arc::clone(&rules.policies),
        named_at: None,
        locks: Vec::new(),
    }
}

/// At most one each: what is gained somewhere, what is lost somewhere, what is another somewhere.
fn differences(
    person: &Person,
    subjects: &mut [AccessFacts; 2],
    circumstances: &[Circumstances],
) -> Vec<(Option<Reach>, Option<Reach>, Circumstances)> {
    let mut found: Vec<(Option<Reach>, Option<Reach>, Circumstances)> = Vec::new();
    for when in circumstances {
        let [before, after] = subjects.each_mut().map(|facts| reach(person, facts, when));
        let kind = |before: &Option<Reach>, after: &Option<Reach>| (before.is_some(), after.is_some());
        let new =
            before != after && !found.iter().any(|(old, new, _)| kind(old, new) == kind(&before, &after));
        if new {
            found.push((before, after, *when));
        }
    }
    found
}

/// What somebody may do who signed in as well as one can.
fn reach(person: &Person, facts: &mut AccessFacts, when: &Circumstances) -> Option<Reach> {
    let Circumstances { purpose, client, at } = *when;
    facts.named_at = Some(at);
    let device = ANY_DEVICE.as_ref().map(|name| (DeviceId::new(UnixTime::from_millis(0), [0; 10]), name));
    let asker = Asker {
        user_id: person.id,
        user_name: &person.name,
        device,
        auth_time: at,
        amr: &[AuthenticationMethod::MultiFactor],
    };
    let request = AccessRequest { login: None, purpose };
    match suppose(&asker, &request, facts, Some(client), at) {
        Decision::Allow(capabilities) => Some(Reach {
            server_admin: capabilities.server_admin,
            port_forwarding: capabilities.permit_port_forwarding,
            asks: authorize::least_asked(facts, Some(client), at).unwrap_or_default(),
        }),
        Decision::Deny(_) | Decision::StepUp(_) => None,
    }
}
