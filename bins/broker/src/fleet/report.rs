//! `POST /v1/agent/report`: what the host looks like.

use std::collections::BTreeSet;

use axum::extract::State;
use data_encoding::BASE64;
use usher_account_lifecycle::allocate::{is_assignable_gid, is_assignable_uid};
use usher_api::v1::{AccountConflict, ReportRequest, ReportResponse, Trusts};
use usher_audit::{Actor, Event, Record};
use usher_store::servers::{self, Conflict, Report};
use usher_types::Sha256;

use super::{facts, removed};
use crate::{AppState, answer::Answer, error::ApiError, extract::AgentCaller};

const MAX_CONFLICTS: usize = 256;
const MAX_TAKEN_IDS: usize = 4096;

pub(super) async fn handle(
    State(app): State<AppState>,
    caller: AgentCaller<ReportRequest>,
) -> Result<Answer<ReportResponse>, ApiError> {
    let AgentCaller { server_id, info, body, .. } = caller;
    let report = Report {
        facts: facts::parse(&body.facts)?,
        conflicts: conflicts(body.conflicts)?,
        applied_generation: body.applied_generation,
        applied_server_generation: body.applied_server_generation,
        taken_ids: taken_ids(&body.taken_ids)?,
        trusts: body.trusts.map(trusts).transpose()?,
        clock_offset_millis: body.clock.as_millis().saturating_sub(info.now.as_millis()),
    };
    let mut tx = app.store().begin().await?;
    let changed = servers::report(&mut tx, server_id, &report, info.now).await?.ok_or_else(removed)?;
    let mut events = Vec::new();
    if changed.host_keys {
        let host_keys = report.facts.host_keys.iter().map(|line| digest(line)).collect();
        events.push(Event::ServerHostKeys { server_id, host_keys });
    }
    if let Some(change) = changed.addresses {
        events.push(facts::changed(server_id, change));
    }
    for event in events {
        let actor = Actor::Server { server_id };
        let client_address = Some(info.client_address);
        tx.audit(&Record { at: info.now, actor, client_address, event }).await?;
    }
    tx.commit().await?;
    app.hot().places.forget(server_id);
    Ok(Answer::ok(ReportResponse { clock: app.now(), pins: app.pins() }))
}

/// More keys than any project or team has at one time.
const MAX_TRUSTED: usize = 64;

fn trusts(given: Trusts) -> Result<servers::Trusts, ApiError> {
    let Trusts { ssh_user_ca, x509_ca, state_keys, pins } = given;
    if [&ssh_user_ca, &x509_ca, &state_keys, &pins].iter().any(|keys| keys.len() > MAX_TRUSTED) {
        return Err(ApiError::invalid(format!("trusts: at most {MAX_TRUSTED} keys of a kind")));
    }
    Ok(servers::Trusts { ssh_user_ca, x509_ca, state_keys, pins })
}

/// Of the key in SSH wire format. The line was checked by `facts::parse`.
fn digest(line: &str) -> Sha256 {
    let encoded = line.split(' ').nth(1).unwrap_or_default();
    Sha256::of(&BASE64.decode(encoded.as_bytes()).unwrap_or_default())
}

fn conflicts(given: Vec<AccountConflict>) -> Result<Vec<Conflict>, ApiError> {
    if given.len() > MAX_CONFLICTS {
        return Err(ApiError::invalid(format!("conflicts: at most {MAX_CONFLICTS}")));
    }
    let shorten = |AccountConflict { kind, name, reason }: AccountConflict| Conflict {
        kind: facts::text(&kind),
        name: facts::text(&name),
        reason: facts::text(&reason),
    };
    Ok(given.into_iter().map(shorten).collect())
}

/// Ids that could be given out; others are of no interest.
fn taken_ids(given: &[u32]) -> Result<BTreeSet<u32>, ApiError> {
    if given.len() > MAX_TAKEN_IDS {
        return Err(ApiError::invalid(format!("taken_ids: at most {MAX_TAKEN_IDS}")));
    }
    Ok(given.iter().copied().filter(|id| is_assignable_uid(*id) || is_assignable_gid(*id)).collect())
}
