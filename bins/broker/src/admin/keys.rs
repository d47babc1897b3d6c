//! Keys: which there are, who knows them, and the two verbs of a rotation. `rotate` puts a new key beside the others and
//! changes nothing for anybody who does not know it; `retire` ends the others, when nobody lacks the newest. Each is one
//! transaction, so there is no state in between that an interruption could leave.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use usher_api::{
    ErrorCode,
    v1::{Key, KeyCustody, KeyKind, KeyState, Page, RetireKeys, RotateKey},
};
use usher_audit::{Code, Event};
use usher_keystore::Custody;
use usher_store::{
    Conn, KeyPurpose,
    keys::{self, StoredKey},
    projects::Project,
    servers::{self, Server, Trusts},
};
use usher_types::{HostName, ServerId, Sha256, UnixTime};

use super::{Change, begin, projects};
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Path},
    keys::{
        active, fingerprint,
        make::{self, Made},
        signing_for, ssh_public_key,
    },
};

/// Every server is told of all active keys of a kind, so that there cannot be any number of them.
const MAX_ACTIVE: usize = 8;

/// As many servers are named in a refusal.
const NAMED: usize = 50;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/projects/{project}/keys", get(project_keys).post(rotate_project))
        .route("/v1/projects/{project}/keys/retire", post(retire_project))
        .route("/v1/team/keys", get(team_keys).post(rotate_team))
        .route("/v1/team/keys/retire", post(retire_team))
}

/// Whose keys: of the team, or of one project.
#[derive(Clone, Copy)]
enum Owner<'a> {
    Project(&'a Project),
    Team,
}

impl Owner<'_> {
    fn purposes(self) -> &'static [KeyPurpose] {
        match self {
            Self::Project(_) => &[KeyPurpose::SshUserCa, KeyPurpose::X509Ca],
            Self::Team => &[KeyPurpose::State, KeyPurpose::TlsRoot, KeyPurpose::Audit],
        }
    }

    fn purpose(self, kind: KeyKind) -> Result<KeyPurpose, ApiError> {
        let purpose = match kind {
            KeyKind::Audit => KeyPurpose::Audit,
            KeyKind::SshUserCa => KeyPurpose::SshUserCa,
            KeyKind::State => KeyPurpose::State,
            KeyKind::TlsRoot => KeyPurpose::TlsRoot,
            KeyKind::X509Ca => KeyPurpose::X509Ca,
        };
        if self.purposes().contains(&purpose) {
            return Ok(purpose);
        }
        let own: Vec<_> = self.purposes().iter().map(|purpose| purpose.as_str()).collect();
        Err(ApiError::invalid(format!("kind: use one of {}", own.join(", "))))
    }

    /// The keys of a purpose, newest first, retired ones too.
    async fn keys(self, conn: &mut Conn, purpose: KeyPurpose) -> Result<Vec<StoredKey>, ApiError> {
        Ok(match self {
            Self::Project(project) => keys::of_project(conn, purpose, project.id).await?,
            Self::Team => keys::of_team(conn, purpose).await?,
        })
    }

    /// The servers that are told of the keys.
    async fn servers(self, conn: &mut Conn) -> Result<Vec<Server>, ApiError> {
        let mut servers = servers::list(conn).await?;
        if let Self::Project(project) = self {
            servers.retain(|server| server.project_id == project.id);
        }
        Ok(servers)
    }
}

/// What a server says it trusts of a purpose; none where servers do not need to know the key.
fn trusted(app: &AppState, purpose: KeyPurpose) -> Option<fn(&Trusts) -> &BTreeSet<Sha256>> {
    match purpose {
        KeyPurpose::Audit => None,
        KeyPurpose::SshUserCa => Some(|trusts| &trusts.ssh_user_ca),
        KeyPurpose::State => Some(|trusts| &trusts.state_keys),
        KeyPurpose::TlsRoot => app.config().is_pinned().then_some(|trusts| &trusts.pins),
        KeyPurpose::X509Ca => Some(|trusts| &trusts.x509_ca),
    }
}

