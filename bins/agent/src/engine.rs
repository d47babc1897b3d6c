//! The root helper's mind: believes signed state, holds it, brings the host to it, and says what it did. No sockets.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use usher_account_lifecycle::{
    Conflict, Desired, Limits, Outcome, Step, reconcile, render,
    state::{
        DocumentId, Head, Known, RefusedEntry, ServerDocument, Signed, StateDocument, StateFault, StateKey,
        Verified, verify,
    },
};
use usher_api::v1::{AccountConflict, Address, HostFacts, SignedDocument, Trusts};
use usher_host::{HostError, LinuxHost, facts};
use usher_identity::PublicKey;
use usher_telemetry::Chain;
use usher_types::{ProjectId, Sha256};

use crate::{
    config::{Config, Logging},
    enrollment::Enrollment,
    exit::Failure,
    message::Report,
    places,
};

/// More than the broker takes.
const MAX_CONFLICTS: usize = 256;
const MAX_TAKEN_IDS: usize = 4096;

/// The last state that was verified, as it was received.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    v: u32,
    project: SignedDocument,
    server: SignedDocument,
    /// Keys that these two verify with.
    verified_by: Vec<StateKey>,
}

/// The same, understood.
#[derive(Debug)]
struct Held {
    project_id: ProjectId,
    project: Known,
    server: Known,
    desired: Desired,
    /// Keys that the next state must be signed with.
    keys: Vec<StateKey>,
    pins: Vec<Sha256>,
    /// SHA-256 of each SSH user CA key that sshd is to trust.
    ssh_user_ca: BTreeSet<Sha256>,
    /// SHA-256 of each X.509 CA certificate.
    x509_ca: BTreeSet<Sha256>,
}

