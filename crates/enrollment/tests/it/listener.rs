//! What an agent may have signed for its listener.

use usher_ca::x509::{SERVER_MAX, ServerAuthorization as _};
use usher_enrollment::{EnrolledAgent, ListenerGrant, NotItsKey, ServerRecord};
use usher_types::{ProjectId, ServerId, Thumbprint, UnixTime};

const NOW: UnixTime = UnixTime::from_secs(1_790_000_000);

fn record() -> ServerRecord {
    ServerRecord {
        id: ServerId::new(NOW, [1; 10]),
        name: "win-1".parse().unwrap(),
        project_id: ProjectId::new(NOW, [2; 10]),
        agent_key: thumbprint(1),
    }
}

fn thumbprint(seed: u8) -> Thumbprint {
    usher_types::Sha256::of(&[seed])
}

#[test]
fn the_agent_of_a_server_gets_a_certificate_for_that_server() {
    let agent = EnrolledAgent::recognise(record(), thumbprint(1)).unwrap();
    assert_eq!((agent.server_id(), agent.project_id()), (record().id, record().project_id));
    let grant = agent.listener("acme".parse().unwrap(), NOW).unwrap();
    assert_eq!(grant.identity().dns_name(), "win-1.acme.usher");
    assert_eq!(grant.identity().server_id, record().id);
    assert!(grant.period().contains(NOW) && grant.period().length() <= SERVER_MAX);
    assert_eq!(grant.period().valid_before(), NOW.saturating_add(ListenerGrant::LIFETIME));
}

/// An agent that asks for another server's certificate, or a server that was enrolled anew with another key.
#[test]
fn another_key_is_not_the_servers() {
    assert_eq!(EnrolledAgent::recognise(record(), thumbprint(2)).unwrap_err(), NotItsKey);
}

#[test]
fn a_clock_beyond_time_gets_nothing() {
    for now in [UnixTime::from_millis(i64::MIN), UnixTime::from_millis(i64::MAX), UnixTime::from_secs(0)] {
        let agent = EnrolledAgent::recognise(record(), thumbprint(1)).unwrap();
        assert!(agent.listener("acme".parse().unwrap(), now).is_err());
    }
}
