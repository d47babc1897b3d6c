//! Redemption of an enrollment token, as one pure decision. Storing the outcome, and counting the use, happens in the
//! same transaction that read the rows.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use thiserror::Error;
use usher_types::{
    Cidr, HostName, Label, ProjectId, SecretToken, ServerId, Sha256, Thumbprint, TokenId, TokenKind, UnixTime,
};

use crate::{EnrolledServer, NamePattern, Placement};

/// How long the same agent may repeat a redemption whose answer it lost.
pub const REPEAT_WINDOW: Duration = Duration::from_secs(10 * 60);

/// A token's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenTerms {
    /// Its id.
    pub id: TokenId,
    /// [`SecretToken::hash`] of it.
    pub hash: Sha256,
    /// The project that servers join.
    pub project_id: ProjectId,
    /// Where the servers it makes stand.
    pub placement: Placement,
    /// Labels of the servers it makes.
    pub labels: BTreeMap<Label, Label>,
    /// Names it may be used for; none for every name.
    pub name_pattern: Option<NamePattern>,
    /// Network it may be used from; none for everywhere.
    pub cidr: Option<Cidr>,
    /// When it ends.
    pub expires_at: UnixTime,
    /// How many servers it may make.
    pub max_uses: u32,
    /// How many it made.
    pub uses: u32,
    /// When it was revoked.
    pub revoked_at: Option<UnixTime>,
}

/// What an agent says of itself, and what is known of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The name it asks for.
    pub name: HostName,
    /// Thumbprint of the key that its proof was verified with.
    pub agent_key: Thumbprint,
    /// Where it connects from.
    pub peer: IpAddr,
}

/// The server that an agent key already made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriorEnrollment {
    /// The server.
    pub server_id: ServerId,
    /// The token it used.
    pub token_id: TokenId,
    /// When.
    pub enrolled_at: UnixTime,
}

/// The outcome of a redemption that is not refused.
#[must_use]
#[derive(Debug)]
pub enum Redemption<'a> {
    /// The same agent asks again: answer as the first time, change nothing.
    Again(ServerId),
    /// A new server joins: allocate its name, count the use.
    New(Admission<'a>),
}

/// Proof that a server may join now; becomes an [`EnrolledServer`] with its id and name.
///
/// ```compile_fail,E0599
/// fn twice<'a>(admission: usher_enrollment::Admission<'a>) -> [usher_enrollment::Admission<'a>; 2] {
///     [admission.clone(), admission]
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct Admission<'a> {
    terms: &'a TokenTerms,
    claim: &'a Claim,
    now: UnixTime,
}

impl Admission<'_> {
    /// The name it asked for, to be given to [`crate::allocate_name`].
    #[must_use]
    pub fn claimed_name(&self) -> &HostName {
        &self.claim.name
    }

    /// Makes the server. `name` comes from [`crate::allocate_name`].
    pub fn enroll(self, server_id: ServerId, name: HostName) -> EnrolledServer {
        EnrolledServer {
            id: server_id,
            name,
            project_id: self.terms.project_id,
            placement: self.terms.placement.clone(),
            labels: self.terms.labels.clone(),
            agent_key: self.claim.agent_key,
            token_id: self.terms.id,
            enrolled_at: self.now,
        }
    }
}

/// Why a redemption is refused: for the audit log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalReason {
    /// Its time is over.
    Expired,
    /// The agent's key belongs to a server already.
    KeyInUse,
    /// The name is not one that it may be used for.
    Name,
    /// Not from this network.
    Network,
    /// It was revoked.
    Revoked,
    /// The id exists, the secret is another.
    Secret,
    /// No such token.
    Unknown,
    /// It made all its servers.
    Used,
}

impl RefusalReason {
    /// Stable, of `a-z` and `_`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Expired => "token_expired",
            Self::KeyInUse => "agent_key_in_use",
            Self::Name => "name_not_allowed",
            Self::Network => "network_not_allowed",
            Self::Revoked => "token_revoked",
            Self::Secret => "token_secret",
            Self::Unknown => "token_unknown",
            Self::Used => "token_used",
        }
    }
}

/// A redemption is refused. Says the same whatever the reason, so that nobody learns which tokens exist; the reason
/// goes to the audit log.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the enrollment token is unknown, used up, expired or not for this host")]
pub struct Refusal {
    reason: RefusalReason,
}

impl Refusal {
    /// No row has the token's id.
    #[must_use]
    pub fn unknown() -> Self {
        Self { reason: RefusalReason::Unknown }
    }

    /// Why, for the audit log.
    #[must_use]
    pub fn reason(&self) -> RefusalReason {
        self.reason
    }
}

impl From<RefusalReason> for Refusal {
    fn from(reason: RefusalReason) -> Self {
        Self { reason }
    }
}

/// Decides about a presented token. `terms` is the row of its id, `prior` the server that the agent's key already
/// made, if any.
///
/// The secret is compared first (in constant time), so that no other answer depends on knowing only an id.
///
/// # Errors
/// [`Refusal`] with the first reason found.
pub fn redeem<'a>(
    terms: &'a TokenTerms,
    presented: &SecretToken,
    claim: &'a Claim,
    prior: Option<&PriorEnrollment>,
    now: UnixTime,
) -> Result<Redemption<'a>, Refusal> {
    if presented.kind() != TokenKind::Enrollment || presented.id() != terms.id {
        return Err(RefusalReason::Unknown.into());
    }
    if presented.hash() != terms.hash {
        return Err(RefusalReason::Secret.into());
    }
    if terms.revoked_at.is_some() {
        return Err(RefusalReason::Revoked.into());
    }
    if let Some(cidr) = terms.cidr
        && !cidr.contains(claim.peer)
    {
        return Err(RefusalReason::Network.into());
    }
    // Before expiry and uses: the first attempt may have used the token up, in its last second.
    if let Some(prior) = prior {
        return if repeats(prior, terms.id, now) {
            Ok(Redemption::Again(prior.server_id))
        } else {
            Err(RefusalReason::KeyInUse.into())
        };
    }
    if now >= terms.expires_at {
        return Err(RefusalReason::Expired.into());
    }
    if terms.uses >= terms.max_uses {
        return Err(RefusalReason::Used.into());
    }
    if terms.name_pattern.as_ref().is_some_and(|pattern| !pattern.matches(&claim.name)) {
        return Err(RefusalReason::Name.into());
    }
    Ok(Redemption::New(Admission { terms, claim, now }))
}

/// The same key with the same token within [`REPEAT_WINDOW`].
fn repeats(prior: &PriorEnrollment, token_id: TokenId, now: UnixTime) -> bool {
    prior.token_id == token_id && now.since(prior.enrolled_at) <= REPEAT_WINDOW
}
