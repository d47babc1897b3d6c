//! Properties of every decision.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use usher_ca::{Authorization as _, SourceAddresses};
use usher_policy::{AccessFacts, AccessRequest, Decision, PortForwarding, Purpose};
use usher_types::{Principal, ValidityWindow};

use crate::fixture::{NOW, assignment, decide, facts, group_id, project_id, server_id, user_id};

prop_compose! {
    fn requests()(
        login in prop::option::of(prop_oneof!["alice", "[a-z_][a-z0-9_-]{0,30}"]),
        interactive in any::<bool>(),
    ) -> AccessRequest {
        AccessRequest {
            // What is no login name never becomes a request.
            login: login.and_then(|login| login.parse().ok()),
            purpose: if interactive { Purpose::Interactive } else { Purpose::Command },
        }
    }
}

prop_compose! {
    fn worlds()(
        owner in 1_u8..3,
        login in prop::option::of(prop::sample::select(vec!["alice", "alice2"])),
        groups in prop::collection::btree_set(0_u8..4, 0..4),
        server in 1_u8..4,
        (project, server_project) in (1_u8..3, 1_u8..3),
        lifetime in 0_u64..700,
        skew in 0_u64..200,
        forwarding in prop::sample::select(vec![PortForwarding::All, PortForwarding::Local, PortForwarding::Off]),
        assignments in prop::collection::vec((0_u8..4, any::<bool>(), any::<bool>()), 0..5),
    ) -> AccessFacts {
        let mut facts = facts();
        facts.user_id = user_id(owner);
        facts.login = login.map(|login| login.parse().unwrap());
        facts.groups = groups.into_iter().map(group_id).collect();
        facts.server.id = server_id(server);
        facts.server.project_id = project_id(server_project);
        facts.project.id = project_id(project);
        facts.project.certificate_lifetime = Duration::from_secs(lifetime);
        facts.project.clock_skew = Duration::from_secs(skew);
        facts.project.port_forwarding = forwarding;
        facts.assignments = assignments
            .into_iter()
            .map(|(seed, access, admin)| assignment(seed, &format!("group-{seed}"), access, admin))
            .collect();
        facts
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Row 3: whatever a request says, the principal is the one that the facts name, or there is none.
    #[test]
    fn no_field_of_a_request_changes_the_principal(asked in prop::collection::vec(requests(), 1..20)) {
        let facts = facts();
        let mut minted = BTreeSet::new();
        for request in &asked {
            if let Decision::Allow(grant) = decide(request, &facts) {
                let target = grant.target(SourceAddresses::any());
                minted.insert(target.principal());
                prop_assert_eq!(target.permit_pty(), request.purpose == Purpose::Interactive);
                prop_assert_eq!(target.window(), grant.window());
            } else {
                prop_assert!(request.login.as_ref().is_some_and(|login| login.as_str() != "alice"));
            }
        }
        let own = Principal::login(&"alice".parse().unwrap(), facts.server.id);
        prop_assert!(minted.is_subset(&[own].into()));
    }

    /// The specification, written again in one expression.
    #[test]
    fn allows_exactly_what_the_rule_says(request in requests(), facts in worlds()) {
        let project = &facts.project;
        let rule = facts.user_id == user_id(1)
            && facts.server.project_id == project.id
            && facts.assignments.iter().any(|one| one.server_access && facts.groups.contains(&one.group_id))
            && facts.login.is_some()
            && request.login.as_ref().is_none_or(|login| Some(login) == facts.login.as_ref())
            && !project.certificate_lifetime.is_zero()
            && project.certificate_lifetime + project.clock_skew <= ValidityWindow::MAX;
        match decide(&request, &facts) {
            Decision::Allow(grant) => {
                prop_assert!(rule);
                prop_assert_eq!(grant.capabilities().server_id, facts.server.id);
                prop_assert_eq!(Some(&grant.capabilities().login), facts.login.as_ref());
                prop_assert!(grant.window().contains(NOW));
            }
            Decision::Deny(denial) => {
                prop_assert!(!rule);
                prop_assert!(denial.reasons().all(|reason| !reason.next().is_empty()));
            }
            Decision::StepUp(_) => prop_assert!(false, "no project asks for it"),
        }
    }

    /// Taking anything away never turns a denial into an allow.
    #[test]
    fn less_never_gives_more(request in requests(), facts in worlds(), kept in any::<prop::sample::Index>()) {
        if let Decision::Deny(_) = decide(&request, &facts) {
            let mut fewer_groups = facts.clone();
            let kept = facts.groups.iter().nth(kept.index(facts.groups.len().max(1))).copied();
            fewer_groups.groups = kept.into_iter().collect();
            prop_assert!(matches!(decide(&request, &fewer_groups), Decision::Deny(_)));
            let mut no_access = facts;
            no_access.assignments.iter_mut().for_each(|one| one.server_access = false);
            prop_assert!(matches!(decide(&request, &no_access), Decision::Deny(_)));
        }
    }

    /// Row 4: principals and key ids are made of parts that hold no separator.
    #[test]
    fn principals_and_key_ids_cannot_be_split(text in "\\PC{0,40}", prefix in "[a-z]{0,3}") {
        if let Ok(login) = format!("{prefix}{text}").parse::<usher_types::LoginName>() {
            let mut facts = facts();
            facts.login = Some(login.clone());
            let request = AccessRequest { login: Some(login), purpose: Purpose::Command };
            let Decision::Allow(grant) = decide(&request, &facts) else { panic!("denied") };
            let leg = grant.target(SourceAddresses::any());
            let principal = leg.principal().to_string();
            let safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "@._-:".contains(c);
            prop_assert!(principal.chars().all(safe) && leg.key_id().as_str().chars().all(safe));
            prop_assert_eq!(principal.matches('@').count(), 1);
            prop_assert!(leg.key_id().as_str().len() <= 200);
        }
    }
}