/// What the last pass found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pass {
    /// Generation that is in force here; 0 for none.
    pub(crate) applied_generation: u64,
    /// The same of the server's own document.
    pub(crate) applied_server_generation: u64,
    /// What stands in the way.
    pub(crate) conflicts: Vec<Conflict>,
    /// Accounts whose deletion is held back.
    pub(crate) held: Vec<String>,
    /// Steps that failed, and why.
    pub(crate) failed: Vec<FailedStep>,
    /// Ids that something else has.
    pub(crate) taken_ids: Vec<u32>,
    /// How many accounts are managed.
    pub(crate) accounts: usize,
    /// SHA-256 of each SSH user CA key that sshd trusts; unknown until a pass saw them in place.
    #[serde(default)]
    pub(crate) ssh_user_ca: Option<BTreeSet<Sha256>>,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedStep {
    /// What was tried.
    pub(crate) step: String,
    /// Why it failed.
    pub(crate) reason: String,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Engine {
    host: LinuxHost,
    enrollment: Enrollment,
    config: Config,
    limits: Limits,
    held: Option<Held>,
    pass: Pass,
}

fn signed<'a>(document: &'a SignedDocument, signature: &'a [u8]) -> Signed<'a> {
    Signed { head: document.head.as_bytes(), signature, document: document.document.as_bytes() }
}

impl Engine {
    /// Starts with what was verified last, if anything.
    pub(crate) fn new(host: LinuxHost, enrollment: Enrollment, config: Config) -> Self {
        let limits = config.limits();
        let mut engine = Self { host, enrollment, config, limits, held: None, pass: Pass::default() };
        match engine.host.store().read::<Stored>(places::SIGNED_STATE) {
            Ok(None) => {}
            Ok(Some(stored)) => match engine.understand(&stored) {
                Ok(held) => engine.held = Some(held),
                Err(fault) => {
                    tracing::error!(fault, "the stored state is not believed; waiting for the broker");
                }
            },
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the stored state cannot be read; waiting for the broker");
            }
        }
        engine
    }

    /// Generations of what is held: project, server.
    pub(crate) fn generations(&self) -> (u64, u64) {
        self.held.as_ref().map_or((0, 0), |held| (held.project.generation, held.server.generation))
    }

    /// Pins that signed state names.
    pub(crate) fn pins(&self) -> Vec<Sha256> {
        self.held.as_ref().map(|held| held.pins.clone()).unwrap_or_default()
    }

    /// What the last pass found.
    pub(crate) fn pass(&self) -> &Pass {
        &self.pass
    }

    /// How the network process is to log.
    pub(crate) fn logging(&self) -> Logging {
        self.config.logging()
    }

    fn keys(&self) -> Vec<StateKey> {
        let held = self.held.as_ref().map(|held| held.keys.clone());
        held.unwrap_or_else(|| self.enrollment.state_keys.clone())
    }

    /// Verifies state from the broker, keeps it, and brings the host to it.
    pub(crate) fn offer(&mut self, project: SignedDocument, server: SignedDocument) -> Result<(), String> {
        let stored = Stored { v: 1, project, server, verified_by: self.keys() };
        let held = self.understand(&stored)?;
        self.host
            .store()
            .write(places::SIGNED_STATE, &stored)
            .map_err(|error| format!("the state cannot be stored: {}", Chain(&error)))?;
        tracing::info!(
            generation = held.project.generation,
            server_generation = held.server.generation,
            users = held.desired.users.len(),
            "new desired state"
        );
        self.held = Some(held);
        Ok(())
    }

    fn understand(&self, stored: &Stored) -> Result<Held, String> {
        let (project_id, project) = self.verify_project(stored)?;
        let known = self.held.as_ref().map(|held| held.server).unwrap_or_default();
        let server_id = self.enrollment.server_id;
        let server = check(&stored.server, &stored.verified_by, DocumentId::Server(server_id), known)?;
        let (document, refused) = project.project().map_err(|fault| fault.to_string())?;
        if document.project.slug != self.enrollment.project {
            return Err(format!("the state is about project `{}`", document.project.slug));
        }
        let own = server.server().map_err(|fault| fault.to_string())?;
        Ok(self.hold(project_id, (&project, &document, &refused), (&server, &own)))
    }

    /// The first state names its project by id; later ones must be about the same.
    fn verify_project(&self, stored: &Stored) -> Result<(ProjectId, Verified), String> {
        let (project_id, known) = match &self.held {
            Some(held) => (held.project_id, held.project),
            None => (claimed_project(&stored.project)?, Known::default()),
        };
        let subject = DocumentId::Project(project_id);
        Ok((project_id, check(&stored.project, &stored.verified_by, subject, known)?))
    }

    fn hold(
        &self,
        project_id: ProjectId,
        (project, document, refused): (&Verified, &StateDocument, &[RefusedEntry]),
        (server, own): (&Verified, &ServerDocument),
    ) -> Held {
        // Without a key nothing could ever be believed again, not even the correction.
        let keys = if document.state_keys.is_empty() { self.keys() } else { document.state_keys.clone() };
        Held {
            project_id,
            project: project.known(),
            server: server.known(),
            desired: Desired::new(document, refused, own),
            keys,
            pins: document.pins.clone(),
            ssh_user_ca: document.ssh_user_ca.iter().filter_map(|line| render::ca_digest(line)).collect(),
            x509_ca: document.x509_ca.iter().filter_map(|certificate| decoded_digest(certificate)).collect(),
        }
    }

    /// One pass over the host. Without state there is nothing to bring it to.
    pub(crate) fn reconcile(&mut self) {
        let Some(held) = &self.held else { return };
        let generations = (held.project.generation, held.server.generation);
        match reconcile(&mut self.host, &held.desired, &self.limits) {
            Ok(outcome) => {
                let accounts = held.desired.users.len();
                if outcome.user_ca_in_place {
                    self.pass.ssh_user_ca = Some(held.ssh_user_ca.clone());
                }
                self.note(&outcome, generations, accounts);
            }
            Err(error) => {
                let reason = Chain(&error).to_string();
                tracing::error!(reason, "the host cannot be looked at; nothing was changed");
                self.pass.failed = vec![FailedStep { step: "look at the host".to_owned(), reason }];
            }
        }
    }

    fn note(&mut self, outcome: &Outcome<HostError>, generations: (u64, u64), accounts: usize) {
        for (step, error) in &outcome.failed {
            tracing::error!(step = %step, reason = %Chain(error), "a step failed");
        }
        for conflict in
            outcome.plan.conflicts.iter().filter(|conflict| !self.pass.conflicts.contains(conflict))
        {
            tracing::warn!(kind = %conflict.kind, name = conflict.name, reason = conflict.reason, "conflict");
        }
        if outcome.done > 0 {
            tracing::info!(steps = outcome.done, failed = outcome.failed.len(), "host changed");
        }
        if outcome.is_complete() {
            (self.pass.applied_generation, self.pass.applied_server_generation) = generations;
        }
        self.pass.conflicts.clone_from(&outcome.plan.conflicts);
        self.pass.held = outcome.plan.held.iter().map(ToString::to_string).collect();
        self.pass.taken_ids = outcome.plan.taken_ids.iter().copied().take(MAX_TAKEN_IDS).collect();
        self.pass.accounts = accounts;
        self.pass.failed = outcome
            .failed
            .iter()
            .map(|(step, error)| FailedStep { step: step.to_string(), reason: Chain(error).to_string() })
            .collect();
        self.log_steps(outcome.plan.steps.as_slice());
    }

    fn log_steps(&self, steps: &[Step]) {
        for step in steps {
            tracing::debug!(step = %step, "step");
        }
    }

    /// What the host says about itself.
    pub(crate) fn facts(&self) -> Result<HostFacts, Failure> {
        let given = &self.config.addresses;
        let preferred = if given.is_empty() { &self.enrollment.addresses } else { given };
        host_facts(preferred)
    }

    /// What is trusted here now. The keys of state and the pins are in force as soon as the state is held; sshd's keys
    /// only once they are in its file.
    fn trusts(&self) -> Option<Trusts> {
        let held = self.held.as_ref()?;
        let thumbprint = |key: &StateKey| Some(PublicKey::from_sec1(&key.to_sec1()).ok()?.thumbprint());
        Some(Trusts {
            ssh_user_ca: self.pass.ssh_user_ca.clone()?,
            x509_ca: held.x509_ca.clone(),
            state_keys: held.keys.iter().filter_map(thumbprint).collect(),
            pins: held.pins.iter().copied().collect(),
        })
    }

    /// What to tell the broker.
    pub(crate) fn report(&self) -> Result<Report, Failure> {
        let conflicts = self.pass.conflicts.iter().map(|conflict| AccountConflict {
            kind: conflict.kind.to_string(),
            name: conflict.name.clone(),
            reason: conflict.reason.clone(),
        });
        let held = self.pass.held.iter().map(|name| AccountConflict {
            kind: "user".to_owned(),
            name: name.clone(),
            reason:
                "it has no access any more; deleting it is held because too many would be deleted at once"
                    .to_owned(),
        });
        let failed = self.pass.failed.iter().map(|failed| AccountConflict {
            kind: "step".to_owned(),
            name: failed.step.clone(),
            reason: failed.reason.clone(),
        });
        Ok(Report {
            facts: self.facts()?,
            applied_generation: self.pass.applied_generation,
            applied_server_generation: self.pass.applied_server_generation,
            conflicts: failed.chain(conflicts).chain(held).take(MAX_CONFLICTS).collect(),
            taken_ids: self.pass.taken_ids.clone(),
            trusts: self.trusts(),
        })
    }
}

