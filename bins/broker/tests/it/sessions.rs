//! Sessions: who sees and ends them, how long they last and rest, from where they are good. And devices, as far as their
//! owners are concerned.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    Broker,
    broker::Client,
    team::{Caller, PEER, POSTGRES, Reply, Team, ssh_key},
};

const PATIENCE: Duration = Duration::from_secs(60);

async fn shop() -> (Team, Caller, Caller) {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    team.project(&admin, "shop").await;
    let alice = team.person(&admin, "alice", &["shop"]).await;
    team.enroll(&team.token(&admin, "shop", json!({})).await, "web-1", 1).await;
    (team, admin, alice)
}

async fn connect(team: &Team, caller: &Caller) -> Reply {
    let body = json!({"server": "web-1", "purpose": "command", "keys": [ssh_key(901)]});
    team.post(caller, "/v1/connections", body).await
}

/// Until every broker answers from memory: what is refused afterwards is refused by what memory knows.
async fn remembered(team: &Team, caller: &Caller) {
    for (number, (app, _router)) in team.brokers.iter().enumerate() {
        team.only(number);
        let (began, before) = (Instant::now(), app.planned_from_memory());
        while app.planned_from_memory() == before {
            assert!(began.elapsed() < PATIENCE, "memory is never used");
            connect(team, caller).await.ok();
        }
    }
    team.any();
}

/// What every broker says.
async fn everywhere(team: &Team, caller: &Caller, check: impl Fn(Reply)) {
    for number in 0..team.brokers.len() {
        team.only(number);
        check(connect(team, caller).await);
    }
    team.any();
}

async fn set(team: &Team, admin: &Caller, settings: Value) -> Reply {
    team.send(admin, "PATCH", "/v1/team/settings", &settings.to_string(), team.jti()).await
}

async fn session_of(team: &Team, caller: &Caller) -> String {
    team.get(caller, "/v1/me").await.ok()["session"]["id"].as_str().unwrap().to_owned()
}

async fn remove(team: &Team, caller: &Caller, path: &str) -> Reply {
    team.send(caller, "DELETE", path, "", team.jti()).await
}

#[tokio::test]
async fn no_certificate_after_a_session_was_revoked() {
    let (team, admin, alice) = shop().await;
    remembered(&team, &alice).await;
    let session = format!("/v1/sessions/{}", session_of(&team, &alice).await);
    // Nobody but its owner and administrators knows that it is there.
    let bob = team.person(&admin, "bob", &["shop"]).await;
    remove(&team, &bob, &session).await.error("not_found");
    connect(&team, &alice).await.ok();
    remembered(&team, &alice).await;
    remove(&team, &admin, &session).await.ok();
    everywhere(&team, &alice, |reply| drop(reply.error("login_required"))).await;
    remove(&team, &admin, &session).await.error("not_found");
    let closed = team.events("session.close").await;
    assert_eq!((closed.len(), &closed[0]["reason"]), (1, &json!("revoked")));
}

