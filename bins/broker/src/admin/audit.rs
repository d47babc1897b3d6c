//! The audit log, page by page.

use axum::{Router, extract::State, routing::get};
use usher_api::v1::{AuditEvent, AuditPage, AuditQuery};
use usher_store::audit::{self, AuditRow};

use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Query},
};

const DEFAULT_LIMIT: u32 = 100;
const LARGEST_LIMIT: u32 = 1_000;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/v1/audit", get(page))
}

async fn page(
    State(app): State<AppState>,
    Query(query): Query<AuditQuery>,
    _caller: Admin,
) -> Result<Answer<AuditPage>, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        return Err(ApiError::invalid(format!("limit: use 1 to {LARGEST_LIMIT}")));
    }
    let after = query.after.unwrap_or(0);
    if after < 0 {
        return Err(ApiError::invalid("after: use a position of the log, 0 for the beginning"));
    }
    let mut reader = app.store().read().await?;
    let rows = audit::page(&mut reader, after, limit).await?;
    let items = rows.into_iter().map(shown).collect::<Result<_, _>>()?;
    Ok(Answer::ok(AuditPage { items }))
}

fn shown(AuditRow { position, row }: AuditRow) -> Result<AuditEvent, ApiError> {
    Ok(AuditEvent {
        position,
        writer: row.writer.to_string(),
        sequence: i64::try_from(row.sequence).map_err(ApiError::internal)?,
        hash: row.hash,
        event: serde_json::from_slice(&row.bytes).map_err(ApiError::internal)?,
    })
}
