//! A team that needs no broker: a CA, a background process inside the test, and real sshds on loopback ports.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use ssh_key::{Algorithm, certificate};
use tempfile::TempDir;
use usher::{
    clock,
    exit::{Exit, Failure},
    ssh_agent::{
        control::{Answer, Call, ControlClient, Request, SignIn, Status},
        server::{Agent, Sockets},
        teams::{Broker, Teams},
    },
    workload::Credential,
};
use usher_api::v1::{
    Address, Connection, ConnectionRequest, Device, DeviceState, Leg, Page, Route, Server, SessionInfo,
    TokenExchange, TokenRequest, TokenResponse, User, UserStatus,
};
use usher_testkit::sshd;
use usher_types::{
    ConnectionId, DeviceId, ServerId, SessionId, Sha256, TeamRole, TeamSlug, UnixTime, UserId,
};

pub(crate) const USHER: &str = env!("CARGO_BIN_EXE_usher");

pub(crate) fn rng() -> rand_core::UnwrapErr<getrandom::SysRng> {
    rand_core::UnwrapErr(getrandom::SysRng)
}

/// The account that tests log in to: the one that runs them.
pub(crate) fn account() -> String {
    let output = Command::new("/usr/bin/id").arg("-un").output().expect("/usr/bin/id runs");
    String::from_utf8(output.stdout).expect("a user name is text").trim().to_owned()
}

pub(crate) fn server_id(number: u8) -> ServerId {
    ServerId::new(UnixTime::from_secs(1_800_000_000), [number; 10])
}

/// Signs certificates as a project's CA would.
pub(crate) struct Ca(ssh_key::PrivateKey);

impl Ca {
    pub(crate) fn new() -> Self {
        Self(ssh_key::PrivateKey::random(&mut rng(), Algorithm::Ed25519).unwrap())
    }

    pub(crate) fn public(&self) -> String {
        self.0.public_key().to_openssh().unwrap()
    }

    pub(crate) fn certificate(&self, key: &str, principal: &str, lifetime: i64) -> String {
        let key = ssh_key::PublicKey::from_openssh(key).unwrap();
        let now = clock::now().as_secs();
        let time = |seconds: i64| u64::try_from(seconds).unwrap();
        let mut builder = certificate::Builder::new_with_random_nonce(
            &mut rng(),
            key.key_data().clone(),
            time(now - 60),
            time(now + lifetime),
        )
        .unwrap();
        builder.serial(1).unwrap().key_id("tests").unwrap().valid_principal(principal).unwrap();
        builder.extension("permit-pty", "").unwrap().extension("permit-port-forwarding", "").unwrap();
        builder.sign(&self.0).unwrap().to_openssh().unwrap()
    }
}

/// A stock sshd in the foreground of this test.
pub(crate) struct Sshd {
    pub(crate) id: ServerId,
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) host_keys: Vec<String>,
    server: sshd::Sshd,
    /// Goes after the server.
    _directory: TempDir,
}

impl Sshd {
    /// Host keys of the given types; principals as lines of an `AuthorizedPrincipalsFile`.
    pub(crate) fn start(
        ca: &Ca,
        number: u8,
        key_types: &[(&str, &str)],
        principals: &str,
        extra: &str,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("ca.pub"), ca.public()).unwrap();
        fs::write(path("principals"), format!("{principals}\n")).unwrap();
        let mut config = format!(
            "TrustedUserCAKeys {}\nAuthorizedPrincipalsFile {}\n{extra}\n",
            path("ca.pub").display(),
            path("principals").display()
        );
        let mut host_keys = Vec::new();
        for (kind, bits) in key_types {
            let file = path(&format!("host_{kind}_{bits}"));
            let mut keygen = Command::new("/usr/bin/ssh-keygen");
            keygen.args(["-q", "-N", "", "-t", kind, "-f"]).arg(&file);
            if !bits.is_empty() {
                keygen.args(["-b", bits]);
            }
            assert!(keygen.status().unwrap().success(), "ssh-keygen makes a {kind} key");
            config.push_str(&format!("HostKey {}\n", file.display()));
            let public = fs::read_to_string(file.with_extension("pub")).unwrap();
            host_keys.push(public.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
        }
        let server = sshd::Sshd::start(directory.path(), &config);
        let (id, name) = (server_id(number), format!("server-{number}"));
        Self { id, name, port: server.port, host_keys, server, _directory: directory }
    }

    /// One with an Ed25519 key, which lets `name`'s principal in.
    pub(crate) fn simple(ca: &Ca, number: u8) -> Self {
        Self::start(ca, number, &[("ed25519", "")], &principal(number), "")
    }

    pub(crate) fn log(&self) -> String {
        self.server.log()
    }