/// Whether a server says that it trusts the key with this fingerprint.
fn knows(server: &Server, of: fn(&Trusts) -> &BTreeSet<Sha256>, key: Sha256) -> bool {
    server.trusts.as_ref().is_some_and(|trusts| of(trusts).contains(&key))
}

async fn project_keys(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Admin { body: (), .. }: Admin,
) -> Result<Answer<Page<Key>>, ApiError> {
    let mut reader = app.store().read().await?;
    let project = projects::find(&mut reader, &name).await?;
    Ok(Answer::ok(shown(&app, &mut reader, Owner::Project(&project)).await?))
}

async fn team_keys(
    State(app): State<AppState>,
    Admin { body: (), .. }: Admin,
) -> Result<Answer<Page<Key>>, ApiError> {
    let mut reader = app.store().read().await?;
    Ok(Answer::ok(shown(&app, &mut reader, Owner::Team).await?))
}

async fn rotate_project(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Admin { admin: caller, info, body }: Admin<RotateKey>,
) -> Result<Answer<Page<Key>>, ApiError> {
    let project = projects::find(&mut *app.store().read().await?, &name).await?;
    let owner = Owner::Project(&project);
    let made = new_key(&app, owner, &body, info.now).await?;
    let stored = async { put(&app, begin(&app, &caller, info).await?, owner, &made).await };
    make::kept(&app, &[Made::of(&made)], stored.await).await
}

async fn rotate_team(
    State(app): State<AppState>,
    Admin { admin: caller, info, body }: Admin<RotateKey>,
) -> Result<Answer<Page<Key>>, ApiError> {
    let made = new_key(&app, Owner::Team, &body, info.now).await?;
    let stored = async { put(&app, begin(&app, &caller, info).await?, Owner::Team, &made).await };
    make::kept(&app, &[Made::of(&made)], stored.await).await
}

/// Made before the transaction: a key in outside custody takes a while.
async fn new_key(
    app: &AppState,
    owner: Owner<'_>,
    wanted: &RotateKey,
    now: UnixTime,
) -> Result<StoredKey, ApiError> {
    let purpose = owner.purpose(wanted.kind)?;
    let mut reader = app.store().read().await?;
    let before = owner.keys(&mut reader, purpose).await?;
    drop(reader);
    let custody = match (wanted.custody, before.first()) {
        (Some(KeyCustody::AwsKms), _) => Custody::AwsKms,
        (Some(KeyCustody::AwsKmsWrapped), _) => Custody::AwsKmsWrapped,
        (Some(KeyCustody::Software), _) => Custody::Software,
        (None, Some(newest)) => crate::keys::custody(newest.custody),
        (None, None) => Custody::default(),
    };
    let number = before.len().saturating_add(1);
    match owner {
        Owner::Project(project) => make::of_project(app, project, purpose, number, custody, now).await,
        Owner::Team => make::of_team(app, purpose, number, custody, now).await,
    }
}

async fn put(
    app: &AppState,
    mut change: Change,
    owner: Owner<'_>,
    made: &StoredKey,
) -> Result<Answer<Page<Key>>, ApiError> {
    let before = owner.keys(&mut change.tx, made.purpose).await?;
    if before.iter().any(|key| key.id == made.id) {
        return Err(ApiError::new(ErrorCode::Unavailable, "somebody else rotates the same key right now")
            .with_next("look at the keys, and rotate again if it is still wanted"));
    }
    if active(before).len() >= MAX_ACTIVE {
        return Err(ApiError::new(
            ErrorCode::InUse,
            format!("{MAX_ACTIVE} {} keys are active", made.purpose),
        )
        .with_next("retire those that are not needed any more first"));
    }
    let key = fingerprint(made)?;
    keys::insert(&mut change.tx, made).await?;
    change
        .audit(Event::KeyCreate {
            purpose: Code::new(&made.purpose.as_str().replace('-', "_")),
            project_id: made.project_id,
            key,
            custody: Code::new(&made.custody.as_str().replace('-', "_")),
        })
        .await?;
    if made.purpose == KeyPurpose::Audit {
        // In the chain before the first checkpoint that it signs.
        change.audit(Event::CheckpointKeyAnnounce { key }).await?;
    }
    finish(app, change, owner).await
}