/// Facts in the form that the broker takes.
pub(crate) fn host_facts(preferred: &[std::net::IpAddr]) -> Result<HostFacts, Failure> {
    let facts = facts(preferred)?;
    Ok(HostFacts {
        addresses: facts
            .addresses
            .iter()
            .map(|address| Address { ip: address.ip, port: address.port })
            .collect(),
        host_keys: facts.host_keys,
        os: facts.os,
        sshd_version: facts.sshd_version,
    })
}

/// SHA-256 of what a base64 text holds.
fn decoded_digest(text: &str) -> Option<Sha256> {
    Some(Sha256::of(&data_encoding::BASE64.decode(text.as_bytes()).ok()?))
}

/// The project that an unverified head names; the signature over the head is checked next.
fn claimed_project(document: &SignedDocument) -> Result<ProjectId, String> {
    let head: Head =
        serde_json::from_str(&document.head).map_err(|error| format!("the head is malformed: {error}"))?;
    match head.document {
        DocumentId::Project(id) => Ok(id),
        other @ DocumentId::Server(_) => Err(StateFault::Subject(other).to_string()),
    }
}

fn check(
    document: &SignedDocument,
    keys: &[StateKey],
    subject: DocumentId,
    known: Known,
) -> Result<Verified, String> {
    let signature = data_encoding::BASE64URL_NOPAD
        .decode(document.signature.as_bytes())
        .map_err(|error| format!("the signature is malformed: {error}"))?;
    verify(signed(document, &signature), keys, subject, known).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests;
