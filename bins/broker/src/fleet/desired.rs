//! Keeps every project's signed desired state at hand: rebuilt once per project and epoch however many agents wait, a
//! new generation only when the content is another.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use data_encoding::BASE64URL_NOPAD;
use serde_json::value::RawValue;
use usher_account_lifecycle::state::{DocumentId, Head, sign_input};
use usher_api::v1::SignedDocument;
use usher_keystore::SigningKey;
use usher_store::{
    Epoch,
    desired::{self, Snapshot, StoredDocument, StoredHead},
    project_users::{self, AllocateUserError, Scope},
};
use usher_types::{ProjectId, ServerId, Sha256, UnixTime};

use super::documents::{self, TeamKeys};
use crate::{AppState, error::ApiError, keys};

/// Another broker may store a generation first; then everything is read again.
const ATTEMPTS: usize = 5;

/// A document in its current generation.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) generation: u64,
    sha256: Sha256,
    /// JSON of [`SignedDocument`], laid out once for every agent that gets it.
    pub(super) json: Box<RawValue>,
}

/// The documents of a project and its servers, all of one epoch.
#[derive(Debug)]
pub(super) struct Documents {
    epoch: Epoch,
    pub(super) project: Arc<Current>,
    pub(super) servers: BTreeMap<ServerId, Arc<Current>>,
}

/// One rebuild at a time; who waits for it finds its result.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Documents>>>>;

/// The cache of a broker.
#[derive(Debug, Default)]
pub(super) struct Desired {
    projects: Mutex<BTreeMap<ProjectId, Slot>>,
}

impl Desired {
    fn slot(&self, project: ProjectId) -> Slot {
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(projects.entry(project).or_default())
    }

    /// The project's documents, at least as new as the newest epoch that this broker knows of. `None` when there is
    /// no such project.
    pub(super) async fn current(
        &self,
        app: &AppState,
        project: ProjectId,
        now: UnixTime,
    ) -> Result<Option<Arc<Documents>>, ApiError> {
        let slot = self.slot(project);
        let mut held = slot.lock().await;
        let newest = *app.store().subscribe().borrow();
        if let Some(documents) = held.as_ref().filter(|documents| documents.epoch >= newest) {
            return Ok(Some(Arc::clone(documents)));
        }
        for _ in 0..ATTEMPTS {
            let known = held.as_deref();
            match rebuild(app, project, known, now).await? {
                Rebuilt::Done(documents) => {
                    let documents = Arc::new(documents);
                    *held = Some(Arc::clone(&documents));
                    return Ok(Some(documents));
                }
                Rebuilt::Gone => {
                    *held = None;
                    return Ok(None);
                }
                Rebuilt::Overtaken => {}
            }
        }
        Err(ApiError::internal("desired state: another broker was faster every time"))
    }
}

/// Whoever gives access allocates the account in the same transaction; this is for rows that somebody else wrote. A
/// name that cannot be had must not hold up everybody's desired state: that user stays without an account.
async fn complete_accounts(app: &AppState, project: ProjectId, now: UnixTime) -> Result<(), ApiError> {
    let mut reader = app.store().read().await?;
    if !desired::lacks_accounts(&mut reader, project).await? {
        return Ok(());
    }
    drop(reader);
    let mut tx = app.store().begin().await?;
    match project_users::allocate(&mut tx, Scope::Project(project), now).await {
        Ok(_made) => Ok(tx.commit().await?),
        Err(AllocateUserError::Store(error)) => Err(error.into()),
        Err(error @ (AllocateUserError::Exhausted { .. } | AllocateUserError::Taken { .. })) => {
            tracing::warn!(%project, %error, "a user with access has no account");
            Ok(())
        }
    }
}

enum Rebuilt {
    Done(Documents),
    Gone,
    Overtaken,
}

/// A document as it should be, with what is known of it already.
struct Wanted<'a> {
    id: DocumentId,
    body: String,
    stored: Option<&'a StoredHead>,
    known: Option<&'a Arc<Current>>,
}

async fn rebuild(
    app: &AppState,
    project: ProjectId,
    known: Option<&Documents>,
    now: UnixTime,
) -> Result<Rebuilt, ApiError> {
    complete_accounts(app, project, now).await?;
    let mut reader = app.store().read().await?;
    let epoch = reader.epoch().await?;
    let Some(snapshot) = desired::snapshot(&mut reader, project).await? else { return Ok(Rebuilt::Gone) };
    let state_keys = keys::state_keys(&mut reader).await?;
    let team = TeamKeys {
        ssh_user_ca: keys::ssh_user_ca_lines(&mut reader, project).await?,
        x509_ca: keys::x509_ca_certificates(&mut reader, project).await?,
        state_keys: state_keys.public.clone(),
        pins: keys::pins(app, &mut reader).await?,
    };
    drop(reader);
    let signer =
        Signer { key: keys::open(app, &state_keys.signing).await?, id: state_keys.signing.id.clone() };

    let mut fresh = Vec::new();
    let mut made = Vec::new();
    for wanted in wanted(&snapshot, team, known)? {
        let current = match wanted.unchanged(&state_keys.ids) {
            Some(generation) => held_or_stored(app, &wanted, generation).await?,
            None => {
                let document = signer.sign(&wanted, now).await?;
                let current = current(&document)?;
                fresh.push(document);
                // Signing for a large fleet takes a while; others want the thread too.
                tokio::task::yield_now().await;
                Some(Arc::new(current))
            }
        };
        let Some(current) = current else { return Ok(Rebuilt::Overtaken) };
        made.push((wanted.id, current));
    }
    if !store(app, &fresh).await? {
        return Ok(Rebuilt::Overtaken);
    }
    Ok(collect(epoch, made))
}

