//! A whole broker without sockets (in `tests/postgres` two, taking turns): a team in a directory of its own, its router,
//! and people, devices and agents that prove themselves as real ones do. Administration goes through the API; signing in
//! is left out (other tests sign in).

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use rand_core::Rng as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use usher_broker::{
    AppState, CONFIG_NAME, Clock, Config, DATABASE_NAME, DatabaseConfig, DatabaseTls, KmsConfig, SealConfig,
    init::{InitOptions, init},
    router,
};
use usher_enrollment::PastedToken;
use usher_identity::{
    AuthenticationMethod, DeviceRecord, DeviceState, PrivateKey, SessionRecord,
    dpop::{Jti, ProofRequest, make},
};
use usher_keystore::Custody;
use usher_store::{ConnectorState, JoinRule, Store, audit, connectors, devices, passkeys, sessions, users};
use usher_testkit::{NOW, rng};
use usher_types::{ConnectorId, DeviceId, PasskeyId, SecretToken, SessionId, TokenId, TokenKind, UnixTime};

pub(crate) const ORIGIN: &str = "https://broker.example:8443";
pub(crate) const PEER: &str = "192.0.2.7";
/// Whether this build of the tests runs on PostgreSQL.
pub(crate) const POSTGRES: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"postgres");

/// No broker in particular: they take turns.
const ALL: usize = usize::MAX;

/// An empty database of one test's own.
pub(crate) fn database() -> DatabaseConfig {
    let cluster = usher_testkit::postgres::Postgres::shared();
    DatabaseConfig {
        url: cluster.url(&cluster.create_database()).parse().unwrap(),
        password_file: None,
        tls: DatabaseTls::VerifyFull,
        root_certificate_file: None,
    }
}

/// The database of a broker, as another process opens it.
pub(crate) async fn store_of(config: &Config) -> Store {
    match &config.database {
        Some(database) => Store::connect(database.url.as_str().parse().unwrap()).await.unwrap(),
        None => Store::open(&config.data_dir.join(DATABASE_NAME)).await.unwrap(),
    }
}

pub(crate) struct Team {
    pub(crate) app: AppState,
    pub(crate) clock: Clock,
    pub(crate) brokers: Vec<(AppState, Router)>,
    asked: AtomicUsize,
    only: AtomicUsize,
    pub(crate) nonce: Mutex<String>,
    peer: Mutex<IpAddr>,
    seed: AtomicU64,
    _directory: tempfile::TempDir,
}

/// A key, and the session that goes with it if it is a person's device.
pub(crate) struct Caller {
    pub(crate) key: PrivateKey,
    pub(crate) token: Option<SecretToken>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl Reply {
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        if self.text.is_empty() { Value::Null } else { serde_json::from_str(&self.text).unwrap() }
    }

    /// The body of an error answer with this code.
    #[track_caller]
    pub(crate) fn error(&self, code: &str) -> Value {
        assert!(!self.status.is_success(), "{self:?}");
        let body: Value = serde_json::from_str(&self.text).unwrap();
        assert_eq!(body["error"]["code"], code, "{self:?}");
        body["error"].clone()
    }
}

impl Team {
    pub(crate) async fn new() -> Self {
        Self::in_custody(Custody::Software, None).await
    }

    /// A team whose own keys are in this custody.
    pub(crate) async fn in_custody(custody: Custody, kms: Option<KmsConfig>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("data");
        let options = InitOptions {
            team: "acme".parse().unwrap(),
            data_dir: data_dir.clone(),
            public_url: ORIGIN.parse().unwrap(),
            listen: None,
            admin: "admin".parse().unwrap(),
            admin_unix_name: None,
            database: POSTGRES.then(database),
            custody,
            kms,
            seal: SealConfig::default(),
        };
        init(&options, NOW).await.unwrap();
        let mut config = Config::load(&data_dir.join(CONFIG_NAME)).unwrap();
        let many = NonZeroU32::new(1_000_000).unwrap();
        config.limits.connections_burst = many;
        config.limits.enrollments_burst = many;
        let clock = Clock::fixed(NOW);
        let mut brokers = Vec::new();
        for _ in 0..if POSTGRES { 2 } else { 1 } {
            let app = AppState::open(config.clone(), clock.clone()).await.unwrap();
            brokers.push((app.clone(), router(app)));
        }
        Self {
            app: brokers[0].0.clone(),
            brokers,
            asked: AtomicUsize::new(0),
            only: AtomicUsize::new(ALL),
            clock,
            nonce: Mutex::default(),
            peer: Mutex::new(PEER.parse().unwrap()),
            seed: AtomicU64::new(1),
            _directory: directory,
        }
    }

