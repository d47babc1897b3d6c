//! What agents fetch and report. Agents are told what should be and say what is; nothing that they say gives anybody
//! access.

mod desired;
mod documents;
pub(crate) mod facts;
mod host_key;
mod report;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};
use usher_account_lifecycle::state::VERSION;
use usher_api::{ErrorCode, v1::StateQuery};

use self::desired::Desired;
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{AgentCaller, Query},
};

/// Longer than this, and something on the way may take the connection for dead.
const MAX_WAIT: u32 = 55;

/// The routes of this module; the guard of each comes from `usher_api::v1::ENDPOINTS`.
pub(crate) fn routes() -> Router<AppState> {
    let desired = Arc::new(Desired::default());
    Router::new()
        .route("/v1/agent/state", get(state).layer(Extension(desired)))
        .route("/v1/agent/report", post(report::handle))
}

/// [`usher_api::v1::StateResponse`], of parts that were laid out before.
#[derive(Serialize)]
struct Parts<'a> {
    project: &'a RawValue,
    server: &'a RawValue,
}

/// `GET /v1/agent/state`: answers at once when something is newer than what the agent has, else waits for a change.
async fn state(
    State(app): State<AppState>,
    Extension(desired): Extension<Arc<Desired>>,
    Query(query): Query<StateQuery>,
    caller: AgentCaller,
) -> Result<Response, ApiError> {
    if query.v < VERSION {
        return Err(ApiError::invalid(format!(
            "v: this broker's documents have version {VERSION}; upgrade the agent"
        )));
    }
    if query.wait > MAX_WAIT {
        return Err(ApiError::invalid(format!("wait: at most {MAX_WAIT} seconds")));
    }
    let deadline = Instant::now() + Duration::from_secs(u64::from(query.wait));
    let mut changes = app.store().subscribe();
    let mut stopping = app.stopping();
    let mut looked_again = false;
    loop {
        // Before looking, so that what commits while we look wakes us.
        changes.borrow_and_update();
        let documents = desired.current(&app, caller.project_id, app.now()).await?;
        let documents = documents.ok_or_else(removed)?;
        let Some(server) = documents.servers.get(&caller.server_id) else {
            // Another process may have enrolled it a moment ago. Agents take "removed" seriously, so look twice.
            if looked_again {
                return Err(removed());
            }
            looked_again = true;
            app.store().poll_epoch().await?;
            continue;
        };
        if documents.project.generation > query.generation || server.generation > query.server_generation {
            let parts = Parts { project: &documents.project.json, server: &server.json };
            return Ok(Answer::ok(parts).into_response());
        }
        drop(documents);
        let changed = tokio::select! {
            changed = timeout_at(deadline, changes.changed()) => matches!(changed, Ok(Ok(()))),
            _stopped = stopping.wait_for(|stopping| *stopping) => false,
        };
        // In time nothing changed, or the process is going down: the agent asks again either way.
        if !changed {
            return Ok(Answer::empty().into_response());
        }
    }
}

/// Its key was good when the request came in; the server was removed since.
fn removed() -> ApiError {
    ApiError::new(ErrorCode::LoginRequired, "this server is not enrolled (any more)")
        .with_next("enroll it again with a new enrollment token")
}
