//! Rows 5 and 6: what is granted for one server, login or project is worth nothing for another.

use std::collections::BTreeSet;

use usher_ca::{Authorization as _, SourceAddresses, x509::ClientAuthorization as _};
use usher_policy::AccessFacts;
use usher_types::{Principal, ProjectId, ServerId};

use crate::fixture::{allowed, facts, project_id, server_id};

fn facts_of(project: u8, server: u8) -> AccessFacts {
    let mut facts = facts();
    facts.project.id = project_id(project);
    facts.server.project_id = project_id(project);
    facts.server.id = server_id(server);
    facts
}

/// What a server does with a certificate: the CA must be its project's, the principal in its list for that account.
fn lets_in(at: (ProjectId, ServerId), signed_by: ProjectId, principal: &Principal) -> bool {
    let login = "alice".parse().unwrap();
    signed_by == at.0 && *principal == Principal::login(&login, at.1)
}

#[test]
fn the_matrix_of_grants_and_servers_is_diagonal() {
    // Two servers in each of three projects.
    let places: Vec<(u8, u8)> =
        (1..=3).flat_map(|project| [(project, project * 10), (project, project * 10 + 1)]).collect();
    for granted in &places {
        let grant = allowed(&facts_of(granted.0, granted.1));
        let principal = grant.target(SourceAddresses::any()).principal();
        for tried in &places {
            let place = (project_id(tried.0), server_id(tried.1));
            let let_in = lets_in(place, grant.capabilities().project_id, &principal);
            assert_eq!(let_in, granted == tried, "granted {granted:?}, tried {tried:?}");
        }
    }
}

#[test]
fn every_leg_has_a_principal_of_its_own() {
    let (first, second, target) = (server_id(8), server_id(9), server_id(1));
    let grant = allowed(&facts());
    let legs = [
        grant.hop(first, second),
        grant.hop(second, target),
        grant.hop(first, target),
        grant.target(SourceAddresses::any()),
    ];
    let principals: BTreeSet<String> = legs.iter().map(|leg| leg.principal().to_string()).collect();
    assert_eq!(principals.len(), legs.len());
    // A hop leg logs nobody in: its account is the hop account on every server.
    for leg in &legs[..3] {
        assert_eq!(leg.principal().account(), usher_types::HOP_LOGIN);
    }
}

/// The same for the certificate that a listener is shown: it names one server of one project, for as long as the others.
#[test]
fn the_certificate_for_a_listener_names_the_granted_server_alone() {
    let grant = allowed(&facts_of(2, 20));
    let client = grant.client("acme".parse().unwrap(), None);
    let identity = client.identity();
    assert_eq!((identity.project_id, identity.server_id), (project_id(2), server_id(20)));
    assert_eq!((identity.user_id, identity.device_id), (grant.user_id(), grant.device_id()));
    assert_eq!(identity.connection_id, grant.connection_id());
    assert_eq!((client.window(), client.smart_card()), (grant.window(), None));
    let card = grant.client("acme".parse().unwrap(), Some("alice@EXAMPLE.COM".parse().unwrap()));
    assert_eq!(card.smart_card().unwrap().as_str(), "alice@EXAMPLE.COM");
}
