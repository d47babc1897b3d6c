//! Guarantee 2 on the whole path: a user is disabled while certificates are being made for it, again and again, by a
//! broker of the team, by another process, and while an import moves the epoch all the time. Afterwards no certificate of
//! that user stands behind the disable in the log. On PostgreSQL two brokers are asked. That nobody decides again can be
//! seen where the items are careless, in the store's own tests (`negative_control`, on both engines); that this log would
//! show it, below.

use std::{
    collections::BTreeSet,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};
use usher_audit::{Actor, Event, Record, SessionPurpose};
use usher_identity::UserStatus;
use usher_store::{
    Store, audit, groups,
    users::{self, UserChange},
};
use usher_testkit::NOW;
use usher_types::{ConnectionId, GroupId, ProjectId, ServerId, UserId};

use crate::team::{Caller, POSTGRES, Reply, Team, ssh_key, store_of};

/// Requests of one run.
const REQUESTS: usize = 4;
/// Changes that an import beside one run makes; an even number, so that nothing stays.
const IMPORTS: usize = 4;

/// Runs of each test: `cargo xtask races --runs N`.
fn runs() -> usize {
    let runs = std::env::var("USHER_TEST_RUNS").ok();
    runs.map_or(25, |runs| runs.parse().expect("USHER_TEST_RUNS is a number"))
}

async fn connect(team: &Team, caller: &Caller) -> Reply {
    let body = json!({"server": "web-1", "purpose": "interactive", "keys": [ssh_key(901)]}).to_string();
    ask(team, caller, "POST", "/v1/connections", &body).await
}

/// Asks again by the same name, as clients do, when a starving machine keeps the broker from its database.
async fn ask(team: &Team, caller: &Caller, method: &str, path: &str, body: &str) -> Reply {
    let (jti, began) = (team.jti(), Instant::now());
    loop {
        let reply = team.send(caller, method, path, body, jti).await;
        if reply.status != StatusCode::SERVICE_UNAVAILABLE || began.elapsed() > Duration::from_secs(120) {
            return reply;
        }
    }
}

/// Who disables.
enum By {
    /// An administrator, at the broker that is next.
    Admin,
    /// Another process on the same database, a broker on PostgreSQL.
    Other(Store),
}

/// What was seen.
#[derive(Debug, Default)]
struct Sum {
    runs: usize,
    /// Certificates for the one who was disabled, before the disable.
    before: usize,
    /// And behind it: never.
    behind: usize,
    refused: usize,
    /// Certificates for the one who stayed.
    others: usize,
    slowest_disable: Duration,
    slowest_of_others: Duration,
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, before, behind, refused, others, slowest_disable, slowest_of_others } = self;
        let engine = if POSTGRES { "PostgreSQL" } else { "SQLite" };
        write!(
            f,
            "{engine}: {runs} runs; {before} certificates before the disable, {refused} requests refused, {behind} \
             certificates behind it; {others} for somebody else meanwhile (slowest {slowest_of_others:.0?}); slowest \
             disable {slowest_disable:.0?}"
        )
    }
}

/// A team with one server, alice who comes and goes, and bob who stays.
struct Race {
    team: Arc<Team>,
    admin: Caller,
    bob: Arc<Caller>,
    alice: UserId,
    other: Store,
    /// Whether there is an import beside each run.
    imports: bool,
    /// How far the log was looked through.
    seen: i64,
    disabled: BTreeSet<UserId>,
    sum: Sum,
}

impl Race {
    async fn new() -> Self {
        let team = Team::new().await;
        let admin = team.session("admin").await;
        team.project(&admin, "shop").await;
        team.person(&admin, "alice", &["shop"]).await;
        let bob = Arc::new(team.person(&admin, "bob", &["shop"]).await);
        team.enroll(&team.token(&admin, "shop", json!({})).await, "web-1", 1).await;
        let other = match team.brokers.get(1) {
            Some((broker, _)) => broker.store().clone(),
            None => store_of(team.app.config()).await,
        };
        let alice = users::find(&mut other.read().await.unwrap(), "alice").await.unwrap().unwrap().id;
        let (seen, disabled, sum) = (0, BTreeSet::new(), Sum::default());
        Self { team: Arc::new(team), admin, bob, alice, other, imports: false, seen, disabled, sum }
    }

