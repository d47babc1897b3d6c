//! A database in a directory of its own, and the rows that most tests begin with.

use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use usher_audit::{Actor, Event, Record};
use usher_identity::{DeviceRecord, DeviceState, SessionRecord, UserRecord, UserStatus};
use usher_store::{
    AdminSudo, CertificateType, PortForwarding, Store, WriteTx, devices, groups, projects, sessions, users,
};
use usher_types::{DeviceId, GroupId, ProjectId, SessionId, Sha256, TokenId, UnixTime, UserId};

pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_790_000_000);

/// Ten bytes that no other call gets.
pub(crate) fn unique() -> [u8; 10] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    bytes
}

pub(crate) struct Db {
    pub(crate) directory: TempDir,
    pub(crate) store: Store,
}

impl Db {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("usher.db")).await.unwrap();
        Self { directory, store }
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("usher.db")
    }

    /// As after a restart: another process start, another writer of the audit chain.
    pub(crate) async fn reopen(&mut self) {
        self.store.close().await;
        self.store = Store::open(&self.path()).await.unwrap();
    }

    /// A way around the store, for tests that play the attacker.
    pub(crate) async fn raw(&self) -> sqlx::SqliteConnection {
        use sqlx::ConnectOptions as _;
        sqlx::sqlite::SqliteConnectOptions::new().filename(self.path()).connect().await.unwrap()
    }
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
        team_admin: false,
        created_at: NOW,
    }
}

pub(crate) async fn user(tx: &mut WriteTx, name: &str) -> UserRecord {
    let user = user_record(name);
    users::create(tx, &user).await.unwrap();
    user
}

pub(crate) async fn admin(tx: &mut WriteTx, name: &str) -> UserRecord {
    let user = UserRecord { team_admin: true, ..user_record(name) };
    users::create(tx, &user).await.unwrap();
    user
}

pub(crate) async fn group(tx: &mut WriteTx, name: &str) -> groups::Group {
    let group =
        groups::Group { id: GroupId::new(NOW, unique()), name: name.parse().unwrap(), created_at: NOW };
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
    };
    sessions::create(tx, &session).await.unwrap();
    (device, session)
}
