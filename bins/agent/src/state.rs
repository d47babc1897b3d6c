//! What the agent knows across restarts: its enrollment, the last signed state and how far generations have come.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use usher_account_lifecycle::{
    Desired,
    state::{DocumentId, Known, ServerDocument, Signed, StateFault, StateKey, Verified, verify},
};
use usher_api::v1::{SignedDocument, StateResponse};
use usher_types::{HostName, ProjectSlug, ServerId, Sha256, TeamSlug, UnixTime};

use crate::{files, places};

/// What this server joined. Written by root, readable by the network process; holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Enrollment {
    /// The broker.
    pub(crate) url: String,
    /// SHA-256 of its root's SPKI.
    pub(crate) pin: Option<Sha256>,
    /// Who this server is.
    pub(crate) server_id: ServerId,
    /// What it is called.
    pub(crate) name: HostName,
    /// Its project.
    pub(crate) project: ProjectSlug,
    /// Its team.
    pub(crate) team: TeamSlug,
    /// Keys that sign its state.
    pub(crate) state_keys: Vec<StateKey>,
    /// When it joined.
    pub(crate) enrolled_at: UnixTime,
}

impl Enrollment {
    /// Reads the file, `None` before enrollment.
    ///
    /// # Errors
    /// When it is damaged.
    pub(crate) fn read() -> Result<Option<Self>> {
        files::read_json(Path::new(places::ENROLLMENT))
    }

    /// Reads the file of a server that must have joined.
    ///
    /// # Errors
    /// When it has not, or the file is damaged.
    pub(crate) fn require() -> Result<Self> {
        Self::read()?.context("this server has not joined a project: run `usher-agent enroll --token-file FILE`")
    }
}

/// The last state that was accepted, kept as it was signed.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    /// Keys that were announced in signed state; empty while those of the enrollment hold.
    #[serde(default)]
    state_keys: Vec<StateKey>,
    state: StateResponse,
}

/// Accepted documents, and what they say the host should look like.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// What to compare the next project document with.
    pub(crate) project: Known,
    /// What to compare the next server document with.
    pub(crate) server: Known,
    /// The host as it should be.
    pub(crate) desired: Desired,
}

/// The keeper of signed state. Only ever moves forward.
#[derive(Debug)]
pub(crate) struct StateKeeper {
    server_id: ServerId,
    keys: Vec<StateKey>,
    project_id: Option<DocumentId>,
    accepted: Option<Accepted>,
}

impl StateKeeper {
    /// Starts from the enrollment and the state that was stored last. A damaged state file is an error, not a fresh
    /// start: starting afresh would let an old state back in.
    ///
    /// # Errors
    /// When the stored state cannot be read or does not verify.
    pub(crate) fn open(enrollment: &Enrollment) -> Result<Self> {
        let mut keeper = Self {
            server_id: enrollment.server_id,
            keys: enrollment.state_keys.clone(),
            project_id: None,
            accepted: None,
        };
        if let Some(stored) = files::read_json::<Stored>(Path::new(places::STATE))? {
            if !stored.state_keys.is_empty() {
                keeper.keys.extend(stored.state_keys);
            }
            keeper.check(&stored.state).with_context(|| format!("{} does not verify", places::STATE))?;
        }
        Ok(keeper)
    }

    /// What was accepted last.
    pub(crate) fn accepted(&self) -> Option<&Accepted> {
        self.accepted.as_ref()
    }

    /// Verifies what came, stores it, and only then takes it on.
    ///
    /// # Errors
    /// When it is not to be obeyed; the state stays what it was.
    pub(crate) fn accept(&mut self, state: StateResponse) -> Result<()> {
        self.check(&state)?;
        let stored = Stored { state_keys: self.keys.clone(), state };
        files::replace_json(Path::new(places::STATE), &stored, 0o600)
    }

    fn check(&mut self, state: &StateResponse) -> Result<()> {
        let (project_known, server_known) =
            self.accepted.as_ref().map_or_else(Default::default, |now| (now.project, now.server));
        let project = self.verified(&state.project, self.project_subject(&state.project)?, project_known)?;
        let server = self.verified(&state.server, DocumentId::Server(self.server_id), server_known)?;
        let (document, refused) = project.project()?;
        let own: ServerDocument = server.server()?;
        let desired = Desired::new(&document, &refused, &own);
        // Keys that the document no longer names lose their word with the next document, not with this one.
        if !document.state_keys.is_empty() {
            self.keys.clone_from(&document.state_keys);
        }
        self.project_id = Some(project.head().document);
        self.accepted = Some(Accepted { project: project.known(), server: server.known(), desired });
        Ok(())
    }

    /// The first document names the project; from then on it is the same one.
    fn project_subject(&self, signed: &SignedDocument) -> Result<DocumentId> {
        if let Some(known) = self.project_id {
            return Ok(known);
        }
        #[derive(Deserialize)]
        struct Subject {
            document: DocumentId,
        }
        let Subject { document } = serde_json::from_str(&signed.head).context("the head cannot be read")?;
        match document {
            DocumentId::Project(_) => Ok(document),
            DocumentId::Server(_) => bail!("the project document is about a server"),
        }
    }

    fn verified(&self, signed: &SignedDocument, subject: DocumentId, known: Known) -> Result<Verified> {
        let signature = BASE64URL_NOPAD
            .decode(signed.signature.as_bytes())
            .map_err(|_error| StateFault::Signature)?;
        let signed =
            Signed { head: signed.head.as_bytes(), signature: &signature, document: signed.document.as_bytes() };
        Ok(verify(signed, &self.keys, subject, known)?)
    }
}