    async fn set_status(&self, by: &By, status: UserStatus) {
        let (word, event) = match status {
            UserStatus::Active => ("active", Event::UserEnable { user_id: self.alice }),
            UserStatus::Disabled => ("disabled", Event::UserDisable { user_id: self.alice }),
        };
        let By::Other(store) = by else {
            let body = json!({"status": word}).to_string();
            ask(&self.team, &self.admin, "PATCH", "/v1/users/alice", &body).await.ok();
            return;
        };
        let change = UserChange { status: Some(status), ..UserChange::default() };
        let mut tx = store.begin().await.unwrap();
        let user = users::by_id(&mut tx, self.alice).await.unwrap().unwrap();
        users::update(&mut tx, &user, &change, NOW).await.unwrap();
        // With its audit row, so that the log says what came first.
        tx.audit(&Record { at: NOW, actor: Actor::Operator, client_address: None, event }).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// One disable among requests. `number` moves the point at which it comes.
    async fn run(&mut self, by: &By, number: usize) {
        self.set_status(by, UserStatus::Active).await;
        let caller = Arc::new(self.team.session("alice").await);
        let importing = self.imports.then(|| tokio::spawn(import(self.other.clone())));
        let answered = Arc::new(Semaphore::new(0));
        let mut requests = JoinSet::new();
        for _ in 0..REQUESTS {
            let (team, caller, answered) =
                (Arc::clone(&self.team), Arc::clone(&caller), Arc::clone(&answered));
            requests.spawn(async move {
                let reply = connect(&team, &caller).await;
                answered.add_permits(1);
                reply
            });
        }
        let (team, bob) = (Arc::clone(&self.team), Arc::clone(&self.bob));
        let staying = tokio::spawn(async move {
            let began = Instant::now();
            connect(&team, &bob).await.ok();
            began.elapsed()
        });
        answered.acquire_many(u32::try_from(number % REQUESTS).unwrap()).await.unwrap().forget();
        let began = Instant::now();
        self.set_status(by, UserStatus::Disabled).await;
        self.sum.slowest_disable = self.sum.slowest_disable.max(began.elapsed());
        for reply in requests.join_all().await.iter().filter(|reply| !reply.status.is_success()) {
            // Which of the two it is depends on who saw the disable first.
            let text = &reply.text;
            assert!(text.contains("user_disabled") || text.contains("login_required"), "{text}");
            self.sum.refused += 1;
        }
        self.sum.slowest_of_others = self.sum.slowest_of_others.max(staying.await.unwrap());
        connect(&self.team, &caller).await.error("login_required");
        if let Some(importing) = importing {
            importing.await.unwrap();
        }
        self.look_through().await;
        self.sum.runs += 1;
        assert_eq!(self.sum.behind, 0, "certificates behind the disable: {}", self.sum);
    }

    /// Reads what is new in the log.
    async fn look_through(&mut self) {
        loop {
            let mut reader = self.team.store().read().await.unwrap();
            let rows = audit::page(&mut reader, self.seen, 1000).await.unwrap();
            let Some(last) = rows.last() else { return };
            self.seen = last.position;
            for row in rows {
                let row: Value = serde_json::from_slice(&row.bytes).unwrap();
                let user = |id: &Value| id.as_str().unwrap().parse::<UserId>().unwrap();
                match row["event"]["type"].as_str().unwrap() {
                    "user.disable" => assert!(self.disabled.insert(user(&row["event"]["user_id"]))),
                    "user.enable" => drop(self.disabled.remove(&user(&row["event"]["user_id"]))),
                    "connection.issue" => {
                        let user = user(&row["actor"]["user_id"]);
                        match (user == self.alice, self.disabled.contains(&user)) {
                            (true, true) => self.sum.behind += 1,
                            (true, false) => self.sum.before += 1,
                            (false, _) => self.sum.others += 1,
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    async fn runs(&mut self, by: &By) {
        for number in 0..runs() {
            self.run(by, number).await;
        }
        println!("{}", self.sum);
        assert!(self.sum.before > 0, "alice never got a certificate: nothing was raced");
        assert_eq!(self.sum.others, self.sum.runs, "issuing goes on for everybody else");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_certificate_after_a_disable_by_an_administrator() {
    Race::new().await.runs(&By::Admin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_certificate_after_a_disable_by_another_broker() {
    let mut race = Race::new().await;
    let by = By::Other(race.other.clone());
    // The one broker issues, the other one disables.
    race.team.only(0);
    race.runs(&by).await;
}

/// Each run has an import beside it that moves the epoch again and again; bob, who has nothing to do with it, is served
/// meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_certificate_after_a_disable_during_an_import() {
    let mut race = Race::new().await;
    race.imports = true;
    let before = race.other.poll_epoch().await.unwrap().value();
    race.runs(&By::Admin).await;
    let moved = race.other.poll_epoch().await.unwrap().value() - before;
    assert!(moved >= i64::try_from(IMPORTS * runs()).unwrap(), "the epoch moved {moved} times");
}

/// Groups that come and go, a transaction for some of them.
async fn import(store: Store) {
    let group = |number: u8| {
        let name = format!("imported-{number}").parse().unwrap();
        groups::Group::local(GroupId::new(NOW, [number; 10]), name, NOW)
    };
    for number in 0..IMPORTS {
        let mut tx = store.begin().await.unwrap();
        for group in (1..=5).map(group) {
            if number % 2 == 0 {
                groups::create(&mut tx, &group).await.unwrap();
            } else {
                groups::delete(&mut tx, &group).await.unwrap();
            }
        }
        tx.bump_epoch().await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn negative_control_a_certificate_behind_the_disable_is_counted() {
    let mut race = Race::new().await;
    race.run(&By::Admin, 1).await;
    let (project_id, server_id) = (ProjectId::new(NOW, [1; 10]), ServerId::new(NOW, [2; 10]));
    let event = Event::ConnectionIssue {
        connection_id: ConnectionId::new(NOW, [3; 10]),
        project_id,
        server_id,
        login: "alice".parse().unwrap(),
        server_admin: false,
        purpose: SessionPurpose::Command,
        valid_before: NOW,
        certificates: Vec::new(),
    };
    let actor = Actor::User { user_id: race.alice, device_id: None, session_id: None };
    let mut tx = race.other.begin().await.unwrap();
    tx.audit(&Record { at: NOW, actor, client_address: None, event }).await.unwrap();
    tx.commit().await.unwrap();
    race.look_through().await;
    assert_eq!(race.sum.behind, 1);
}

/// Whatever a client does with a request that it is not sure about, it is one connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_retries_of_one_request_make_one_certificate() {
    let race = Race::new().await;
    let jti = race.team.jti();
    let body = json!({"server": "web-1", "purpose": "interactive", "keys": [ssh_key(901)]}).to_string();
    let workers: Vec<_> = (0..20)
        .map(|_| {
            let (team, bob, body) = (Arc::clone(&race.team), Arc::clone(&race.bob), body.clone());
            tokio::spawn(async move {
                let mut answers = BTreeSet::new();
                for _ in 0..50 {
                    let reply = team.send(&bob, "POST", "/v1/connections", &body, jti).await;
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