#[tokio::test]
async fn people_see_and_end_their_own_sessions() {
    let (team, admin, alice) = shop().await;
    let other = team.session("alice").await;
    let list = team.get(&alice, "/v1/sessions").await.ok();
    let mine = list["items"].as_array().unwrap();
    assert_eq!(mine.len(), 2);
    let current: Vec<_> = mine.iter().filter(|session| session["current"] == true).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["id"], session_of(&team, &alice).await);
    assert_eq!((&current[0]["client_address"], &current[0]["user_name"]), (&json!(PEER), &json!("alice")));
    assert_eq!(team.get(&admin, "/v1/sessions").await.ok()["items"].as_array().unwrap().len(), 3);

    let session = format!("/v1/sessions/{}", session_of(&team, &other).await);
    remove(&team, &alice, &session).await.ok();
    connect(&team, &other).await.error("login_required");
    connect(&team, &alice).await.ok();
    assert_eq!(team.get(&alice, "/v1/sessions").await.ok()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_session_that_rests_for_too_long_ends_also_where_memory_knows_it() {
    let (team, admin, alice) = shop().await;
    set(&team, &admin, json!({"session_idle_seconds": 600})).await.ok();
    remembered(&team, &alice).await;
    // Uses that follow each other keep it, however long it takes altogether: no broker forgets what it has seen.
    for _ in 0..3 {
        team.later(550);
        everywhere(&team, &alice, |reply| drop(reply.ok())).await;
        written(&team, &alice).await;
    }
    team.later(601);
    everywhere(&team, &alice, |reply| {
        let error = reply.error("login_required");
        assert_eq!(error["message"], "the session was not used for too long");
    })
    .await;
    // What was refused was no use.
    connect(&team, &alice).await.error("login_required");
}

/// Until the last use of this caller's session is in its row.
async fn written(team: &Team, caller: &Caller) {
    let began = Instant::now();
    let token = caller.token.as_ref().unwrap().id();
    loop {
        let mut reader = team.store().read().await.unwrap();
        let rows = usher_store::sessions::caller(&mut reader, token).await.unwrap().unwrap();
        if rows.session.last_used_at == team.clock.now() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "the use is never written down");
        drop(reader);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn using_a_session_moves_no_epoch_and_is_written_once_a_minute() {
    let (team, _admin, alice) = shop().await;
    remembered(&team, &alice).await;
    let epoch = team.store().read().await.unwrap().epoch().await.unwrap();
    team.only(0);
    team.later(61);
    connect(&team, &alice).await.ok();
    written(&team, &alice).await;
    let first = team.clock.now();
    team.later(30);
    connect(&team, &alice).await.ok();
    let mut reader = team.store().read().await.unwrap();
    let rows = usher_store::sessions::caller(&mut reader, alice.token.as_ref().unwrap().id()).await.unwrap();
    assert_eq!(rows.unwrap().session.last_used_at, first);
    assert_eq!(reader.epoch().await.unwrap(), epoch);
}

#[tokio::test]
async fn a_bound_session_is_refused_from_another_network_also_where_memory_knows_it() {
    let (team, admin, alice) = shop().await;
    team.come_from("192.0.2.8");
    connect(&team, &alice).await.ok();
    remembered(&team, &alice).await;
    // Set while the session is there: it holds from this moment on.
    team.come_from(PEER);
    set(&team, &admin, json!({"session_binding": "network"})).await.ok();
    remembered(&team, &alice).await;
    team.come_from("192.0.2.8");
    everywhere(&team, &alice, |reply| {
        let error = reply.error("login_required");
        assert_eq!(error["message"], "the session was opened from another network");
        assert_eq!(error["next"], "sign in again with `usher login`");
    })
    .await;
    team.get(&alice, "/v1/servers").await.error("login_required");
    team.come_from(PEER);
    connect(&team, &alice).await.ok();
}

#[tokio::test]
async fn a_shorter_life_is_that_of_sessions_that_are_there_and_a_longer_one_is_not() {
    let (team, admin, alice) = shop().await;
    remembered(&team, &alice).await;
    for bad in [
        json!({"session_lifetime_seconds": 3599}),
        json!({"session_lifetime_seconds": 90_001}),
        json!({"session_idle_seconds": 299}),
        json!({"session_idle_seconds": 90_001}),
        json!({"session_binding": "country"}),
        json!({"session_lifetime_seconds": -1}),
    ] {
        set(&team, &admin, bad).await.error("invalid_request");
    }
    set(&team, &alice, json!({"session_lifetime_seconds": 7200})).await.error("forbidden");
    set(&team, &admin, json!({"session_lifetime_seconds": 90_000})).await.ok();
    let ends = |me: Value| me["session"]["expires_at"].as_str().unwrap().to_owned();
    let before = ends(team.get(&alice, "/v1/me").await.ok());
    set(&team, &admin, json!({"session_lifetime_seconds": 3600})).await.ok();
    assert_ne!(ends(team.get(&alice, "/v1/me").await.ok()), before);
    remembered(&team, &alice).await;
    team.later(3600);
    everywhere(&team, &alice, |reply| drop(reply.error("login_required"))).await;
}

#[tokio::test]
async fn owners_rename_and_revoke_their_devices_and_approve_none() {
    let (team, admin, alice) = shop().await;
    let patch = async |caller: &Caller, device: &str, change: Value| {
        team.send(caller, "PATCH", &format!("/v1/devices/{device}"), &change.to_string(), team.jti()).await
    };
    let device_of = async |caller: &Caller| {
        team.get(caller, "/v1/me").await.ok()["device"]["id"].as_str().unwrap().to_owned()
    };
    let (mine, theirs) = (device_of(&alice).await, device_of(&admin).await);
    assert_eq!(patch(&alice, &mine, json!({"name": "desk"})).await.ok()["name"], "desk");
    assert_eq!(patch(&admin, &mine, json!({"name": "tower"})).await.ok()["name"], "tower");
    patch(&alice, &mine, json!({"name": "../x y"})).await.error("invalid_request");
    patch(&alice, &theirs, json!({"name": "mine"})).await.error("not_found");
    patch(&alice, &theirs, json!({"state": "revoked"})).await.error("not_found");
    // A device that waits is let in by an administrator, whoever owns it.
    let second = team.session_on("alice", usher_identity::DeviceState::Pending).await;
    let waiting = device_of(&second).await;
    patch(&alice, &waiting, json!({"state": "approved"})).await.error("forbidden");
    patch(&second, &waiting, json!({"state": "approved"})).await.error("device_pending_approval");

    remembered(&team, &alice).await;
    patch(&alice, &mine, json!({"state": "revoked"})).await.ok();
    everywhere(&team, &alice, |reply| assert!(!reply.status.is_success(), "{reply:?}")).await;
    let revoked = team.events("device.revoke").await;
    assert_eq!(revoked.last().unwrap()["device_id"], mine.as_str());
}

#[tokio::test]
async fn a_sign_in_that_takes_anothers_place_says_so_in_the_log() {
    if POSTGRES {
        // The page's own broker keeps its rows in SQLite.
        return;
    }
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let client = Client::new();
    broker.session_on(&client, &admin).await;
    let mut second = broker.session_on(&client, &admin).await;
    let closed = second.get("/v1/audit?type=session.close&limit=10").await;
    let items = closed.body["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{closed:?}");
    assert_eq!(items[0]["event"]["event"]["reason"], "replaced");
}
