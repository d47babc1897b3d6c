//! A signed connection that waits for its row. When anything moved since it was decided, it is decided once more, inside
//! the transaction that would insert it.

use usher_audit::{Code, Record};
use usher_identity::ApprovedUser;
use usher_policy::{AccessRequest, Capabilities, Decision, authorize};
use usher_store::{
    Epoch, Issuance, Recording, StoreError, Verdict, WriteTx,
    connections::{self, NewConnection},
    servers::{self, Server},
    sessions,
};
use usher_types::Sha256;

use super::{codes, denied, refusal, stepped_up};
use crate::{error::ApiError, keys, request::RequestInfo};

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
    /// Every bastion of every route, and the target, each with the fingerprint of the CA that signed for it.
    pub(super) on_the_way: Vec<(Server, Sha256)>,
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

    /// Whether every server on the way still is where it was, open, and trusts what was signed for it.
    async fn in_place(&self, tx: &mut WriteTx) -> Result<bool, StoreError> {
        for (server, authority) in &self.on_the_way {
            let Some(now) = servers::by_id(tx, server.id).await? else { return Ok(false) };
            let moved = now.placement != server.placement || now.project_id != server.project_id;
            if moved || now.locked || !keys::still_signs(tx, &now, *authority).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Issuance for Issued {
    fn decided_at(&self) -> Epoch {
        self.epoch
    }

    async fn decide_again(&mut self, tx: &mut WriteTx) -> Result<Verdict, StoreError> {
        let rows = sessions::caller(tx, self.user.user().token_id()).await?;
        let checked = match &rows {
            Some(rows) => self.user.check_again(&rows.user, &rows.device, &rows.session, self.info.now),
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
        let facts = connections::facts(tx, caller.user_id(), caller.device_id(), &server).await?;
        let Some(facts) = facts else { return Ok(Verdict::Falls) };
        let client = Some(self.info.client_address);
        match authorize(&user, &self.access, &facts, self.row.id, client, self.info.now) {
            Decision::Allow(grant) if *grant.capabilities() == self.capabilities => Ok(Verdict::Stands),
            Decision::Allow(_) => {
                let error = ApiError::new(
                    usher_api::ErrorCode::AccessDenied,
                    "your access changed while this connection was made",
                )
                .with_next("try again");
                self.refuse(tx, vec![Code::new("capabilities_changed")], error).await
            }
            Decision::Deny(denial) => {
                let error = refusal(&denial, &user, &self.server_name);
                self.refuse(tx, codes(&denial), error).await
            }
            Decision::StepUp(step_up) => {
                self.refuse(tx, vec![Code::new("step_up")], stepped_up(step_up)).await
            }
        }
    }

    async fn record(&mut self, tx: &mut WriteTx) -> Result<Recording, StoreError> {
        if !connections::insert(tx, &self.row).await? {
            return Ok(Recording::Repeated);
        }
        tx.audit(&self.record).await?;
        Ok(Recording::Inserted)
    }
}
