//! A signed connection that waits for its row. When anything moved since it was decided, it is decided once more, inside
//! the transaction that would insert it.

use std::sync::Arc;

use usher_audit::{Code, Record};
use usher_identity::ApprovedUser;
use usher_policy::{AccessRequest, Capabilities, Decision, authorize};
use usher_store::{
    Epoch, Issuance, StoreError, Verdict, WriteTx,
    connections::{self, NewConnection},
    servers, sessions,
};
use usher_types::Sha256;

use super::{codes, denied, refusal, stepped_up};
use crate::{error::ApiError, hot::Place, keys, request::RequestInfo, x509};

/// Why a connection is not released.
pub(super) enum Fall {
    /// The servers on the way are not what they were: plan anew, as the same user.
    Moved(ApprovedUser),
    /// Access was taken away or changed.
    Refused(ApiError),
}

/// A signed connection on its way into the database.
pub(super) struct Issued {
    /// The snapshot it was decided on.
    pub(super) epoch: Epoch,
    pub(super) user: ApprovedUser,
    pub(super) access: AccessRequest,
    /// The target as the caller named it, for a refusal.
    pub(super) server_name: String,
    pub(super) info: RequestInfo,
    /// What was allowed, and signed.
    pub(super) capabilities: Capabilities,
    /// Every bastion of every route, and the target.
    pub(super) on_the_way: Vec<Arc<Place>>,
    /// Fingerprint of the X.509 authority that signed for the target, when that was asked for.
    pub(super) x509: Option<Sha256>,
    pub(super) row: NewConnection,
    pub(super) record: Record,
    /// Set by [`Issuance::decide_again`] when the decision does not stand and no new plan would help.
    pub(super) refused: Option<ApiError>,
}

impl Issued {
    /// The answer's body; only to be asked for when it was recorded.
    pub(super) fn into_answer(self) -> String {
        self.row.answer
    }

    /// Why it fell.
    pub(super) fn into_fall(self) -> Fall {
        match self.refused {
            Some(error) => Fall::Refused(error),
            None => Fall::Moved(self.user),
        }
    }

    async fn refuse(
        &mut self,
        tx: &mut WriteTx,
        reasons: Vec<Code>,
        error: ApiError,
    ) -> Result<Verdict, StoreError> {
        let login = &self.access.login;
        let record = denied(&self.info, &self.user, self.row.id, Some(self.row.server_id), login, reasons);
        tx.audit(&record).await?;
        self.refused = Some(error);
        Ok(Verdict::Falls)
    }

    /// Whether every server on the way still is where it was, known by the same keys, open, and trusts what was signed
    /// for it.
    async fn in_place(&self, tx: &mut WriteTx) -> Result<bool, StoreError> {
        for place in &self.on_the_way {
            let server = &place.server;
            let Some(now) = servers::by_id(tx, server.id).await? else { return Ok(false) };
            let same = now.placement == server.placement
                && now.project_id == server.project_id
                && now.facts.addresses == server.facts.addresses
                && now.facts.host_keys == server.facts.host_keys;
            let Ok((_, authority)) = place.authorities.of(server) else { return Ok(false) };
            if !same || now.locked || !keys::still_signs(tx, &now, authority).await? {
                return Ok(false);
            }
        }
        match (self.x509, self.on_the_way.last()) {
            (Some(authority), Some(target)) => x509::still_signs(tx, &target.server, authority).await,
            (Some(_), None) | (None, _) => Ok(true),
        }
    }
}

impl Issuance for Issued {
    fn decided_at(&self) -> Epoch {
        self.epoch
    }

    async fn decide_again(&mut self, tx: &mut WriteTx) -> Result<Verdict, StoreError> {
        let rows = sessions::caller(tx, self.user.user().token_id()).await?;
        let checked = match &rows {
            Some(rows) => self.user.check_again(
                &rows.user,
                &rows.team_roles,
                &rows.device,
                &rows.session,
                self.info.now,
            ),
            None => Err(usher_identity::AuthenticationError::SessionEnded),
        };
        let user = match checked {
            Ok(user) => user,
            Err(error) => {
                return self.refuse(tx, vec![Code::new("not_authenticated")], error.into()).await;
            }
        };
        if !self.in_place(tx).await? {
            return Ok(Verdict::Falls);
        }
        let Some(server) = servers::by_id(tx, self.row.server_id).await? else { return Ok(Verdict::Falls) };
        let caller = user.user();
        let facts = connections::facts(tx, caller.user_id(), Some(caller.device_id()), &server).await?;
        let Some(facts) = facts else { return Ok(Verdict::Falls) };
        let client = Some(self.info.client_address);
        match authorize(&user, &self.access, &facts, self.row.id, client, self.info.now) {
            Decision::Allow(grant) if *grant.capabilities() == self.capabilities => Ok(Verdict::Stands),
            // What was signed says something else: made anew, from the rows.
            Decision::Allow(_) => Ok(Verdict::Falls),
            Decision::Deny(denial) => {
                let error = refusal(&denial, &user, &self.server_name);
                self.refuse(tx, codes(&denial), error).await
            }
            Decision::StepUp(step_up) => {
                self.refuse(tx, vec![Code::new("step_up")], stepped_up(&step_up)).await
            }
        }
    }

    fn connection(&self) -> &NewConnection {
        &self.row
    }

    fn record(&self) -> &Record {
        &self.record
    }
}
