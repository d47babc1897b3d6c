//! Guarantee 2 on the whole path: a user is disabled while certificates are being made for it, again and again, by this
//! broker, by another one, and while an import moves the epoch all the time. Afterwards no certificate of that user
//! stands behind the disable in the log. That this can be seen at all is shown where the items are careless, in the
//! store's own tests (`negative_control`).

use std::{collections::BTreeSet, sync::Arc};

use serde_json::json;
use tokio::sync::{Semaphore, watch};
use usher_audit::{Actor, Event, Record};
use usher_broker::DATABASE_NAME;
use usher_identity::UserStatus;
use usher_store::{
    Store, audit, groups,
    users::{self, UserChange},
};
use usher_testkit::NOW;
use usher_types::{GroupId, UserId};

use crate::team::{Caller, Reply, Team, ssh_key};

/// Requests of one run.
const REQUESTS: usize = 4;

/// Runs of each test: `cargo xtask races --runs N`.
fn runs() -> usize {
    let runs = std::env::var("USHER_TEST_RUNS").ok();
    runs.map_or(25, |runs| runs.parse().expect("USHER_TEST_RUNS is a number"))
}

async fn connect(team: &Team, caller: &Caller) -> Reply {
    let body = json!({"server": "web-1", "purpose": "interactive", "keys": [ssh_key(901)]});
    team.post(caller, "/v1/connections", body).await
}

/// A team with one server, alice who comes and goes, and bob who stays.
struct Race {
    team: Team,
    bob: Caller,
    alice: UserId,
    other: Store,
    /// How far the log was looked through.
    seen: i64,
    disabled: BTreeSet<UserId>,
}

impl Race {
    async fn new() -> Self {
        let team = Team::new().await;
        let admin = team.session("admin").await;
        team.project(&admin, "shop").await;
        team.person(&admin, "alice", &["shop"]).await;
        let bob = team.person(&admin, "bob", &["shop"]).await;
        team.enroll(&team.token(&admin, "shop", json!({})).await, "web-1", 1).await;
        let other = Store::open(&team.app.config().data_dir.join(DATABASE_NAME)).await.unwrap();
        let mut reader = other.read().await.unwrap();
        let alice = users::find(&mut reader, "alice").await.unwrap().unwrap().id;
        drop(reader);
        Self { team, bob, alice, other, seen: 0, disabled: BTreeSet::new() }
    }

