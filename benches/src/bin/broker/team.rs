//! A small real team, made through the API: projects, servers, and the users whose connections are measured. Only signing
//! in is left out; devices and sessions are written down beside the broker.

use serde_json::{Value, json};
use usher_ca::CaPublicKey;
use usher_enrollment::PastedToken;
use usher_identity::{AuthenticationMethod, DeviceRecord, DeviceState, PrivateKey, SessionRecord};
use usher_store::{Store, devices, sessions, users};
use usher_types::{DeviceId, SecretToken, SessionId, TokenId, TokenKind, UnixTime};

use crate::{
    process::Running,
    wire::{Caller, Dialer, Wire, now, random},
};

/// How many of each.
const PROJECTS: usize = 10;
const SERVERS: usize = 2;
const USERS: usize = 64;

/// The team, as its clients see it.
pub(crate) struct Team {
    pub(crate) dialer: Dialer,
    wire: Wire,
    nonce: String,
    pub(crate) users: Vec<Caller>,
    /// CA keys of the projects.
    pub(crate) authorities: Vec<CaPublicKey>,
    /// Servers that the users may connect to.
    pub(crate) targets: Vec<String>,
}

impl Team {
    pub(crate) async fn make(running: &Running, custody: &str) -> Self {
        let dialer = Dialer::new(running.address, &running.root);
        let store = Store::open(&running.database()).await.unwrap();
        let admin = session(&store, "admin").await;
        let wire = dialer.dial().await;
        let mut team =
            Self { dialer, wire, nonce: String::new(), users: vec![], authorities: vec![], targets: vec![] };
        team.call(&admin, "POST", "/v1/groups", json!({"name": "load"})).await;
        for project in 0..PROJECTS {
            team.project(&admin, &format!("load-{project}"), custody).await;
        }
        for user in 0..USERS {
            let name = format!("load-{user}");
            team.call(&admin, "POST", "/v1/users", json!({"user_name": name})).await;
            team.call(&admin, "PUT", &format!("/v1/groups/load/members/{name}"), Value::Null).await;
            team.users.push(session(&store, &name).await);
        }
        store.close().await;
        team
    }

    async fn project(&mut self, admin: &Caller, name: &str, custody: &str) {
        self.call(admin, "POST", "/v1/projects", json!({"name": name, "custody": custody})).await;
        let role = json!({"server_access": true, "server_admin": false});
        self.call(admin, "PUT", &format!("/v1/projects/{name}/groups/load"), role).await;
        let body = json!({"project": name, "description": "bench", "max_uses": SERVERS});
        let made = self.call(admin, "POST", "/v1/tokens", body).await;
        let token = PastedToken::parse(made["token"].as_str().unwrap()).unwrap();
        let token = token.token().reveal().to_string();
        for server in 0..SERVERS {
            let agent = Caller { key: PrivateKey::generate(&mut usher_benches::system_rng()), token: None };
            let facts = json!({
                "addresses": [{"ip": "10.0.0.1", "port": 22}],
                "host_keys": [usher_benches::subject().to_openssh()],
                "os": "Debian GNU/Linux 12 (bookworm)",
                "sshd_version": "OpenSSH_9.2p1",
            });
            let name = format!("{name}-{server}");
            let body = json!({"token": token, "name": name, "facts": facts});
            self.call(&agent, "POST", "/v1/enroll", body).await;
        }
        let shown = self.call(admin, "GET", &format!("/v1/projects/{name}"), Value::Null).await;
        let lines = shown["ssh_user_ca"].as_array().unwrap();
        self.authorities.extend(lines.iter().map(|line| CaPublicKey::parse(line.as_str().unwrap()).unwrap()));
    }

    /// After the broker was started again.
    pub(crate) async fn connect(&mut self, running: &Running) {
        self.dialer = Dialer::new(running.address, &running.root);
        self.wire = self.dialer.dial().await;
    }

    /// A nonce that is good now.
    pub(crate) async fn nonce(&mut self) -> &str {
        let request = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", self.dialer.address);
        self.nonce = self.wire.exchange(request.as_bytes()).await.nonce;
        &self.nonce
    }

    async fn call(&mut self, caller: &Caller, method: &str, path: &str, body: Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.nonce().await;
        let request = self.dialer.request(caller, method, path, &body, &self.nonce);
        let answer = self.wire.exchange(&request).await;
        let text = String::from_utf8_lossy(&answer.body);
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {text}", answer.status);
        if answer.body.is_empty() { Value::Null } else { serde_json::from_slice(&answer.body).unwrap() }
    }
}

/// A session of a user on a new, approved device.
async fn session(store: &Store, user_name: &str) -> Caller {
    let now = now();
    let key = PrivateKey::generate(&mut usher_benches::system_rng());
    let token = SecretToken::new(TokenKind::Session, TokenId::new(now, random()), random());
    let mut tx = store.begin().await.unwrap();
    let user = users::by_name(&mut tx, &user_name.parse().unwrap()).await.unwrap().unwrap();
    let device = DeviceRecord {
        id: DeviceId::new(now, random()),
        user_id: user.id,
        name: "laptop".parse().unwrap(),
        jkt: key.public().thumbprint(),
        state: DeviceState::Approved,
        created_at: now,
    };
    assert!(devices::create(&mut tx, &device, &key.public().to_sec1()).await.unwrap());
    let session = SessionRecord {
        id: SessionId::new(now, random()),
        token_id: token.id(),
        token_hash: token.hash(),
        user_id: user.id,
        device_id: device.id,
        auth_time: now,
        amr: vec![AuthenticationMethod::Password, AuthenticationMethod::OneTimePassword],
        created_at: now,
        expires_at: UnixTime::from_secs(now.as_secs() + 12 * 3600),
        ended_at: None,
        provider: None,
        client_address: None,
        last_used_at: now,
        terms: Default::default(),
    };
    sessions::create(&mut tx, &session).await.unwrap();
    tx.commit().await.unwrap();
    Caller { key, token: Some(token) }
}
