//! The audit log: searched page by page in either direction, and followed as it grows.
//!
//! The log has no index but its positions, so that writing stays cheap; checkpoints lead to times. A request looks at so
//! many rows at most, and its answer says where the next one goes on.

use std::time::Duration;

use axum::{Router, extract::State, routing::get};
use serde::Deserialize;
use usher_api::v1::{AuditEvent, AuditOrder, AuditPage, AuditQuery};
use usher_audit::ChainRow;
use usher_store::{
    Conn,
    audit::{self, Cursor},
    projects, servers, users,
};
use usher_types::{ProjectId, ServerId, UnixTime, UserId};

use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Query},
};

const DEFAULT_LIMIT: u32 = 100;
const LARGEST_LIMIT: u32 = 1_000;
/// Rows that one request looks at.
const BUDGET: u32 = 20_000;
/// Rows that are read at one time.
const CHUNK: u32 = 500;
/// How far times of rows and of checkpoints may lie apart: clocks of several brokers, and checkpoints that came late.
const SLACK: Duration = Duration::from_secs(600);
/// Longest text that is searched for.
const LONGEST_TEXT: usize = 256;

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
    let limit = usize::try_from(limit).map_err(ApiError::internal)?;
    let mut reader = app.store().read().await?;
    let filter = Filter::new(&mut reader, &query).await?;
    let search = Search { filter: &filter, limit, found: Vec::new(), seen: 0 };
    let page = match query.order.unwrap_or_default() {
        AuditOrder::Newest => search.backwards(&mut reader, &query).await?,
        AuditOrder::Oldest => search.forwards(&mut reader, &query).await?,
    };
    Ok(Answer::ok(page))
}

struct Search<'a> {
    filter: &'a Filter,
    limit: usize,
    found: Vec<ChainRow>,
    seen: u32,
}

impl Search<'_> {
    /// Looks at a row; whether that was the last one of this page.
    fn ends_with(&mut self, row: &ChainRow) -> bool {
        self.seen = self.seen.saturating_add(1);
        if self.filter.matches(row) {
            self.found.push(row.clone());
        }
        self.found.len() >= self.limit || self.seen >= BUDGET
    }

    fn page(self, next: Option<String>, follow: &Cursor) -> Result<AuditPage, ApiError> {
        let items = self.found.iter().map(shown).collect::<Result<_, _>>()?;
        Ok(AuditPage { items, next, follow: follow.to_string() })
    }

    async fn forwards(mut self, conn: &mut Conn, query: &AuditQuery) -> Result<AuditPage, ApiError> {
        let mut cursor = match (&query.cursor, query.after) {
            (Some(cursor), None) => {
                cursor.parse::<Cursor>().map_err(|error| ApiError::invalid(format!("cursor: {error}")))?
            }
            (None, after) => {
                let after = after.unwrap_or(0);
                if after < 0 {
                    return Err(ApiError::invalid("after: use a position of the log, 0 for the beginning"));
                }
                let since = match query.since {
                    Some(since) => audit::position_before(conn, since.saturating_sub(SLACK)).await?,
                    None => 0,
                };
                Cursor::at(conn, after.max(since)).await?
            }
            (Some(_), Some(_)) => return Err(ApiError::invalid("cursor: not together with after")),
        };
        let end = match query.until {
            Some(until) => audit::position_behind(conn, until.saturating_add(SLACK)).await?,
            None => None,
        };
        loop {
            // What this page shows is a part of what is read: the answer's cursor counts row by row.
            let mut read = cursor.clone();
            let rows = audit::follow(conn, &mut read, CHUNK).await?;
            if rows.is_empty() && read.position == cursor.position {
                return self.page(None, &cursor);
            }
            for row in rows {
                cursor.take(&row);
                if self.ends_with(&row) {
                    return self.page(Some(cursor.to_string()), &cursor);
                }
            }
            cursor = read;
            if end.is_some_and(|end| cursor.position >= end) {
                return self.page(None, &cursor);
            }
        }
    }

    async fn backwards(mut self, conn: &mut Conn, query: &AuditQuery) -> Result<AuditPage, ApiError> {
        if query.after.is_some() {
            return Err(ApiError::invalid("after: goes with the order `oldest`"));
        }
        let follow = Cursor::at_end(conn).await?;
        let mut before = match (&query.cursor, query.until) {
            (Some(cursor), _) => {
                cursor.parse().map_err(|_error| ApiError::invalid("cursor: not one of this order"))?
            }
            (None, Some(until)) => audit::position_behind(conn, until.saturating_add(SLACK))
                .await?
                .map_or(i64::MAX, |position| position.saturating_add(1)),
            (None, None) => i64::MAX,
        };
        let end = match query.since {
            Some(since) => audit::position_before(conn, since.saturating_sub(SLACK)).await?,
            None => 0,
        };
        loop {
            let rows = audit::page_before(conn, before, CHUNK).await?;
            let Some(last) = rows.last() else { return self.page(None, &follow) };
            let oldest = last.position;
            for row in &rows {
                if self.ends_with(row) {
                    return self.page(Some(row.position.to_string()), &follow);
                }
            }
            before = oldest;
            if before <= end {
                return self.page(None, &follow);
            }
        }
    }
}

