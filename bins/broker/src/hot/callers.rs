//! Callers as they were read last: session, device, user, groups and accounts.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use usher_store::{
    Epoch, Store, StoreError,
    sessions::{self, CallerRows},
    snapshot::{self, Membership},
};
use usher_types::TokenId;

use super::remember;

/// A caller, as it was at one epoch.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) epoch: Epoch,
    pub(crate) rows: CallerRows,
    pub(crate) membership: Membership,
}

/// By session token.
#[derive(Debug, Default)]
pub(crate) struct Callers(RwLock<BTreeMap<TokenId, Arc<Known>>>);

impl Callers {
    /// What is remembered, unless the epoch moved since, or there is a lock: it has a reason to be told.
    pub(crate) fn get(&self, token: TokenId, epoch: Epoch) -> Option<Arc<Known>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&token).filter(|known| known.epoch >= epoch && !known.membership.locked).map(Arc::clone)
    }

    /// Reads and remembers; `None` when there is no such session.
    pub(crate) async fn load(&self, store: &Store, token: TokenId) -> Result<Option<Arc<Known>>, StoreError> {
        let mut reader = store.read().await?;
        let epoch = reader.epoch().await?;
        let Some(rows) = sessions::caller(&mut reader, token).await? else { return Ok(None) };
        let membership = snapshot::membership(&mut reader, rows.user.id, rows.device.id).await?;
        let known = Arc::new(Known { epoch, rows, membership });
        let mut callers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        remember(&mut callers, token, Arc::clone(&known));
        Ok(Some(known))
    }
}