    pub(crate) fn store(&self) -> &Store {
        self.app.store()
    }

    /// Time passes.
    pub(crate) fn later(&self, seconds: u64) {
        self.clock.set(self.clock.now().saturating_add(std::time::Duration::from_secs(seconds)));
    }

    /// From here on callers come from there.
    pub(crate) fn come_from(&self, address: &str) {
        *self.peer.lock().unwrap() = address.parse().unwrap();
    }

    /// From here on this broker is asked and no other one.
    pub(crate) fn only(&self, broker: usize) {
        self.only.store(broker, Ordering::Relaxed);
    }

    /// From here on brokers are asked in turn.
    pub(crate) fn any(&self) {
        self.only.store(ALL, Ordering::Relaxed);
    }

    /// As if every broker had heard of the last change already. Decisions need no such thing; what agents are sent does.
    pub(crate) async fn told(&self) {
        for (app, _router) in &self.brokers {
            app.store().poll_epoch().await.unwrap();
        }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn jti(&self) -> Jti {
        let mut bytes = [0; 16];
        rng(self.seed()).fill_bytes(&mut bytes);
        Jti::new(bytes)
    }

    /// A key that nobody knows yet.
    pub(crate) fn stranger(&self) -> Caller {
        Caller { key: PrivateKey::generate(&mut rng(self.seed())), token: None }
    }

    /// A session of a user on a new, approved device.
    pub(crate) async fn session(&self, user_name: &str) -> Caller {
        self.session_on(user_name, DeviceState::Approved).await
    }

    /// A session of a user on a new device in this state.
    pub(crate) async fn session_on(&self, user_name: &str, state: DeviceState) -> Caller {
        let key = PrivateKey::generate(&mut rng(self.seed()));
        let mut random = rng(self.seed());
        let mut bytes = [0; 10];
        random.fill_bytes(&mut bytes);
        let mut secret = [0; 32];
        random.fill_bytes(&mut secret);
        let token = SecretToken::new(TokenKind::Session, TokenId::new(NOW, bytes), secret);
        let mut tx = self.store().begin().await.unwrap();
        let user = users::by_name(&mut tx, &user_name.parse().unwrap()).await.unwrap().unwrap();
        let device = DeviceRecord {
            id: DeviceId::new(NOW, bytes),
            user_id: user.id,
            name: "laptop".parse().unwrap(),
            jkt: key.public().thumbprint(),
            state,
            created_at: NOW,
        };
        assert!(devices::create(&mut tx, &device, &key.public().to_sec1()).await.unwrap());
        let session = SessionRecord {
            id: SessionId::new(NOW, bytes),
            token_id: token.id(),
            token_hash: token.hash(),
            user_id: user.id,
            device_id: device.id,
            auth_time: NOW,
            amr: vec![AuthenticationMethod::Password, AuthenticationMethod::OneTimePassword],
            created_at: NOW,
            expires_at: UnixTime::from_secs(NOW.as_secs() + 12 * 3600),
            ended_at: None,
            provider: None,
            client_address: Some(PEER.parse().unwrap()),
            last_used_at: NOW,
            terms: Default::default(),
        };
        sessions::create(&mut tx, &session).await.unwrap();
        tx.commit().await.unwrap();
        Caller { key, token: Some(token) }
    }

    /// A user in groups, with a session.
    pub(crate) async fn person(&self, admin: &Caller, name: &str, groups: &[&str]) -> Caller {
        self.post(admin, "/v1/users", json!({"user_name": name})).await.ok();
        for group in groups {
            self.put(admin, &format!("/v1/groups/{group}/members/{name}"), Value::Null).await.ok();
        }
        self.session(name).await
    }

    /// A project with a group of the same name whose members may log in.
    pub(crate) async fn project(&self, admin: &Caller, name: &str) {
        self.project_with(admin, name, json!({})).await;
    }

    /// The same; `more` are further fields of the request.
    pub(crate) async fn project_with(&self, admin: &Caller, name: &str, more: Value) {
        let mut body = json!({"name": name});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post(admin, "/v1/projects", body).await.ok();
        self.post(admin, "/v1/groups", json!({"name": name})).await.ok();
        let role = json!({"server_access": true, "server_admin": false});
        self.put(admin, &format!("/v1/projects/{name}/groups/{name}"), role).await.ok();
    }

    /// The secret of a new token; `more` are further fields of the request.
    pub(crate) async fn token(&self, admin: &Caller, project: &str, more: Value) -> String {
        let mut body = json!({"project": project, "description": "test", "max_uses": 100});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.post(admin, "/v1/tokens", body).await.ok();
        let pasted = PastedToken::parse(made["token"].as_str().unwrap()).unwrap();
        pasted.token().reveal().to_string()
    }

    /// Enrolls a host at 10.0.0.`last`.
    pub(crate) async fn enroll(&self, token: &str, name: &str, last: u8) -> Agent {
        let caller = self.stranger();
        let reply = self.post(&caller, "/v1/enroll", enroll_body(token, name, last)).await;
        let made = reply.ok();
        Agent {
            caller,
            id: made["server_id"].as_str().unwrap().to_owned(),
            name: made["name"].as_str().unwrap().to_owned(),
            last,
            state_keys: made["state_keys"]
                .as_array()
                .unwrap()
                .iter()
                .map(|key| key.as_str().unwrap().to_owned())
                .collect(),
        }
    }

    pub(crate) async fn report(&self, agent: &Agent) -> Reply {
        self.post(&agent.caller, "/v1/agent/report", report_body(agent.last)).await
    }

    pub(crate) async fn get(&self, caller: &Caller, path: &str) -> Reply {
        self.send(caller, "GET", path, "", self.jti()).await
    }

    pub(crate) async fn post(&self, caller: &Caller, path: &str, body: Value) -> Reply {
        self.send(caller, "POST", path, &body.to_string(), self.jti()).await
    }

    pub(crate) async fn put(&self, caller: &Caller, path: &str, body: Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(caller, "PUT", path, &body, self.jti()).await
    }

    /// One request with its proof; a second time when the broker wants another nonce.
    pub(crate) async fn send(
        &self,
        caller: &Caller,
        method: &str,
        path: &str,
        body: &str,
        jti: Jti,
    ) -> Reply {
        let (reply, nonce) = self.once(caller, method, path, body, jti).await;
        *self.nonce.lock().unwrap() = nonce;
        if !reply.text.contains("use_dpop_nonce") {
            return reply;
        }
        self.once(caller, method, path, body, jti).await.0
    }

    pub(crate) async fn once(
        &self,
        caller: &Caller,
        method: &str,
        path: &str,
        body: &str,
        jti: Jti,
    ) -> (Reply, String) {
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        let proof_request = ProofRequest {
            method,
            htu: &format!("{ORIGIN}{bare}"),
            query,
            body: body.as_bytes(),
            token: caller.token.as_ref(),
        };
        let nonce = self.nonce.lock().unwrap().clone();
        let now = self.clock.now();
        let proof = make(&caller.key, &proof_request, jti, Some(&nonce), now);
        let mut request = Request::builder().method(method).uri(path).header("dpop", proof);
        if let Some(token) = &caller.token {
            request = request.header("authorization", format!("DPoP {}", *token.reveal()));
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        let peer = SocketAddr::new(*self.peer.lock().unwrap(), 40_000);
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = self.router().oneshot(request).await.unwrap();
        let status = response.status();
        let nonce = response.headers()["dpop-nonce"].to_str().unwrap().to_owned();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        (Reply { status, text: String::from_utf8(text.to_vec()).unwrap() }, nonce)
    }

    /// Gives a user a passkey, as it is stored; its id.
    pub(crate) async fn passkey(&self, user_name: &str) -> PasskeyId {
        let mut tx = self.store().begin().await.unwrap();
        let user = users::find(&mut tx, user_name).await.unwrap().unwrap();
        let mut bytes = [0; 10];
        rng(self.seed()).fill_bytes(&mut bytes);
        let passkey = passkeys::Passkey {
            id: PasskeyId::new(NOW, bytes),
            user_id: user.id,
            credential_id: format!("key of {user_name}"),
            credential: "{}".to_owned(),
            sign_count: 0,
            name: "Laptop".parse().unwrap(),
            created_at: NOW,
            last_used_at: None,
            owner: user.status,
            of_provider: false,
        };
        assert!(passkeys::add(&mut tx, &passkey).await.unwrap());
        tx.commit().await.unwrap();
        passkey.id
    }

    /// A connector that only provisions, and a token for it.
    pub(crate) async fn connector(&self, admin: &Caller, name: &str) -> Provider<'_> {
        let mut bytes = [0; 10];
        rng(self.seed()).fill_bytes(&mut bytes);
        let connector = connectors::Connector {
            id: ConnectorId::new(NOW, bytes),
            name: name.parse().unwrap(),
            oidc: None,
            settings: connectors::ConnectorSettings::default(),
            join_rule: JoinRule::Scim,
            state: ConnectorState::Active,
            created_at: NOW,
        };
        let mut tx = self.store().begin().await.unwrap();
        connectors::create(&mut tx, &connector).await.unwrap();
        tx.commit().await.unwrap();
        self.provider(admin, name, json!({})).await
    }

    /// Another token for a connector; `more` are further fields of the request.
    pub(crate) async fn provider(&self, admin: &Caller, connector: &str, more: Value) -> Provider<'_> {
        let mut body = json!({"connector": connector, "description": "idp"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.post(admin, "/v1/scim-tokens", body).await.ok();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Provider {
            team: self,
            token: text(&made["token"]),
            token_id: text(&made["scim_token"]["id"]),
            address: PEER,
        }
    }

    /// The broker whose turn it is.
    fn router(&self) -> Router {
        let asked = match self.only.load(Ordering::Relaxed) {
            ALL => self.asked.fetch_add(1, Ordering::Relaxed),
            one => one,
        };
        self.brokers[asked % self.brokers.len()].1.clone()
    }

    /// The whole audit log, oldest first.
    pub(crate) async fn audit(&self) -> Vec<Value> {
        let mut reader = self.store().read().await.unwrap();
        let rows = audit::page(&mut reader, 0, 100_000).await.unwrap();
        rows.iter().map(|row| serde_json::from_slice(&row.bytes).unwrap()).collect()
    }

    /// The audit log's events of one type.
    pub(crate) async fn events(&self, kind: &str) -> Vec<Value> {
        let rows = self.audit().await.into_iter().map(|row| row["event"].clone());
        rows.filter(|event| event["type"] == kind).collect()
    }
}

/// An identity provider.
pub(crate) struct Provider<'a> {
    team: &'a Team,
    pub(crate) token: String,
    pub(crate) token_id: String,
    pub(crate) address: &'static str,
}

/// What a provider got.
#[derive(Debug)]
pub(crate) struct Provided {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
}

impl Provided {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.body
    }

