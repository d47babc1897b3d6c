//! Comparing rules says exactly what deciding about everybody on every server says.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use proptest::prelude::*;
use usher_identity::AuthenticationMethod::MultiFactor;
use usher_policy::{
    AccessFacts, Asker, Assignment, Authentication, Bindings, Circumstances, Conditions, Decision, Draft,
    Named, Person, Policies, Policy, PolicySource, Purpose, Rules, ServerFacts, compare, suppose,
};
use usher_types::UnixTime;

use crate::fixture::{NOW, assignment, device_id, facts, group_id, project_id, request, server_id, user_id};

fn person(seed: u8, groups: &[u8]) -> Person {
    Person {
        id: user_id(seed),
        name: format!("user-{seed}").parse().unwrap(),
        login: format!("user-{seed}").parse().unwrap(),
        groups: groups.iter().copied().map(group_id).collect(),
    }
}

fn server(seed: u8, env: Option<&str>) -> ServerFacts {
    let labels = env.map(|env| ("env".parse().unwrap(), env.parse().unwrap()));
    ServerFacts {
        id: server_id(seed),
        name: format!("web-{seed}").parse().unwrap(),
        project_id: project_id(1),
        labels: Arc::new(labels.into_iter().collect()),
    }
}

fn role(group: u8, admin: bool, conditions: Conditions) -> Assignment {
    Assignment {
        conditions: Arc::new(conditions),
        ..assignment(group, &format!("group-{group}"), true, admin)
    }
}

fn policy(name: &str, text: &str) -> Arc<Policy> {
    let mut bindings = Bindings::default();
    for (kind, name) in Draft::parse(text).unwrap().names() {
        let seed = name.rsplit('-').next().unwrap().parse().unwrap();
        match kind {
            Named::Group => drop(bindings.groups.insert(name, group_id(seed))),
            Named::Project => drop(bindings.projects.insert(name, project_id(seed))),
            Named::Server => drop(bindings.servers.insert(name, server_id(seed))),
            Named::User => drop(bindings.users.insert(name, user_id(seed))),
        }
    }
    Arc::new(Policy::load(PolicySource {
        name: name.parse().unwrap(),
        project: None,
        text: text.to_owned(),
        bindings,
    }))
}

fn rules(assignments: Vec<Assignment>, policies: &[Arc<Policy>]) -> Rules {
    Rules {
        project: facts().project,
        assignments,
        policies: Arc::new(Policies::of_project(project_id(1), policies)),
    }
}

fn telling(before: &Rules, after: &Rules) -> Vec<Circumstances> {
    Circumstances::telling([(before, after)], (None, None, None), NOW).unwrap()
}

#[test]
fn who_gains_and_who_loses_is_told_with_what_shows_it() {
    let people = [person(1, &[1]), person(2, &[2]), person(3, &[1, 2]), person(4, &[1])];
    let servers = [server(1, Some("prod")), server(2, None), server(3, Some("prod"))];
    let before = rules(vec![role(1, false, Conditions::default())], &[]);
    let prod = Conditions {
        labels: [("env".parse().unwrap(), "prod".parse().unwrap())].into(),
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        ..Conditions::default()
    };
    let after = rules(vec![role(2, true, prod)], &[]);
    let found = compare(&people, &servers, &before, &after, &telling(&before, &after));
    let office: IpAddr = "10.0.0.0".parse().unwrap();
    let told: BTreeSet<_> = found
        .iter()
        .map(|one| {
            (
                one.people.clone(),
                one.servers.clone(),
                one.before.is_some(),
                one.after.is_some(),
                one.when.client == office,
            )
        })
        .collect();
    let expected = [
        (vec![0, 3], vec![0, 1, 2], true, false, false),
        (vec![1], vec![0, 2], false, true, true),
        (vec![2], vec![0, 1, 2], true, false, false),
        // From there, and there alone, it stays, with sudo.
        (vec![2], vec![0, 2], true, true, true),
    ];
    assert_eq!(told, expected.into());
}

#[test]
fn what_is_asked_of_the_sign_in_is_a_change() {
    let asks = Authentication { second_factor: true, ..Authentication::default() };
    let before = rules(vec![role(1, false, Conditions::default())], &[]);
    let after = rules(
        vec![role(1, false, Conditions { authentication: asks.clone(), ..Conditions::default() })],
        &[],
    );
    let found = compare(&[person(1, &[1])], &[server(1, None)], &before, &after, &telling(&before, &after));
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(one.before.as_ref().unwrap().asks, Authentication::default());
    assert_eq!(one.after.as_ref().unwrap().asks, asks);
}

#[test]
fn a_policy_by_the_clock_or_the_address_is_seen() {
    let people = [person(1, &[1])];
    let servers = [server(1, None)];
    let roles = vec![role(1, false, Conditions::default())];
    let before = rules(roles.clone(), &[]);
    for text in [
        "forbid (principal, action, resource) when { context.hour == 3 };",
        r#"forbid (principal, action, resource) when { context.weekday == "sun" };"#,
        r#"forbid (principal, action, resource) when { context.client_address.isInRange(ip("10.1.0.0/16")) };"#,
        r#"forbid (principal, action, resource) when { context.purpose == "command" };"#,
        r#"forbid (principal == User::"user-1", action, resource == Server::"web-1");"#,
        r#"forbid (principal, action == Action::"forward", resource) when { principal.name == "user-1" };"#,
    ] {
        let after = rules(roles.clone(), &[policy("new", text)]);
        let found = compare(&people, &servers, &before, &after, &telling(&before, &after));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(compare(&people, &servers, &after, &after, &telling(&before, &after)).is_empty());
    }
}

