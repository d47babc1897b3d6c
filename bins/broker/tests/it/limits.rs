//! Rate limits, and connections that dawdle.

use std::{num::NonZeroU32, time::Duration};

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use usher_types::{SecretToken, TokenId, TokenKind};

use crate::{Broker, Caller, broker::Client, team::store_of};

#[tokio::test]
async fn too_many_requests_say_when_to_come_back() {
    let broker = Broker::start_with(|config| {
        config.limits.enrollments_burst = NonZeroU32::new(2).unwrap();
        config.limits.enrollments_per_minute = NonZeroU32::new(1).unwrap();
    })
    .await;
    let mut stranger = Caller::stranger(&broker);
    stranger.learn_nonce().await;
    let body = Client::new().token_request("AAAA");
    for _ in 0..2 {
        stranger.call("POST", "/v1/token", &body).await.refused(400, "invalid_grant");
    }
    let refused = stranger.call("POST", "/v1/token", &body).await;
    refused.refused(429, "too_many_requests");
    assert!(refused.retry_after.unwrap().parse::<u64>().unwrap() >= 1);
}

#[tokio::test]
async fn sign_in_is_limited_by_address_and_by_name() {
    let broker = Broker::start_with(|config| {
        config.limits.sign_ins_burst = NonZeroU32::new(2).unwrap();
        config.limits.sign_ins_per_minute = NonZeroU32::new(1).unwrap();
    })
    .await;
    for expected in [401, 401, 429] {
        let answer = broker.post_form("/set-up", &[("code", "AAAAA-AAAAA-AAAAA-AAAAA")]).await;
        assert_eq!(answer.status().as_u16(), expected);
        if expected == 429 {
            assert!(answer.headers().contains_key("retry-after"));
            assert!(answer.text().await.unwrap().contains("Too many attempts"));
        }
    }
}

/// Attack: a guesser claims another address with each guess, as a proxy would report it.
#[tokio::test]
async fn nobody_says_what_address_they_come_from() {
    let broker = Broker::start_with(|config| {
        config.limits.sign_ins_burst = NonZeroU32::new(2).unwrap();
        config.limits.sign_ins_per_minute = NonZeroU32::new(1).unwrap();
    })
    .await;
    for (number, expected) in [401, 401, 429].into_iter().enumerate() {
        let claimed = format!("198.51.100.{number}");
        let answer = broker
            .http
            .post(format!("{}/set-up", broker.origin))
            .header("x-forwarded-for", &claimed)
            .header("x-real-ip", &claimed)
            .header("forwarded", format!("for={claimed}"))
            .form(&[("code", "AAAAA-AAAAA-AAAAA-AAAAA")])
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), expected);
    }
    let config = broker.app.config().clone();
    let _directory = broker.stop().await;
    let store = store_of(&config).await;
    let rows = usher_store::audit::page(&mut store.read().await.unwrap(), 0, 1000).await.unwrap();
    let log: String = rows.iter().map(|row| String::from_utf8_lossy(&row.bytes)).collect();
    assert!(log.contains("failure.count") && log.contains("127.0.0.1"), "{log}");
    assert!(!log.contains("198.51.100"), "{log}");
}

/// A person with an ordinary burst: 200 hosts at once must pass.
#[tokio::test]
async fn two_hundred_connections_at_once_are_no_attack() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    for _ in 0..200 {
        let body = serde_json::json!({"server": "web-1", "purpose": "command", "keys": []});
        let answer = caller.call("POST", "/v1/connections", &body).await;
        assert_ne!(answer.status, 429, "{answer:?}");
    }
}

/// Guesses that only a handler can recognise are counted too, without a row for each.
#[tokio::test]
async fn guesses_that_handlers_refuse_reach_the_counters() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    let created = caller.call("POST", "/v1/users", &json!({"user_name": "bob"})).await;
    let code = created.body["set_up"]["code"].as_str().unwrap().to_owned();
    let bob = broker.set_up("bob", &code, "another horse battery").await;
    let mut bobs = broker.session(&bob).await;
    let device = json!({"state": "approved"});
    assert_eq!(caller.call("PATCH", &format!("/v1/devices/{}", bobs.device_id), &device).await.status, 200);

    let mut stranger = Caller::stranger(&broker);
    let guess = SecretToken::new(TokenKind::Enrollment, TokenId::new(broker.now(), [1; 10]), [2; 32]);
    let enroll = json!({"token": *guess.reveal(), "name": "web-1", "facts": {
        "addresses": [{"ip": "10.0.0.1", "port": 22}], "os": "", "sshd_version": "",
        "host_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZ2Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFy"],
    }});
    for _ in 0..3 {
        stranger.call("POST", "/v1/enroll", &enroll).await.refused(401, "token_refused");
    }
    for _ in 0..2 {
        let body = Client::new().token_request("AAAA");
        stranger.call("POST", "/v1/token", &body).await.refused(400, "invalid_grant");
    }
    bobs.get("/v1/users").await.refused(403, "forbidden");

    let config = broker.app.config().clone();
    let _directory = broker.stop().await;
    let store = store_of(&config).await;
    let mut reader = store.read().await.unwrap();
    let rows = usher_store::audit::page(&mut reader, 0, 1000).await.unwrap();
    let mut counted = std::collections::BTreeMap::new();
    for row in rows {
        let row: serde_json::Value = serde_json::from_slice(&row.bytes).unwrap();
        let event = &row["event"];
        if event["type"] == "failure.count" {
            counted.insert(event["kind"].as_str().unwrap().to_owned(), event["count"].as_u64().unwrap());
        }
        assert_ne!(event["type"], "server.enroll_refuse", "a row for each guess");
    }
    for (kind, count) in [("token_refused", 3), ("invalid_grant", 2), ("forbidden", 1)] {
        assert_eq!(counted.get(kind), Some(&count), "{kind}: {counted:?}");
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let broker = Broker::start_with(|config| {
        config.tls.handshake_timeout_seconds = NonZeroU32::new(1).unwrap();
    })
    .await;
    let mut silent =
        tokio::net::TcpStream::connect(broker.origin.trim_start_matches("https://")).await.unwrap();
    let mut byte = [0; 1];
    let closed = tokio::time::timeout(Duration::from_secs(120), silent.read(&mut byte)).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)));
}

#[tokio::test]
async fn the_broker_stops_in_order_and_the_log_is_good() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let _caller = broker.session(&admin).await;
    let config = broker.app.config().clone();
    let directory = broker.stop().await;
    let store = store_of(&config).await;
    let mut reader = store.read().await.unwrap();
    let verified = usher_store::audit::verify(&mut reader, &[]).await.unwrap();
    // Without the key no checkpoint holds; the rows do.
    assert!(verified.faults.iter().all(|fault| fault.to_string().starts_with("checkpoint")), "{verified:?}");
    drop(directory);
}
