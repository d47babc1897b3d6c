//! Plans a connection from memory. Only an allow comes out of here: whatever is not known, or is a no, is left to the
//! rows, which also know what to advise. What is old by now is decided again in the issuing transaction.

use std::sync::Arc;

use usher_identity::ApprovedUser;
use usher_policy::{Decision, Member, authorize};
use usher_types::ConnectionId;

use super::{Asked, Planned, enough_keys, routes};
use crate::{AppState, error::ApiError, random, request::RequestInfo};

/// A plan, if memory has one.
pub(super) async fn plan(
    app: &AppState,
    user: &ApprovedUser,
    asked: &Asked,
    info: &RequestInfo,
) -> Result<Option<Planned>, ApiError> {
    let hot = app.hot();
    // Whoever has just changed something sees it in the next answer: rules that are known to be old are not asked.
    let team = hot.rules.get(app).filter(|team| team.epoch >= app.store().known_epoch());
    let Some(team) = team else { return Ok(None) };
    let Some(known) = hot.callers.get(user.user().token_id(), app.store().known_epoch()) else {
        return Ok(None);
    };
    let (Some(found), None) = (team.snapshot.find(&asked.server), &asked.via) else { return Ok(None) };
    let rows = &known.rows;
    let Ok(user) = user.check_again(&rows.user, &rows.team_roles, &rows.device, &rows.session, info.now)
    else {
        return Ok(None);
    };
    let login = found.project_id().and_then(|project| known.membership.logins.get(&project));
    let member = Member { user_id: rows.user.id, groups: &known.membership.groups, login };
    let Some(facts) = found.facts(&member) else { return Ok(None) };
    let id = ConnectionId::new(info.now, random::bytes()?);
    let client = Some(info.client_address);
    let Decision::Allow(grant) = authorize(&user, &asked.access, &facts, id, client, info.now) else {
        return Ok(None);
    };
    let Some(target) = hot.places.find(app, found.id(), info.now).await? else { return Ok(None) };
    let mut source = routes::Remembered { app, team: &team, now: info.now };
    let Ok(routes) = routes::configured(&mut source, &target, info.now, &mut random::rng()).await else {
        return Ok(None);
    };
    enough_keys(asked, &target, &routes)?;
    let places = routes.iter().flatten().chain([&target]);
    let epoch = places.map(|place| place.epoch).chain([team.epoch, known.epoch]).min();
    Ok(epoch.map(|epoch| Planned { epoch, grant, target: Arc::clone(&target), routes }))
}
