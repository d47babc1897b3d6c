//! Which bastions a connection goes through. Decides nothing about access: a hop is granted exactly when the target is.

use std::sync::Arc;

use rand_core::Rng;
use usher_api::ErrorCode;
use usher_enrollment::ServerRole;
use usher_store::{
    Reader,
    servers::{self, Server},
};
use usher_types::{Label, UnixTime};

use crate::{
    AppState,
    error::ApiError,
    hot::{Place, Team},
};

/// Alternatives offered to the client: the second serves when a bastion of the first has just died.
const MAX_ROUTES: usize = 2;

/// The bastions of one route, from the client's side on; empty when the target is reached directly.
pub(super) type Bastions = Vec<Arc<Place>>;

/// Where bastions are looked up.
pub(super) trait Source {
    /// The bastions of a group, healthy or not.
    async fn bastions(&mut self, group: &Label) -> Result<Bastions, ApiError>;
}

/// In the database.
pub(super) struct Rows<'a> {
    pub(super) app: &'a AppState,
    pub(super) reader: &'a mut Reader,
    pub(super) now: UnixTime,
}

impl Rows<'_> {
    async fn place(&mut self, server: Server) -> Result<Arc<Place>, ApiError> {
        Place::of(self.app, self.reader, server, self.now).await.map(Arc::new)
    }
}

impl Source for Rows<'_> {
    async fn bastions(&mut self, group: &Label) -> Result<Bastions, ApiError> {
        let mut places = Vec::new();
        for server in servers::bastions(self.reader, group).await? {
            places.push(self.place(server).await?);
        }
        Ok(places)
    }
}

/// Among what is remembered.
pub(super) struct Remembered<'a> {
    pub(super) app: &'a AppState,
    pub(super) team: &'a Team,
    pub(super) now: UnixTime,
}

impl Source for Remembered<'_> {
    async fn bastions(&mut self, group: &Label) -> Result<Bastions, ApiError> {
        let mut places = Vec::new();
        for id in self.team.snapshot.bastions(group) {
            places.extend(self.app.hot().places.find(self.app, id, self.now).await?);
        }
        Ok(places)
    }
}

/// The configured routes: through healthy bastions of the group that the target names, in random order, so that load
/// spreads. At most [`MAX_ROUTES`], at least one.
pub(super) async fn configured(
    source: &mut impl Source,
    target: &Place,
    now: UnixTime,
    rng: &mut impl Rng,
) -> Result<Vec<Bastions>, ApiError> {
    let Some(group) = target.server.placement.via() else { return Ok(vec![Bastions::new()]) };
    let near_target = healthy(source, group, now, rng).await?;
    let mut routes = Vec::new();
    let mut spare = Vec::new();
    for bastion in near_target {
        let Some(outer) = bastion.server.placement.via() else {
            routes.push(vec![bastion]);
            continue;
        };
        // Two hops are the most; an outer bastion that is itself behind another is none for this purpose.
        let outer = healthy(source, outer, now, rng).await?;
        let mut outer = outer.into_iter().filter(|outer| outer.server.placement.via().is_none());
        if let Some(first) = outer.next() {
            routes.push(vec![first, Arc::clone(&bastion)]);
        }
        spare.extend(outer.next().map(|second| vec![second, bastion]));
    }
    routes.append(&mut spare);
    routes.truncate(MAX_ROUTES);
    if routes.is_empty() { Err(no_route(&target.server, group)) } else { Ok(routes) }
}

async fn healthy(
    source: &mut impl Source,
    group: &Label,
    now: UnixTime,
    rng: &mut impl Rng,
) -> Result<Bastions, ApiError> {
    let mut bastions = source.bastions(group).await?;
    // One without an address is nothing that a target could expect connections from.
    bastions.retain(|bastion| {
        let server = &bastion.server;
        server.is_healthy(now) && !server.locked && !server.facts.addresses.is_empty()
    });
    shuffle(&mut bastions, rng);
    Ok(bastions)
}

/// Fisher and Yates. The bias of the remainder is far below what load balancing would notice.
fn shuffle<T>(items: &mut [T], rng: &mut impl Rng) {
    for last in (1..items.len()).rev() {
        let random = usize::try_from(rng.next_u32()).unwrap_or_default();
        let bound = last.saturating_add(1);
        items.swap(last, random.checked_rem(bound).unwrap_or_default());
    }
}

fn no_route(target: &Server, group: &Label) -> ApiError {
    ApiError::new(
        ErrorCode::NoRoute,
        format!("no bastion of group `{group}`, through which `{}` is reached, is up", target.name),
    )
    .with_next(format!(
        "ask an administrator to look after the agents of group `{group}`, or name a way yourself with `--via`"
    ))
}

/// The route that the caller asks for, healthy or not: the caller may know better. Each bastion must be one that
/// forwards to the next server, or its sshd would refuse the hop.
pub(super) async fn requested(
    rows: &mut Rows<'_>,
    target: &Place,
    via: &[String],
) -> Result<Vec<Bastions>, ApiError> {
    if via.len() > usher_enrollment::MAX_HOPS {
        return Err(ApiError::invalid(format!("via: name at most {} bastions", usher_enrollment::MAX_HOPS)));
    }
    let mut chain = Bastions::with_capacity(via.len());
    for name in via.iter().rev() {
        let next = chain.last().map_or(&target.server, |place| &place.server);
        match servers::find(rows.reader, name).await? {
            Some(bastion) if forwards(&bastion, next) && !bastion.locked => {
                chain.push(rows.place(bastion).await?);
            }
            // Not told apart: whoever may not see a server does not learn here that it exists.
            Some(_) | None => {
                let shown: String = name.chars().take(64).flat_map(char::escape_default).collect();
                return Err(ApiError::invalid(format!(
                    "via: `{shown}` is no bastion that forwards to `{}`",
                    next.name
                )));
            }
        }
    }
    chain.reverse();
    Ok(vec![chain])
}

fn forwards(bastion: &Server, next: &Server) -> bool {
    bastion.placement.role() == ServerRole::Bastion
        && bastion.id != next.id
        && !bastion.facts.addresses.is_empty()
        && bastion.placement.bastion_group().is_some()
        && bastion.placement.bastion_group() == next.placement.via()
}
