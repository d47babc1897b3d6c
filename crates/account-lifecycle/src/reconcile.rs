//! The port to a host, and the loop that applies a plan through it.

use std::collections::BTreeSet;

use usher_types::Sha256;

use crate::{
    desired::Desired,
    observed::{FileState, Interest, Observed},
    ownership::{ManagedFile, Ownership},
    plan::{Limits, Plan, plan},
    step::{Phase, Step},
};

/// A host: can be looked at, and changed by one [`Step`] at a time.
pub trait Host {
    /// Why looking or changing failed.
    type Error: std::error::Error;

    /// What we made here.
    ///
    /// # Errors
    /// When the record cannot be read; nothing may be changed then.
    fn ownership(&self) -> Result<Ownership, Self::Error>;

    /// What the host looks like.
    ///
    /// # Errors
    /// When it cannot be seen whole.
    fn observe(&self, interest: &Interest) -> Result<Observed, Self::Error>;

    /// Does one step, or finds it done.
    ///
    /// # Errors
    /// When it is not done. The step may be tried again.
    fn apply(&mut self, step: &Step) -> Result<(), Self::Error>;
}

/// What a pass did.
#[derive(Debug)]
pub struct Outcome<E> {
    /// What was planned.
    pub plan: Plan,
    /// How many steps were done.
    pub done: usize,
    /// Steps that failed, and why.
    pub failed: Vec<(Step, E)>,
    /// Steps that were not tried because one before them had failed.
    pub skipped: Vec<Step>,
    /// Whether sshd has the desired user CA keys now, whatever else failed.
    pub user_ca_in_place: bool,
}

impl<E> Outcome<E> {
    /// Whether the host is as desired now, conflicts and held deletions aside.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty()
    }
}

/// One pass: look, plan, apply.
///
/// # Errors
/// When the host could not be looked at; then nothing was changed. Failed steps are in the [`Outcome`].
pub fn reconcile<H: Host>(
    host: &mut H,
    desired: &Desired,
    limits: &Limits,
) -> Result<Outcome<H::Error>, H::Error> {
    let ownership = host.ownership()?;
    let observed = host.observe(&Interest::new(desired, &ownership))?;
    let plan = plan(desired, &observed, &ownership, limits);
    let content = FileState::Clean(Sha256::of(desired.user_ca.as_bytes()));
    let mut outcome = Outcome {
        done: 0,
        failed: Vec::new(),
        skipped: Vec::new(),
        plan: Plan::default(),
        user_ca_in_place: observed.files.get(&ManagedFile::UserCa) == Some(&content),
    };
    let mut broken_subjects = BTreeSet::new();
    let mut foundation_broken = false;
    for step in &plan.steps {
        let stands_on_foundation = matches!(step.phase(), Phase::Foundation | Phase::Account);
        let subject_broken = step.phase() != Phase::Revocation
            && step.subject().is_some_and(|subject| broken_subjects.contains(subject));
        if (foundation_broken && stands_on_foundation) || subject_broken {
            broken_subjects.extend(step.subject().map(str::to_owned));
            outcome.skipped.push(step.clone());
            continue;
        }
        match host.apply(step) {
            Ok(()) => {
                outcome.done = outcome.done.saturating_add(1);
                outcome.user_ca_in_place |= matches!(step, Step::WriteCa { .. });
            }
            Err(error) => {
                foundation_broken |= step.phase() == Phase::Foundation;
                broken_subjects.extend(step.subject().map(str::to_owned));
                outcome.failed.push((step.clone(), error));
            }
        }
    }
    outcome.plan = plan;
    Ok(outcome)
}