async fn retire_project(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Admin { admin: caller, info, body }: Admin<RetireKeys>,
) -> Result<Answer<Page<Key>>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let project = projects::find(&mut change.tx, &name).await?;
    retire(&app, change, Owner::Project(&project), &body).await
}

async fn retire_team(
    State(app): State<AppState>,
    Admin { admin: caller, info, body }: Admin<RetireKeys>,
) -> Result<Answer<Page<Key>>, ApiError> {
    retire(&app, begin(&app, &caller, info).await?, Owner::Team, &body).await
}

async fn retire(
    app: &AppState,
    mut change: Change,
    owner: Owner<'_>,
    wanted: &RetireKeys,
) -> Result<Answer<Page<Key>>, ApiError> {
    let purpose = owner.purpose(wanted.kind)?;
    let mut standing = active(owner.keys(&mut change.tx, purpose).await?).into_iter();
    let newest = standing.next().ok_or_else(|| ApiError::internal("no active key"))?;
    let others: Vec<StoredKey> = standing.collect();
    if others.is_empty() {
        return Err(ApiError::new(ErrorCode::InUse, format!("the only {purpose} key cannot be retired"))
            .with_next("rotate it first"));
    }
    let left_behind = left_behind(app, &mut change.tx, owner, &newest, &wanted.leave_behind).await?;
    let now = change.info.now;
    for key in &others {
        keys::retire(&mut change.tx, &key.id, now).await?;
        change
            .audit(Event::KeyRetire {
                purpose: Code::new(&purpose.as_str().replace('-', "_")),
                project_id: key.project_id,
                key: fingerprint(key)?,
                left_behind: left_behind.clone(),
            })
            .await?;
    }
    finish(app, change, owner).await
}

/// The servers that lack the newest key, when each of them was named.
async fn left_behind(
    app: &AppState,
    conn: &mut Conn,
    owner: Owner<'_>,
    newest: &StoredKey,
    named: &[String],
) -> Result<Vec<ServerId>, ApiError> {
    let Some(of) = trusted(app, newest.purpose) else { return Ok(Vec::new()) };
    let key = fingerprint(newest)?;
    let mut lacking: BTreeMap<ServerId, HostName> = BTreeMap::new();
    for server in owner.servers(conn).await? {
        if !knows(&server, of, key) {
            lacking.insert(server.id, server.name);
        }
    }
    let mut left = Vec::new();
    for name in named {
        let server = servers::find(conn, name).await?.ok_or_else(|| ApiError::not_found("server", name))?;
        if lacking.remove(&server.id).is_some() {
            left.push(server.id);
        }
    }
    if lacking.is_empty() {
        return Ok(left);
    }
    let more = lacking.len().saturating_sub(NAMED);
    let mut reasons: Vec<String> = lacking
        .values()
        .take(NAMED)
        .map(|name| format!("server {name} does not trust the newest {} key yet", newest.purpose))
        .collect();
    if more > 0 {
        reasons.push(format!("nor do {more} others"));
    }
    Err(ApiError::new(ErrorCode::InUse, format!("{} servers would be cut off", lacking.len()))
        .with_reasons(reasons)
        .with_next("wait until their agents are up and have reported, or name each with `--leave-behind`"))
}

/// Commits, and takes over what changed before anybody is answered.
async fn finish(app: &AppState, mut change: Change, owner: Owner<'_>) -> Result<Answer<Page<Key>>, ApiError> {
    let shown = shown(app, &mut change.tx, owner).await?;
    change.commit().await?;
    app.reload_keys().await.map_err(ApiError::internal)?;
    Ok(Answer::ok(shown))
}

