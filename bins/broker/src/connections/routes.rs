//! Which bastions a connection goes through. Decides nothing about access: a hop is granted exactly when the target is.

use rand_core::Rng;
use usher_api::ErrorCode;
use usher_enrollment::ServerRole;
use usher_store::{
    Conn,
    servers::{self, Server},
};
use usher_types::{Label, UnixTime};

use crate::error::ApiError;

/// Alternatives offered to the client: the second serves when a bastion of the first has just died.
const MAX_ROUTES: usize = 2;

/// The bastions of one route, from the client's side on; empty when the target is reached directly.
pub(super) type Bastions = Vec<Server>;

/// The configured routes: through healthy bastions of the group that the target names, in random order, so that load
/// spreads. At most [`MAX_ROUTES`], at least one.
pub(super) async fn configured(
    conn: &mut Conn,
    target: &Server,
    now: UnixTime,
    rng: &mut impl Rng,
) -> Result<Vec<Bastions>, ApiError> {
    let Some(group) = target.placement.via() else { return Ok(vec![Bastions::new()]) };
    let near_target = healthy(conn, group, now, rng).await?;
    let mut routes = Vec::new();
    let mut spare = Vec::new();
    for bastion in near_target {
        let Some(outer) = bastion.placement.via() else {
            routes.push(vec![bastion]);
            continue;
        };
        // Two hops are the most; an outer bastion that is itself behind another is none for this purpose.
        let outer = healthy(conn, outer, now, rng).await?;
        let mut outer = outer.into_iter().filter(|outer| outer.placement.via().is_none());
        if let Some(first) = outer.next() {
            routes.push(vec![first, bastion.clone()]);
        }
        spare.extend(outer.next().map(|second| vec![second, bastion]));
    }
    routes.append(&mut spare);
    routes.truncate(MAX_ROUTES);
    if routes.is_empty() { Err(no_route(target, group)) } else { Ok(routes) }
}

async fn healthy(
    conn: &mut Conn,
    group: &Label,
    now: UnixTime,
    rng: &mut impl Rng,
) -> Result<Vec<Server>, ApiError> {
    let mut bastions = servers::bastions(conn, group).await?;
    // One without an address is nothing that a target could expect connections from.
    bastions
        .retain(|bastion| bastion.is_healthy(now) && !bastion.locked && !bastion.facts.addresses.is_empty());
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
    conn: &mut Conn,
    target: &Server,
    via: &[String],
) -> Result<Vec<Bastions>, ApiError> {
    if via.len() > usher_enrollment::MAX_HOPS {
        return Err(ApiError::invalid(format!("via: name at most {} bastions", usher_enrollment::MAX_HOPS)));
    }
    let mut chain: Vec<Server> = Vec::with_capacity(via.len());
    for name in via.iter().rev() {
        let next = chain.last().unwrap_or(target);
        match servers::find(conn, name).await? {
            Some(bastion) if forwards(&bastion, next) && !bastion.locked => chain.push(bastion),
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