    /// With its audit row, so that the log says what came first.
    async fn set_status(&self, store: &Store, status: UserStatus) {
        let mut tx = store.begin().await.unwrap();
        let user = users::by_id(&mut tx, self.alice).await.unwrap().unwrap();
        users::update(&mut tx, &user, &UserChange { status: Some(status), ..Default::default() }, NOW)
            .await
            .unwrap();
        let event = match status {
            UserStatus::Active => Event::UserEnable { user_id: self.alice },
            UserStatus::Disabled => Event::UserDisable { user_id: self.alice },
        };
        tx.audit(&Record { at: NOW, actor: Actor::Operator, client_address: None, event }).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// One disable among requests; says how many certificates there were. `number` moves the point at which it comes.
    async fn run(&mut self, by: &Store, number: usize) -> usize {
        self.set_status(by, UserStatus::Active).await;
        let caller = self.team.session("alice").await;
        let answered = Semaphore::new(0);
        let requests = futures_join(REQUESTS, || async {
            let reply = connect(&self.team, &caller).await;
            answered.add_permits(1);
            reply
        });
        let disable = async {
            answered.acquire_many(u32::try_from(number % REQUESTS).unwrap()).await.unwrap().forget();
            self.set_status(by, UserStatus::Disabled).await;
        };
        let (replies, (), bobs) = tokio::join!(requests, disable, connect(&self.team, &self.bob));
        bobs.ok();
        for reply in replies.iter().filter(|reply| !reply.status.is_success()) {
            // Which of the two it is depends on who saw the disable first.
            let text = &reply.text;
            assert!(text.contains("user_disabled") || text.contains("login_required"), "{text}");
        }
        connect(&self.team, &caller).await.error("login_required");
        self.look_through().await
    }

    /// Reads what is new in the log.
    async fn look_through(&mut self) -> usize {
        let mut issued = 0;
        loop {
            let mut reader = self.team.store().read().await.unwrap();
            let rows = audit::page(&mut reader, self.seen, 1000).await.unwrap();
            let Some(last) = rows.last() else { return issued };
            self.seen = last.position;
            for row in rows {
                let row: serde_json::Value = serde_json::from_slice(&row.bytes).unwrap();
                let user = |id: &serde_json::Value| id.as_str().unwrap().parse::<UserId>().unwrap();
                match row["event"]["type"].as_str().unwrap() {
                    "user.disable" => assert!(self.disabled.insert(user(&row["event"]["user_id"]))),
                    "user.enable" => drop(self.disabled.remove(&user(&row["event"]["user_id"]))),
                    "connection.issue" => {
                        issued += 1;
                        let user = user(&row["actor"]["user_id"]);
                        assert!(!self.disabled.contains(&user), "a certificate after the disable of {user}");
                    }
                    _ => {}
                }
            }
        }
    }
}

/// So many at once, on this task.
async fn futures_join<F: Future<Output = Reply>>(count: usize, make: impl Fn() -> F) -> Vec<Reply> {
    let mut waiting: Vec<_> = (0..count).map(|_| Box::pin(make())).collect();
    let mut replies = Vec::new();
    std::future::poll_fn(|context| {
        waiting.retain_mut(|request| match request.as_mut().poll(context) {
            std::task::Poll::Ready(reply) => {
                replies.push(reply);
                false
            }
            std::task::Poll::Pending => true,
        });
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    replies
}

/// Every run has bob's certificate at least.
async fn runs_by(race: &mut Race, by: &Store) {
    let mut issued = 0;
    for number in 0..runs() {
        issued += race.run(by, number).await;
    }
    assert!(issued > runs(), "alice never got a certificate: nothing was raced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_certificate_after_a_disable_by_this_broker() {
    let mut race = Race::new().await;
    let own = race.team.store().clone();
    runs_by(&mut race, &own).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_certificate_after_a_disable_by_another_broker() {
    let mut race = Race::new().await;
    let other = race.other.clone();
    runs_by(&mut race, &other).await;
}

/// The import moves the epoch with every group that it makes; bob, who has nothing to do with it, is served all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_certificate_after_a_disable_during_an_import() {
    let mut race = Race::new().await;
    let own = race.team.store().clone();
    let (stop, stopped) = watch::channel(false);
    let importing = tokio::spawn(import(own.clone(), stopped));
    runs_by(&mut race, &own).await;
    stop.send(true).unwrap();
    assert!(importing.await.unwrap() > 0, "nothing was imported");
}

async fn import(store: Store, stopped: watch::Receiver<bool>) -> u32 {
    for number in 0_u32.. {
        if *stopped.borrow() {
            return number;
        }
        let mut bytes = [9; 10];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let name = format!("imported-{number}").parse().unwrap();
        let mut tx = store.begin().await.unwrap();
        groups::create(&mut tx, &groups::Group { id: GroupId::new(NOW, bytes), name, created_at: NOW })
            .await
            .unwrap();
        tx.bump_epoch().await.unwrap();
        tx.commit().await.unwrap();
        tokio::task::yield_now().await;
    }
    u32::MAX
}

/// Whatever a client does with a request that it is not sure about, it is one connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_retries_of_one_request_make_one_certificate() {
    let race = Arc::new(Race::new().await);
    let jti = race.team.jti();
    let body = json!({"server": "web-1", "purpose": "interactive", "keys": [ssh_key(901)]}).to_string();
    let workers: Vec<_> = (0..20)
        .map(|_| {
            let (race, body) = (Arc::clone(&race), body.clone());
            tokio::spawn(async move {
                let mut answers = BTreeSet::new();
                for _ in 0..50 {
                    let reply = race.team.send(&race.bob, "POST", "/v1/connections", &body, jti).await;
                    reply.ok();
                    answers.insert(reply.text);
                }
                answers
            })
        })
        .collect();
    let mut answers = BTreeSet::new();
    for worker in workers {
        answers.append(&mut worker.await.unwrap());
    }
    assert_eq!(answers.len(), 1);
    assert_eq!(race.team.events("connection.issue").await.len(), 1);
}

/// Once the rules are known, nobody waits for the database's readers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_known_is_decided_without_the_database() {
    let race = Race::new().await;
    let store = race.team.store();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        connect(&race.team, &race.bob).await.ok();
        // SQLite has four readers; whoever wants a fifth waits.
        let mut taken = Vec::new();
        for _ in 0..4 {
            taken.push(store.read().await.unwrap());
        }
        let asking = connect(&race.team, &race.bob);
        if let Ok(reply) = tokio::time::timeout(std::time::Duration::from_secs(3), asking).await {
            reply.ok();
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "the rules are never taken from memory");
    }
}
