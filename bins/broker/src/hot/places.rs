//! Servers as legs of connections: where they are, their host keys, and who signs for them.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use usher_store::{
    Epoch, Reader,
    servers::{self, Server},
};
use usher_types::{ServerId, UnixTime};

use super::remember;
use crate::{AppState, error::ApiError, keys::Authorities};

/// When an agent was last seen moves no epoch, and neither does what it has acknowledged: so entries age as well.
const FRESH: Duration = Duration::from_secs(10);

/// A server, as it was at one epoch.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) epoch: Epoch,
    pub(crate) server: Server,
    pub(crate) authorities: Authorities,
    read_at: UnixTime,
}

impl Place {
    /// The server's row, and the keys of its project.
    pub(crate) async fn of(
        app: &AppState,
        reader: &mut Reader,
        server: Server,
        now: UnixTime,
    ) -> Result<Self, ApiError> {
        let epoch = reader.epoch().await?;
        let authorities = Authorities::load(app, reader, &[server.project_id].into()).await?;
        Ok(Self { epoch, server, authorities, read_at: now })
    }
}

/// By id.
#[derive(Debug, Default)]
pub(crate) struct Places(RwLock<BTreeMap<ServerId, Arc<Place>>>);

impl Places {
    /// A server that is remembered or read now; `None` when it is gone.
    pub(crate) async fn find(
        &self,
        app: &AppState,
        id: ServerId,
        now: UnixTime,
    ) -> Result<Option<Arc<Place>>, ApiError> {
        if let Some(place) = self.remembered(id, app.store().known_epoch(), now) {
            return Ok(Some(place));
        }
        // On the heap: what is hardly ever waited for is not carried along by every request.
        Box::pin(self.read(app, id, now)).await
    }

    async fn read(
        &self,
        app: &AppState,
        id: ServerId,
        now: UnixTime,
    ) -> Result<Option<Arc<Place>>, ApiError> {
        let mut reader = app.store().read().await?;
        let Some(server) = servers::by_id(&mut reader, id).await? else { return Ok(None) };
        let place = Arc::new(Place::of(app, &mut reader, server, now).await?);
        let mut places = self.0.write().unwrap_or_else(PoisonError::into_inner);
        remember(&mut places, id, Arc::clone(&place));
        Ok(Some(place))
    }

    fn remembered(&self, id: ServerId, epoch: Epoch, now: UnixTime) -> Option<Arc<Place>> {
        let places = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let place = places.get(&id)?;
        let good = place.epoch >= epoch && now.since(place.read_at) < FRESH;
        good.then(|| Arc::clone(place))
    }

    /// The server's agent has reported.
    pub(crate) fn forget(&self, id: ServerId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}
