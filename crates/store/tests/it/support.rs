//! A database of one test's own, and the rows that most tests begin with.

use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::Row as _;
use tempfile::TempDir;
use usher_audit::{Actor, Event, Record};
use usher_identity::{DeviceRecord, DeviceState, SessionRecord, UserRecord, UserStatus};
use usher_store::{
    AdminSudo, CertificateType, Conn, PortForwarding, Store, WriteTx, devices, groups, projects, sessions,
    users,
};
use usher_types::{DeviceId, GroupId, ProjectId, SessionId, Sha256, TeamRole, TokenId, UnixTime, UserId};

pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_790_000_000);

/// Ten bytes that no other call gets.
pub(crate) fn unique() -> [u8; 10] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    bytes
}

/// Whether this build of the tests runs on PostgreSQL: `tests/postgres` is the same modules once more.
pub(crate) const POSTGRES: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"postgres");

/// Lets PostgreSQL read what is written for SQLite: positions that may be changed, bytes that are cast to text and back.
const TAMPERING: &str = "ALTER TABLE audit ALTER COLUMN position DROP IDENTITY IF EXISTS;
    DROP DOMAIN IF EXISTS blob; CREATE DOMAIN blob AS bytea; SET bytea_output = 'escape';
    CREATE OR REPLACE FUNCTION zeroblob(length INTEGER) RETURNS bytea LANGUAGE sql
        AS $$ SELECT decode(repeat('00', length), 'hex') $$";

/// A database of one test's own.
pub(crate) struct Db {
    _directory: TempDir,
    address: String,
    pub(crate) store: Store,
}

impl Db {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = new_address(&directory);
        Self::of(directory, address).await
    }

    /// A database on a cluster of the test's own.
    pub(crate) async fn at(address: String) -> Self {
        Self::of(tempfile::tempdir().unwrap(), address).await
    }

    async fn of(directory: TempDir, address: String) -> Self {
        let store = open(&address).await;
        Self { _directory: directory, address, store }
    }

    /// What [`open`] opens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Another process on the same database.
    pub(crate) async fn another(&self) -> Store {
        open(&self.address).await
    }

    /// As after a restart: another process start, another writer of the audit chain.
    pub(crate) async fn reopen(&mut self) {
        self.store.close().await;
        self.store = self.another().await;
    }

    /// Changes rows around the store, as somebody with a database shell does; says how many.
    pub(crate) async fn tamper(&self, sql: &'static str) -> u64 {
        use sqlx::{ConnectOptions as _, Executor as _};
        if POSTGRES {
            let options: sqlx::postgres::PgConnectOptions = self.address.parse().unwrap();
            let mut conn = options.connect().await.unwrap();
            conn.execute(TAMPERING).await.unwrap();
            conn.execute(sql).await.unwrap().rows_affected()
        } else {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&self.address);
            options.connect().await.unwrap().execute(sql).await.unwrap().rows_affected()
        }
    }
}

/// A database that does not exist yet (SQLite), or is empty (PostgreSQL).
pub(crate) fn new_address(directory: &TempDir) -> String {
    if POSTGRES {
        let cluster = usher_testkit::postgres::Postgres::shared();
        cluster.url(&cluster.create_database())
    } else {
        directory.path().join("usher.db").to_str().unwrap().to_owned()
    }
}

/// Opens a database of either engine.
pub(crate) async fn open(address: &str) -> Store {
    if POSTGRES {
        Store::connect(address.parse().unwrap()).await.unwrap()
    } else {
        Store::open(address.as_ref()).await.unwrap()
    }
}

/// The number that a statement answers, in column `n`.
pub(crate) async fn number(conn: &mut Conn, sql: &'static str) -> i64 {
    if POSTGRES {
        sqlx::query(sql).fetch_one(conn.as_postgres().unwrap()).await.unwrap().get("n")
    } else {
        sqlx::query(sql).fetch_one(conn.as_sqlite().unwrap()).await.unwrap().get("n")
    }
}

/// How often a race is run: `all` of them when asked to (`cargo xtask test --full`).
pub(crate) fn rounds(few: usize, all: usize) -> usize {
    if std::env::var_os("USHER_TEST_FULL").is_some() { all } else { few }
}

pub(crate) fn record(event: Event) -> Record {
    Record { at: NOW, actor: Actor::Operator, client_address: None, event }
}

pub(crate) fn user_record(name: &str) -> UserRecord {
    UserRecord {
        id: UserId::new(NOW, unique()),
        user_name: name.parse().unwrap(),
        display_name: name.parse().unwrap(),
        unix_user_name: name.replace('.', "-").parse().unwrap(),
        status: UserStatus::Active,
        team_role: TeamRole::Member,
        connector_id: None,
        created_at: NOW,
    }
}

pub(crate) async fn user(tx: &mut WriteTx, name: &str) -> UserRecord {
    let user = user_record(name);
    users::create(tx, &user).await.unwrap();
    user
}

pub(crate) async fn admin(tx: &mut WriteTx, name: &str) -> UserRecord {
    let user = UserRecord { team_role: TeamRole::Owner, ..user_record(name) };
    users::create(tx, &user).await.unwrap();
    user
}

pub(crate) async fn group(tx: &mut WriteTx, name: &str) -> groups::Group {
    let group = groups::Group::local(GroupId::new(NOW, unique()), name.parse().unwrap(), NOW);
    groups::create(tx, &group).await.unwrap();
    group
}

pub(crate) async fn project(tx: &mut WriteTx, name: &str) -> projects::Project {
    let project = projects::Project {
        id: ProjectId::new(NOW, unique()),
        slug: name.parse().unwrap(),
        next_unix_uid: 60_001,
        next_unix_gid: 63_001,
        ssh_certificate_type: CertificateType::Ed25519,
        certificate_lifetime_seconds: 180,
        clock_skew_seconds: 60,
        port_forwarding: PortForwarding::Local,
        admin_sudo: AdminSudo::Passwordless,
        authentication: Default::default(),
        created_at: NOW,
    };
    projects::create(tx, &project).await.unwrap();
    project
}

/// A device of `user` with a session on it.
pub(crate) async fn session(tx: &mut WriteTx, user: &UserRecord) -> (DeviceRecord, SessionRecord) {
    let device = DeviceRecord {
        id: DeviceId::new(NOW, unique()),
        user_id: user.id,
        name: "laptop".parse().unwrap(),
        jkt: Sha256::of(&unique()),
        state: DeviceState::Approved,
        created_at: NOW,
    };
    assert!(devices::create(tx, &device, &[4; 65]).await.unwrap());
    let session = SessionRecord {
        id: SessionId::new(NOW, unique()),
        token_id: TokenId::new(NOW, unique()),
        token_hash: Sha256::of(&unique()),
        user_id: user.id,
        device_id: device.id,
        auth_time: NOW,
        amr: vec!["pwd".parse().unwrap(), "otp".parse().unwrap()],
        created_at: NOW,
        expires_at: UnixTime::from_secs(NOW.as_secs() + 3600),
        ended_at: None,
        provider: None,
        client_address: None,
        last_used_at: NOW,
        terms: Default::default(),
    };
    sessions::create(tx, &session).await.unwrap();
    (device, session)
}