    pub(crate) fn leg(&self, ca: &Ca, keys: &[String], key: usize, principal: &str) -> Leg {
        Leg {
            server_id: self.id,
            name: self.name.clone(),
            account: account(),
            addresses: vec![Address { ip: Ipv4Addr::LOCALHOST.into(), port: self.port }],
            host_keys: self.host_keys.clone(),
            key,
            certificate: ca.certificate(&keys[key], principal, 180),
        }
    }
}

pub(crate) fn principal(number: u8) -> String {
    format!("alice@{}", server_id(number))
}

pub(crate) fn usher_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Waits until `condition` gives something.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = clock::monotonic() + Duration::from_secs(120);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(clock::monotonic() < end, "{what} did not happen in two minutes");
        clock::pause(Duration::from_millis(5));
    }
}

type Connector = dyn Fn(&ConnectionRequest) -> Result<Vec<Route>, Failure> + Send + Sync;

/// A broker with canned answers.
pub(crate) struct FakeBroker {
    connect: Box<Connector>,
    pub(crate) connections: Mutex<Vec<ConnectionRequest>>,
    pub(crate) calls: Mutex<Vec<Call>>,
    pub(crate) exchanges: Mutex<Vec<TokenExchange>>,
    pub(crate) refuses_exchange: AtomicBool,
}

#[async_trait]
impl Broker for FakeBroker {
    async fn sign_in(&self, request: TokenRequest) -> Result<TokenResponse, Failure> {
        if request.code != "good" {
            return Err(Failure::new(Exit::LoginNeeded, "the code is wrong"));
        }
        let now = clock::now();
        let user = User {
            id: UserId::new(now, [1; 10]),
            user_name: "alice".parse().unwrap(),
            display_name: "Alice".parse().unwrap(),
            unix_user_name: "alice".parse().unwrap(),
            status: UserStatus::Active,
            team_role: TeamRole::Member,
            team_roles: Vec::new(),
            groups: Vec::new(),
            created_at: now,
        };
        let device = Device {
            id: DeviceId::new(now, [2; 10]),
            user_name: "alice".parse().unwrap(),
            name: request.device_name,
            state: DeviceState::Approved,
            created_at: now,
        };
        let session = SessionInfo {
            id: SessionId::new(now, [3; 10]),
            auth_time: now,
            amr: vec!["pwd".to_owned()],
            expires_at: now.saturating_add(Duration::from_secs(3600)),
        };
        Ok(TokenResponse { session_token: String::new(), session, device, user })
    }

    async fn exchange(&self, request: &TokenExchange) -> Result<TokenResponse, Failure> {
        self.exchanges.lock().unwrap().push(request.clone());
        let code = if self.refuses_exchange.load(Ordering::Relaxed) { "bad" } else { "good" };
        self.sign_in(TokenRequest {
            code: code.to_owned(),
            code_verifier: String::new(),
            redirect_uri: String::new(),
            device_name: request.device_name.clone(),
        })
        .await
    }

    async fn call(&self, call: &Call) -> Result<serde_json::Value, Failure> {
        self.calls.lock().unwrap().push(call.clone());
        match call.path.as_str() {
            "/v1/servers" => Ok(serde_json::json!({ "items": [] })),
            _ => Err(Failure::new(Exit::NotFound, "no such thing")),
        }
    }

    async fn connect(&self, request: &ConnectionRequest) -> Result<Connection, Failure> {
        self.connections.lock().unwrap().push(request.clone());
        let routes = (self.connect)(request)?;
        let target = routes[0].legs.last().unwrap();
        Ok(Connection {
            id: ConnectionId::new(clock::now(), [4; 10]),
            server_id: target.server_id,
            server_name: target.name.clone(),
            login: "alice".parse().unwrap(),
            valid_before: clock::now().saturating_add(Duration::from_secs(180)),
            routes,
            client_certificate: None,
        })
    }

    async fn learn_pins(&self) -> Result<Vec<Sha256>, Failure> {
        Ok(Vec::new())
    }

    async fn end_session(&self) -> Result<(), Failure> {
        Ok(())
    }
}

struct FakeTeams(Arc<FakeBroker>);

impl Teams for FakeTeams {
    fn open(&self, _team: &TeamSlug) -> Result<Arc<dyn Broker>, Failure> {
        Ok(Arc::<FakeBroker>::clone(&self.0))
    }

    fn open_with_new_key(&self, team: &TeamSlug) -> Result<Arc<dyn Broker>, Failure> {
        self.open(team)
    }

    fn keep_names(&self, _team: &TeamSlug, _servers: &Page<Server>) -> Result<(), Failure> {
        Ok(())
    }

    fn keep_pins(&self, _team: &TeamSlug, _pins: &[Sha256]) -> Result<(), Failure> {
        Ok(())
    }
}