#[test]
fn too_many_circumstances_are_refused_instead_of_left_out() {
    let networks = |from: u8| (0..250).map(|n| format!("10.{from}.{n}.0/24").parse().unwrap()).collect();
    let before =
        rules(vec![role(1, false, Conditions { networks: networks(1), ..Conditions::default() })], &[]);
    let wide =
        "forbid (principal, action, resource) when { context.hour == 3 && context.purpose == \"command\" };";
    let after = rules(
        vec![role(1, false, Conditions { networks: networks(2), ..Conditions::default() })],
        &[policy("x", wide)],
    );
    let all = Circumstances::telling([(&before, &after)], (None, None, None), NOW);
    assert!(all.unwrap_err().to_string().contains("combinations"));
    let some = Circumstances::telling([(&before, &after)], (None, None, Some(NOW)), NOW);
    assert!(some.is_err());
    let one =
        Circumstances::telling([(&before, &after)], (None, Some("10.1.1.1".parse().unwrap()), None), NOW)
            .unwrap();
    assert_eq!(one.len(), 60);
}

prop_compose! {
    fn sides()(
        roles in prop::collection::vec((1_u8..4, any::<bool>(), prop::option::of(prop::sample::select(vec!["prod", "test"]))), 0..4),
        policies in prop::sample::subsequence(vec![
            r#"forbid (principal in Group::"group-3", action, resource);"#,
            r#"forbid (principal == User::"user-2", action, resource);"#,
            r#"forbid (principal, action, resource == Server::"web-1");"#,
            r#"forbid (principal, action == Action::"forward", resource) when { resource.name like "*2" };"#,
            r#"forbid (principal, action, resource) when { resource.hasTag("env") && resource.getTag("env") == "prod" && principal in Group::"group-2" };"#,
        ], 0..3),
    ) -> Rules {
        let assignments = roles.into_iter().map(|(group, admin, env)| {
            let labels = env.map(|env| ("env".parse().unwrap(), env.parse().unwrap())).into_iter().collect();
            role(group, admin, Conditions { labels, ..Conditions::default() })
        }).collect();
        let policies: Vec<_> = policies.iter().enumerate().map(|(at, text)| policy(&format!("p{at}"), text)).collect();
        rules(assignments, &policies)
    }
}

/// Sudo and forwarding, as the decision says about one person on one server.
fn decided(
    person: &Person,
    server: &ServerFacts,
    rules: &Rules,
    when: &Circumstances,
) -> Option<(bool, bool)> {
    let facts = AccessFacts {
        user_id: person.id,
        login: Some(person.login.clone()),
        groups: person.groups.clone(),
        server: server.clone(),
        project: rules.project.clone(),
        assignments: rules.assignments.clone(),
        policies: Arc::clone(&rules.policies),
        named_at: None,
        locks: Vec::new(),
    };
    let device = "any".parse().unwrap();
    let asker = Asker {
        user_id: person.id,
        user_name: &person.name,
        device: Some((device_id(), &device)),
        auth_time: when.at,
        amr: &[MultiFactor],
    };
    match suppose(&asker, &request(None, when.purpose), &facts, Some(when.client), when.at) {
        Decision::Allow(capabilities) => {
            Some((capabilities.server_admin, capabilities.permit_port_forwarding))
        }
        Decision::Deny(_) | Decision::StepUp(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_is_what_deciding_about_everybody_everywhere_says(
        before in sides(),
        after in sides(),
        groups in prop::collection::vec(prop::collection::btree_set(1_u8..5, 0..4), 1..6),
        envs in prop::collection::vec(prop::option::of(prop::sample::select(vec!["prod", "test"])), 1..5),
    ) {
        let people: Vec<_> = groups.iter().enumerate()
            .map(|(at, groups)| person(u8::try_from(at).unwrap() + 1, &groups.iter().copied().collect::<Vec<_>>()))
            .collect();
        let servers: Vec<_> = envs.iter().enumerate().map(|(at, env)| server(u8::try_from(at).unwrap() + 1, *env)).collect();
        let when = Circumstances { purpose: Purpose::Command, client: "192.0.2.7".parse().unwrap(), at: UnixTime::from_secs(1_790_000_000) };
        let mut told = BTreeMap::new();
        for one in compare(&people, &servers, &before, &after, &[when]) {
            let reach = |reach: Option<usher_policy::Reach>| reach.map(|reach| (reach.server_admin, reach.port_forwarding));
            let change = (reach(one.before), reach(one.after));
            for person in &one.people {
                for server in &one.servers {
                    prop_assert!(told.insert((*person, *server), change).is_none(), "told twice");
                }
            }
        }
        let mut expected = BTreeMap::new();
        for (at, person) in people.iter().enumerate() {
            for (place, server) in servers.iter().enumerate() {
                let change = (decided(person, server, &before, &when), decided(person, server, &after, &when));
                if change.0 != change.1 {
                    expected.insert((at, place), change);
                }
            }
        }
        prop_assert_eq!(told, expected);
    }
}