    /// An error in the form of SCIM.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
        assert_eq!(self.body["status"], status.to_string());
        assert_eq!(self.body["scimType"].as_str().unwrap_or_default(), kind, "{self:?}");
        self.body
    }
}

impl Provider<'_> {
    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> Provided {
        self.conditional(method, path, body, &[]).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.send("GET", path, Value::Null).await.expect(200)
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.send("POST", path, body).await.expect(201)
    }

    pub(crate) async fn patch(&self, path: &str, operations: Value) -> Provided {
        let urn = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
        self.send("PATCH", path, json!({"schemas": [urn], "Operations": operations})).await
    }

    pub(crate) async fn conditional(
        &self,
        method: &str,
        path: &str,
        body: Value,
        headers: &[(&str, &str)],
    ) -> Provided {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/scim/v2{path}"))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/scim+json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body)).unwrap();
        let peer = SocketAddr::new(self.address.parse::<IpAddr>().unwrap(), 40_000);
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = self.team.router().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        Provided { status, headers, body }
    }
}

/// An enrolled host.
pub(crate) struct Agent {
    pub(crate) caller: Caller,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) last: u8,
    pub(crate) state_keys: Vec<String>,
}

/// An Ed25519 public key in OpenSSH form that nobody has the private half of.
pub(crate) fn ssh_key(seed: u64) -> String {
    let mut point = [0; 32];
    rng(seed).fill_bytes(&mut point);
    usher_ca::SubjectKey::from_bytes(point).unwrap().to_openssh()
}

pub(crate) fn facts(last: u8) -> Value {
    json!({
        "addresses": [{"ip": format!("10.0.0.{last}"), "port": 22}],
        "host_keys": [ssh_key(u64::from(last))],
        "os": "Debian GNU/Linux 12 (bookworm)",
        "sshd_version": "OpenSSH_9.2p1",
    })
}

pub(crate) fn enroll_body(token: &str, name: &str, last: u8) -> Value {
    json!({"token": token, "name": name, "facts": facts(last)})
}

pub(crate) fn report_body(last: u8) -> Value {
    json!({
        "facts": facts(last),
        "applied_generation": 1,
        "applied_server_generation": 1,
        "conflicts": [],
        "taken_ids": [],
        "clock": NOW,
    })
}