fn collect(epoch: Epoch, made: Vec<(DocumentId, Arc<Current>)>) -> Rebuilt {
    let mut project = None;
    let mut servers = BTreeMap::new();
    for (id, current) in made {
        match id {
            DocumentId::Project(_) => project = Some(current),
            DocumentId::Server(server) => {
                servers.insert(server, current);
            }
        }
    }
    match project {
        Some(project) => Rebuilt::Done(Documents { epoch, project, servers }),
        None => Rebuilt::Gone,
    }
}

fn wanted<'a>(
    snapshot: &'a Snapshot,
    team: TeamKeys,
    known: Option<&'a Documents>,
) -> Result<Vec<Wanted<'a>>, ApiError> {
    let mut all = Vec::with_capacity(snapshot.servers.len().saturating_add(1));
    let id = DocumentId::Project(snapshot.project.id);
    all.push(Wanted {
        id,
        body: documents::of_project(&snapshot.project, team).map_err(ApiError::internal)?,
        stored: snapshot.stored.get(&id.to_string()),
        known: known.map(|known| &known.project),
    });
    for server in &snapshot.servers {
        let id = DocumentId::Server(server.id);
        all.push(Wanted {
            id,
            body: documents::of_server(server, &snapshot.reached).map_err(ApiError::internal)?,
            stored: snapshot.stored.get(&id.to_string()),
            known: known.and_then(|known| known.servers.get(&server.id)),
        });
    }
    Ok(all)
}

impl Wanted<'_> {
    /// The stored generation, when it says the same and a key that still holds signed it.
    fn unchanged(&self, state_key_ids: &[String]) -> Option<u64> {
        let stored = self.stored?;
        let same =
            stored.sha256 == Sha256::of(self.body.as_bytes()) && state_key_ids.contains(&stored.key_id);
        same.then_some(stored.generation)
    }
}

/// From memory when it is there, else from the database; `None` when it has just been replaced there.
async fn held_or_stored(
    app: &AppState,
    wanted: &Wanted<'_>,
    generation: u64,
) -> Result<Option<Arc<Current>>, ApiError> {
    if let Some(known) = wanted.known
        && known.generation == generation
        && wanted.stored.is_some_and(|stored| stored.sha256 == known.sha256)
    {
        return Ok(Some(Arc::clone(known)));
    }
    let mut reader = app.store().read().await?;
    match desired::document(&mut reader, &wanted.id.to_string()).await? {
        Some(document) if document.generation == generation => Ok(Some(Arc::new(current(&document)?))),
        Some(_) | None => Ok(None),
    }
}

struct Signer {
    key: Arc<SigningKey>,
    id: String,
}

impl Signer {
    async fn sign(&self, wanted: &Wanted<'_>, now: UnixTime) -> Result<StoredDocument, ApiError> {
        let generation = wanted.stored.map_or(0, |stored| stored.generation).saturating_add(1);
        let head = Head::new(wanted.id, generation, &wanted.body, now);
        let text = head.encode().map_err(ApiError::internal)?;
        let signature = self.key.sign_message(&sign_input(text.as_bytes())).await?;
        Ok(StoredDocument {
            document: wanted.id.to_string(),
            generation,
            sha256: head.sha256,
            head: text,
            signature: signature.to_vec(),
            key_id: self.id.clone(),
            body: wanted.body.clone(),
            issued_at: now,
        })
    }
}

async fn store(app: &AppState, fresh: &[StoredDocument]) -> Result<bool, ApiError> {
    if fresh.is_empty() {
        return Ok(true);
    }
    let mut tx = app.store().begin().await?;
    for document in fresh {
        if !desired::put(&mut tx, document).await? {
            return Ok(false);
        }
    }
    tx.commit().await?;
    Ok(true)
}

fn current(document: &StoredDocument) -> Result<Current, ApiError> {
    let signed = SignedDocument {
        head: document.head.clone(),
        signature: BASE64URL_NOPAD.encode(&document.signature),
        document: document.body.clone(),
    };
    Ok(Current {
        generation: document.generation,
        sha256: document.sha256,
        json: serde_json::value::to_raw_value(&signed).map_err(ApiError::internal)?,
    })
}