/// A client's home with a configured team, and a background process that serves it from inside the test.
pub(crate) struct Client {
    pub(crate) home: TempDir,
    pub(crate) broker: Arc<FakeBroker>,
    runtime_directory: PathBuf,
    // Ends the serving thread.
    _runtime: tokio::runtime::Runtime,
}

impl Client {
    /// Signed in; connections are answered by `connect`.
    pub(crate) fn new(
        connect: impl Fn(&ConnectionRequest) -> Result<Vec<Route>, Failure> + Send + Sync + 'static,
    ) -> Self {
        let client = Self::signed_out(connect);
        client.sign_in();
        client
    }

    pub(crate) fn signed_out(
        connect: impl Fn(&ConnectionRequest) -> Result<Vec<Route>, Failure> + Send + Sync + 'static,
    ) -> Self {
        Self::serving("usher", connect)
    }

    /// One whose background process is that of a program with this credential.
    pub(crate) fn program(
        credential: &Credential,
        connect: impl Fn(&ConnectionRequest) -> Result<Vec<Route>, Failure> + Send + Sync + 'static,
    ) -> Self {
        Self::serving(&format!("usher-{}", credential.fingerprint()), connect)
    }

    fn serving(
        name: &str,
        connect: impl Fn(&ConnectionRequest) -> Result<Vec<Route>, Failure> + Send + Sync + 'static,
    ) -> Self {
        let home = home();
        let runtime_directory = home.path().join("run").join(name);
        fs::write(
            home.path().join("config/usher/config.toml"),
            "current_team = \"acme\"\n[teams.acme]\nurl = \"https://127.0.0.1:1\"\ndevice_key = \"device.key\"\n\
             login = \"alice\"\n",
        )
        .unwrap();
        let broker = Arc::new(FakeBroker {
            connect: Box::new(connect),
            connections: Mutex::default(),
            calls: Mutex::default(),
            exchanges: Mutex::default(),
            refuses_exchange: AtomicBool::default(),
        });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let agent = Agent::new(Arc::new(FakeTeams(Arc::clone(&broker))));
        let guard = runtime.enter();
        let sockets = Sockets::bind(&runtime_directory).unwrap();
        drop(guard);
        runtime.spawn(agent.serve(sockets));
        Self { home, broker, runtime_directory, _runtime: runtime }
    }

    pub(crate) fn sign_in(&self) {
        let sign_in = SignIn {
            code: "good".to_owned(),
            code_verifier: "v".to_owned(),
            redirect_uri: "http://127.0.0.1:1/".to_owned(),
            device_name: "laptop".parse().unwrap(),
        };
        let request = Request::SignIn { team: "acme".parse().unwrap(), sign_in };
        assert!(matches!(self.control().ask(&request), Ok(Answer::SignedIn(_))));
    }

    pub(crate) fn runtime_directory(&self) -> PathBuf {
        self.runtime_directory.clone()
    }

    pub(crate) fn control(&self) -> ControlClient {
        ControlClient::connect(&self.runtime_directory().join("control.sock")).unwrap().unwrap()
    }

    pub(crate) fn status(&self) -> Status {
        match self.control().ask(&Request::Status).unwrap() {
            Answer::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn usher(&self) -> Command {
        self.command(USHER)
    }

    /// A program with this client's environment and nothing else.
    pub(crate) fn command(&self, program: &str) -> Command {
        in_home(self.home.path(), program)
    }

    /// `usher ssh` as the account that sshd lets in; the broker is still asked for `alice`.
    pub(crate) fn ssh(&self, host: &str, command: &[&str]) -> Command {
        let setting = usher::ssh::Setting::new(Path::new(USHER), &self.runtime_directory()).unwrap();
        let mut ssh = self.command("/usr/bin/ssh");
        ssh.args(["-F", "none"]);
        for (name, value) in setting.options() {
            ssh.arg("-o").arg(format!("{name}={value}"));
        }
        let proxy = setting.proxy_command().replace("'%r'", "alice");
        ssh.arg("-o").arg(format!("ProxyCommand={proxy}")).args(["-l", &account(), "--", host]).args(command);
        ssh.stdin(Stdio::null());
        ssh
    }
}

/// An empty home with the usual directories.
pub(crate) fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    for directory in ["config/usher", "data", "cache", "run"] {
        fs::create_dir_all(home.path().join(directory)).unwrap();
    }
    home
}

pub(crate) fn in_home(home: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin")
        .env("XDG_CONFIG_HOME", home.join("config"))
        .env("XDG_DATA_HOME", home.join("data"))
        .env("XDG_CACHE_HOME", home.join("cache"))
        .env("XDG_RUNTIME_DIR", home.join("run"))
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::null());
    command
}

pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Servers by name, for connectors.
pub(crate) fn by_name(servers: &[Arc<Sshd>]) -> BTreeMap<String, Arc<Sshd>> {
    servers.iter().map(|sshd| (sshd.name.clone(), Arc::clone(sshd))).collect()
}