/// The keys of an owner, by purpose, newest first.
async fn shown(app: &AppState, conn: &mut Conn, owner: Owner<'_>) -> Result<Page<Key>, ApiError> {
    let servers = owner.servers(conn).await?;
    let mut items = Vec::new();
    for purpose in owner.purposes() {
        let stored = owner.keys(conn, *purpose).await?;
        let shown = Shown::new(app, *purpose, &servers, &stored)?;
        for key in &stored {
            items.push(shown.key(key)?);
        }
    }
    Ok(Page { items })
}

/// What the keys of one purpose are shown with.
struct Shown<'a> {
    servers: &'a [Server],
    of: Option<fn(&Trusts) -> &BTreeSet<Sha256>>,
    /// For how many servers each active key signs; none where one key signs for all.
    signs_for: Option<BTreeMap<Sha256, u32>>,
}

impl<'a> Shown<'a> {
    fn new(
        app: &AppState,
        purpose: KeyPurpose,
        servers: &'a [Server],
        stored: &[StoredKey],
    ) -> Result<Self, ApiError> {
        let of = trusted(app, purpose);
        let signs_for = match (of, purpose) {
            (Some(of), KeyPurpose::SshUserCa | KeyPurpose::X509Ca) => {
                let active: Vec<Sha256> =
                    active(stored.to_vec()).iter().map(fingerprint).collect::<Result<_, _>>()?;
                let mut counts: BTreeMap<Sha256, u32> = active.iter().map(|key| (*key, 0)).collect();
                for server in servers {
                    let signing = signing_for(&active, server.trusts.as_ref().map(of), |key| *key);
                    if let Some(count) = signing.and_then(|key| counts.get_mut(key)) {
                        *count = count.saturating_add(1);
                    }
                }
                Some(counts)
            }
            _ => None,
        };
        Ok(Self { servers, of, signs_for })
    }

    fn key(&self, key: &StoredKey) -> Result<Key, ApiError> {
        let name = fingerprint(key)?;
        let is_active = key.state == usher_store::KeyState::Active;
        let lacking: Option<Vec<HostName>> = self.of.map(|of| {
            let lacking = self.servers.iter().filter(|server| !knows(server, of, name));
            lacking.map(|server| server.name.clone()).collect()
        });
        let known = |lacking: &Vec<HostName>| {
            u32::try_from(self.servers.len().saturating_sub(lacking.len())).unwrap_or(u32::MAX)
        };
        Ok(Key {
            id: key.id.clone(),
            kind: match key.purpose {
                KeyPurpose::Audit => KeyKind::Audit,
                KeyPurpose::SshUserCa => KeyKind::SshUserCa,
                KeyPurpose::State => KeyKind::State,
                KeyPurpose::TlsRoot => KeyKind::TlsRoot,
                KeyPurpose::X509Ca => KeyKind::X509Ca,
            },
            custody: match key.custody {
                usher_store::KeyCustody::AwsKms => KeyCustody::AwsKms,
                usher_store::KeyCustody::AwsKmsWrapped => KeyCustody::AwsKmsWrapped,
                usher_store::KeyCustody::Software => KeyCustody::Software,
            },
            algorithm: key.algorithm.to_string(),
            state: if is_active { KeyState::Active } else { KeyState::Retired },
            fingerprint: name,
            public: public(key)?,
            created_at: key.created_at,
            retired_at: key.retired_at,
            signs_for: self.signs_for.as_ref().filter(|_| is_active).and_then(|all| all.get(&name).copied()),
            acknowledged: lacking.as_ref().map(known),
            lacking: lacking.filter(|_| is_active).unwrap_or_default(),
        })
    }
}

fn public(key: &StoredKey) -> Result<Option<String>, ApiError> {
    if key.purpose == KeyPurpose::SshUserCa {
        return Ok(Some(ssh_public_key(key)?.to_openssh()));
    }
    Ok(key.certificate.as_deref().map(crate::tls::to_pem))
}