/// What rows have to have.
struct Filter {
    kind: Option<String>,
    actor: Option<String>,
    /// Ids, which are unlike anything else in a row.
    parts: Vec<String>,
    since: Option<UnixTime>,
    until: Option<UnixTime>,
    /// In lower case.
    text: Option<String>,
}

/// What filters look at, of rows of any version.
#[derive(Deserialize)]
struct Glance<'a> {
    at: UnixTime,
    #[serde(borrow)]
    actor: GlanceActor<'a>,
    #[serde(borrow)]
    event: GlanceEvent<'a>,
}

#[derive(Deserialize)]
struct GlanceActor<'a> {
    r#type: &'a str,
    user_id: Option<&'a str>,
    server_id: Option<&'a str>,
}

#[derive(Deserialize)]
struct GlanceEvent<'a> {
    r#type: &'a str,
}

impl Filter {
    async fn new(conn: &mut Conn, query: &AuditQuery) -> Result<Self, ApiError> {
        let kind = query.r#type.clone();
        let known = |kind: &String| {
            usher_audit::Event::KINDS
                .iter()
                .any(|known| *known == kind || known.split('.').next() == Some(kind))
        };
        if let Some(kind) = kind.as_ref().filter(|kind| !known(kind)) {
            return Err(ApiError::not_found("type of event", kind));
        }
        let text = query.text.as_ref().map(|text| text.to_lowercase());
        if text.as_ref().is_some_and(|text| text.len() > LONGEST_TEXT) {
            return Err(ApiError::invalid(format!("text: at most {LONGEST_TEXT} characters")));
        }
        let actor = match query.actor.as_deref() {
            Some(word @ ("anonymous" | "operator" | "system")) => Some(word.to_owned()),
            Some(name) if name.parse::<ServerId>().is_ok() => Some(name.to_owned()),
            Some(name) => Some(user(conn, name).await?),
            None => None,
        };
        let mut parts = Vec::new();
        if let Some(name) = &query.user {
            parts.push(user(conn, name).await?);
        }
        if let Some(name) = &query.server {
            parts.push(match name.parse::<ServerId>() {
                Ok(id) => id.to_string(),
                Err(_) => found(servers::find(conn, name).await?, "server", name)?.id.to_string(),
            });
        }
        if let Some(name) = &query.project {
            parts.push(match name.parse::<ProjectId>() {
                Ok(id) => id.to_string(),
                Err(_) => found(projects::find(conn, name).await?, "project", name)?.id.to_string(),
            });
        }
        Ok(Self { kind, actor, parts, since: query.since, until: query.until, text })
    }

    fn matches(&self, row: &ChainRow) -> bool {
        let Ok(text) = std::str::from_utf8(&row.bytes) else { return self.is_empty() };
        if !self.parts.iter().all(|part| text.contains(part.as_str())) {
            return false;
        }
        if self.text.as_ref().is_some_and(|wanted| !text.to_lowercase().contains(wanted.as_str())) {
            return false;
        }
        if self.kind.is_none() && self.actor.is_none() && self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Ok(glance) = serde_json::from_str::<Glance<'_>>(text) else { return false };
        let kind = glance.event.r#type;
        let actor = &glance.actor;
        self.kind.as_ref().is_none_or(|wanted| kind == wanted || kind.split('.').next() == Some(wanted))
            && self.actor.as_deref().is_none_or(|wanted| {
                actor.r#type == wanted || actor.user_id == Some(wanted) || actor.server_id == Some(wanted)
            })
            && self.since.is_none_or(|since| since <= glance.at)
            && self.until.is_none_or(|until| glance.at <= until)
    }

    fn is_empty(&self) -> bool {
        let Self { kind, actor, parts, since, until, text } = self;
        kind.is_none()
            && actor.is_none()
            && parts.is_empty()
            && since.is_none()
            && until.is_none()
            && text.is_none()
    }
}

/// The id of a user that exists, or an id.
async fn user(conn: &mut Conn, name: &str) -> Result<String, ApiError> {
    if name.parse::<UserId>().is_ok() {
        return Ok(name.to_owned());
    }
    Ok(found(users::find(conn, name).await?, "user", name)?.id.to_string())
}

fn found<T>(found: Option<T>, kind: &str, name: &str) -> Result<T, ApiError> {
    found.ok_or_else(|| {
        let error = ApiError::not_found(kind, name);
        error.with_next("what is gone has no name any more: give its id, or search for its name with `text`")
    })
}

fn shown(row: &ChainRow) -> Result<AuditEvent, ApiError> {
    Ok(AuditEvent {
        position: row.position,
        writer: row.writer.to_string(),
        sequence: i64::try_from(row.sequence).map_err(ApiError::internal)?,
        hash: row.hash,
        event: serde_json::from_slice(&row.bytes).map_err(ApiError::internal)?,
    })
}
