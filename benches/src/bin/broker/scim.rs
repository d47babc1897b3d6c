//! An identity provider beside the people: users imported over SCIM while connections are issued, and how long a change by the
//! provider takes until it is answered, which is when it decides.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};
use usher_benches::{float, percentile_ms};
use usher_store::{
    ConnectorState, JoinRule, Store,
    connectors::{self, Connector, ConnectorSettings},
    scim::tokens::{self, ScimToken},
    users,
};
use usher_types::{ConnectorId, SecretToken, TokenId, TokenKind};

use crate::{
    Options,
    load::Load,
    process::Running,
    team::Team,
    wire::{Dialer, now, random},
};

/// Connections that the provider has open.
const CONNECTIONS: u32 = 8;
/// Connections that ask for certificates meanwhile.
const ISSUING: usize = 4;
/// Changes that are timed.
const CHANGES: u32 = 200;

/// Writes down a connector with a token, beside the broker; gives the token.
pub(crate) async fn connect(store: &Store) -> String {
    let (id, at) = (ConnectorId::new(now(), random()), now());
    let connector = Connector {
        id,
        name: "bench".parse().unwrap(),
        oidc: None,
        settings: ConnectorSettings::default(),
        join_rule: JoinRule::Scim,
        state: ConnectorState::Active,
        created_at: at,
    };
    let secret = SecretToken::new(TokenKind::Scim, TokenId::new(at, random()), random());
    let mut tx = store.begin().await.unwrap();
    connectors::create(&mut tx, &connector).await.unwrap();
    let admin = users::find(&mut tx, "admin").await.unwrap().unwrap();
    let token = ScimToken {
        id: secret.id(),
        connector_id: id,
        connector: connector.name,
        connector_state: ConnectorState::Active,
        description: "bench".parse().unwrap(),
        hash: secret.hash(),
        cidr: None,
        created_by: admin.id,
        created_by_name: admin.user_name,
        created_at: at,
        expires_at: at.saturating_add(Duration::from_secs(24 * 3600)),
        revoked_at: None,
        last_used_at: None,
    };
    tokens::create(&mut tx, &token).await.unwrap();
    tx.commit().await.unwrap();
    secret.reveal().to_string()
}

/// A request of the provider.
fn request(dialer: &Dialer, token: &str, method: &str, path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let head = format!(
        "{method} /scim/v2{path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/scim+json\r\ncontent-length: {}\r\n\r\n",
        dialer.address,
        body.len()
    );
    format!("{head}{body}").into_bytes()
}

fn person(number: u32) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": format!("person{number}@example.com"),
        "externalId": format!("00u{number:017}"),
        "name": {"givenName": "Person", "familyName": number.to_string()},
        "displayName": format!("Person {number}"),
        "emails": [{"value": format!("person{number}@example.com"), "type": "work", "primary": true}],
        "active": true,
    })
}

/// Imports as many users as the options say, with people at work; then changes some of them.
pub(crate) async fn measure(running: &Running, team: &mut Team, options: &Options, token: &str) -> Value {
    let users = options.scim.unwrap_or_default();
    let load = Load::prepare(team, ISSUING, Duration::from_secs(options.seconds)).await;
    let (dialer, next) = (team.dialer.clone(), Arc::new(AtomicU32::new(0)));
    let mut importing = JoinSet::new();
    let start = Instant::now();
    for _ in 0..CONNECTIONS {
        let (dialer, next, token) = (dialer.clone(), Arc::clone(&next), token.to_owned());
        importing.spawn(async move {
            let (mut wire, mut latencies, mut first) = (dialer.dial().await, Vec::new(), None);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= users {
                    return (latencies, first);
                }
                let before = Instant::now();
                let answer =
                    wire.exchange(&request(&dialer, &token, "POST", "/Users", &person(number))).await;
                assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
                latencies.push(before.elapsed());
                first.get_or_insert(answer.body);
            }
        });
    }
    // While they come.
    let issuing = load.run(running).await;
    let imported = importing.join_all().await;
    let took = start.elapsed();
    let mut creations: Vec<Duration> =
        imported.iter().flat_map(|(latencies, _)| latencies).copied().collect();
    creations.sort_unstable();

    let somebody: Value = serde_json::from_slice(imported[0].1.as_ref().unwrap()).unwrap();
    let path = format!("/Users/{}", somebody["id"].as_str().unwrap());
    let (mut wire, mut changes) = (dialer.dial().await, Vec::new());
    for number in 0..CHANGES {
        let operation = json!({"op": "replace", "path": "active", "value": number % 2 == 1});
        let body = json!({"Operations": [operation]});
        let before = Instant::now();
        let answer = wire.exchange(&request(&dialer, token, "PATCH", &path, &body)).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        changes.push(before.elapsed());
    }
    changes.sort_unstable();
    json!({
        "users": users,
        "seconds": took.as_secs_f64(),
        "users_per_second": (float(creations.len()) / took.as_secs_f64()).round(),
        "create_p50_ms": percentile_ms(&creations, 50),
        "create_p99_ms": percentile_ms(&creations, 99),
        "meanwhile_connections_per_second": issuing.requests_per_second.round(),
        "meanwhile_connection_p99_ms": issuing.p99_ms,
        "change_p50_ms": percentile_ms(&changes, 50),
        "change_p99_ms": percentile_ms(&changes, 99),
        "rss_mib": running.rss_mib(),
    })
}
