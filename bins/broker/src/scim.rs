//! The SCIM service (RFC 7643, RFC 7644), through which identity providers say who their users and groups are.
//!
//! Not part of `/v1`: its callers hold a bearer token, its errors have a form of their own. A token speaks for one connector,
//! and only that connector's users and groups exist for it. Every request that changes something is one transaction
//! with its audit rows; what takes access away has taken it when the answer is sent.

mod bulk;
mod caller;
mod discovery;
mod error;
mod groups;
mod query;
mod resource;
mod target;
mod users;

use std::net::{IpAddr, SocketAddr};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    response::{IntoResponse as _, Response},
    routing::any,
};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Map, Value, json};
use usher_audit::{Actor, Event, Record};
use usher_identity::scim::ResourceType;
use usher_store::{StoreError, WriteTx};
use usher_types::UnixTime;

use self::{caller::Caller, error::ScimError, query::Query, target::Target};
use crate::AppState;

/// Longest body, in bytes; of a group with many members.
const MAX_BODY: usize = 2 * 1024 * 1024;
/// Most members that one request can name.
const MAX_MEMBERS: usize = 10_000;

/// Everything below `/scim/v2`.
pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/scim/v2", any(handle)).route("/scim/v2/{*path}", any(handle))
}

/// What a request was answered with.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    body: Option<Value>,
    /// Where the resource is, and which version of it this is.
    location: Option<String>,
    version: Option<String>,
}

impl Answer {
    fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, body: Some(body), location: None, version: None }
    }

    fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: None, location: None, version: None }
    }

    /// A resource, with what its `meta` says also in headers.
    fn resource(status: StatusCode, body: Value) -> Self {
        let meta = |name: &str| body.pointer(&format!("/meta/{name}"))?.as_str().map(str::to_owned);
        let (location, version) = (meta("location"), meta("version"));
        Self { status, location, version, body: Some(body) }
    }

    fn into_response(self) -> Response {
        let mut response = match self.body {
            Some(body) => (self.status, body.to_string()).into_response(),
            None => self.status.into_response(),
        };
        let named = |name, value: Option<String>| Some((name, HeaderValue::try_from(value?).ok()?));
        let content = HeaderValue::from_static("application/scim+json");
        response.headers_mut().insert(header::CONTENT_TYPE, content);
        response.headers_mut().extend(
            [named(header::ETAG, self.version), named(header::LOCATION, self.location)].into_iter().flatten(),
        );
        response
    }
}

async fn handle(State(app): State<AppState>, request: Request) -> Response {
    match Box::pin(run(&app, request)).await {
        Ok(answer) => answer.into_response(),
        Err(error) => error.into_response(),
    }
}

async fn run(app: &AppState, request: Request) -> Result<Answer, ScimError> {
    let now = app.now();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let address = peer.map(|ConnectInfo(address)| address.ip().to_canonical());
    let address = address.ok_or_else(|| ScimError::internal("the server named no peer"))?;
    let (parts, body) = request.into_parts();
    let caller = caller::recognise(app, &parts.headers, address, now).await?;
    let target = Target::parse(parts.uri.path().strip_prefix("/scim/v2").unwrap_or_default())?;
    let query = Query::parse(parts.uri.query().unwrap_or_default())?;
    let condition = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (if_match, if_none_match) = (condition(header::IF_MATCH), condition(header::IF_NONE_MATCH));
    match (&parts.method, target) {
        (&Method::GET, Target::Collection(of)) => list(app, &caller, of, &query).await,
        (&Method::GET, Target::Resource(of, id)) => {
            let answer = show(app, &caller, of, &id, &query).await?;
            // RFC 7644 section 3.14: the client has this version already.
            let known = if_none_match.is_some() && if_none_match == answer.version;
            Ok(if known { Answer { status: StatusCode::NOT_MODIFIED, body: None, ..answer } } else { answer })
        }
        (&Method::GET, discovery) if discovery.is_discovery() => {
            query.refuse_filter()?;
            discovery::answer(app, &discovery)
        }
        (&Method::POST, Target::Search(of)) => {
            let query = Query::of_search(of, &object(&buffer(body).await?)?)?;
            list(app, &caller, of, &query).await
        }
        (&Method::POST, Target::Bulk) => bulk::run(app, &caller, &buffer(body).await?).await,
        (method, target) => {
            let Some(write) = Write::of(method, target) else {
                return Err(ScimError::method_not_allowed());
            };
            let body = if *method == Method::DELETE { Map::new() } else { object(&buffer(body).await?)? };
            let mut change = Change::begin(app, caller, now).await?;
            let answer = change.write(&write, &body, if_match.as_deref()).await?;
            change.tx.commit().await?;
            Ok(query.selected(write.of_type(), answer))
        }
    }
}

async fn list(app: &AppState, caller: &Caller, of: ResourceType, query: &Query) -> Result<Answer, ScimError> {
    match of {
        ResourceType::Group => groups::list(app, caller, query).await,
        ResourceType::User => users::list(app, caller, query).await,
    }
}

async fn show(
    app: &AppState,
    caller: &Caller,
    of: ResourceType,
    id: &str,
    query: &Query,
) -> Result<Answer, ScimError> {
    match of {
        ResourceType::Group => groups::show(app, caller, id, query).await,
        ResourceType::User => users::show(app, caller, id, query).await,
    }
}

async fn buffer(body: Body) -> Result<Bytes, ScimError> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(ScimError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a request body can have at most {MAX_BODY} bytes"),
        )),
        Err(_) => Err(ScimError::syntax("the request body did not arrive whole")),
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, ScimError> {
    serde_json::from_slice(body).map_err(|_error| ScimError::syntax("the body must be a JSON object"))
}

/// A request that changes something.
#[derive(Debug)]
enum Write {
    Create(ResourceType),
    Delete(ResourceType, String),
    Patch(ResourceType, String),
    Replace(ResourceType, String),
}

impl Write {
    fn of(method: &Method, target: Target) -> Option<Self> {
        match (method, target) {
            (&Method::POST, Target::Collection(of)) => Some(Self::Create(of)),
            (&Method::DELETE, Target::Resource(of, id)) => Some(Self::Delete(of, id)),
            (&Method::PATCH, Target::Resource(of, id)) => Some(Self::Patch(of, id)),
            (&Method::PUT, Target::Resource(of, id)) => Some(Self::Replace(of, id)),
            _ => None,
        }
    }
}

impl Write {
    fn of_type(&self) -> ResourceType {
        match self {
            Self::Create(of) | Self::Delete(of, _) | Self::Patch(of, _) | Self::Replace(of, _) => *of,
        }
    }
}

/// A change by an identity provider: the transaction, and in whose name it is written down.
#[derive(Debug)]
struct Change {
    tx: WriteTx,
    caller: Caller,
    now: UnixTime,
    /// Of this service, without a slash at its end.
    base: String,
}

impl Change {
    /// Begins a change. The token is looked at again: it may have been revoked while the caller waited for its turn.
    async fn begin(app: &AppState, caller: Caller, now: UnixTime) -> Result<Self, ScimError> {
        let mut tx = app.store().begin().await?;
        caller::check_again(&mut tx, &caller, now).await?;
        Ok(Self { tx, caller, now, base: base(app) })
    }

    async fn write(
        &mut self,
        write: &Write,
        body: &Map<String, Value>,
        if_match: Option<&str>,
    ) -> Result<Answer, ScimError> {
        match write {
            Write::Create(ResourceType::Group) => groups::create(self, body).await,
            Write::Create(ResourceType::User) => users::create(self, body).await,
            Write::Delete(ResourceType::Group, id) => groups::delete(self, id, if_match).await,
            Write::Delete(ResourceType::User, id) => users::delete(self, id, if_match).await,
            Write::Patch(ResourceType::Group, id) => groups::patch(self, id, body, if_match).await,
            Write::Patch(ResourceType::User, id) => users::patch(self, id, body, if_match).await,
            Write::Replace(ResourceType::Group, id) => groups::replace(self, id, body, if_match).await,
            Write::Replace(ResourceType::User, id) => users::replace(self, id, body, if_match).await,
        }
    }

    fn record(&self, event: Event) -> Record {
        let token = &self.caller.token;
        let actor = Actor::Connector { connector_id: token.connector_id, token_id: token.id };
        Record { at: self.now, actor, client_address: Some(self.caller.address), event }
    }

    /// Writes an event down, in the change's transaction.
    async fn audit(&mut self, event: Event) -> Result<(), StoreError> {
        let record = self.record(event);
        self.tx.audit(&record).await
    }
}

/// Where this service is.
pub(crate) fn base(app: &AppState) -> String {
    format!("{}/scim/v2", app.public_url().as_str().trim_end_matches('/'))
}

/// RFC 7644 section 3.14: whoever says which version it changes does not change another.
fn check_version(if_match: Option<&str>, version: &str) -> Result<(), ScimError> {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let matches =
        |wanted: &str| wanted.split(',').any(|tag| tag.trim() == "*" || strong(tag) == strong(version));
    if if_match.is_none_or(matches) {
        return Ok(());
    }
    Err(ScimError::new(StatusCode::PRECONDITION_FAILED, "the resource was changed since that version"))
}

/// A body that says of what it is must say it is of this.
fn check_schemas(of: ResourceType, body: &Map<String, Value>) -> Result<(), ScimError> {
    let Some((_, schemas)) = body.iter().find(|(name, _)| name.eq_ignore_ascii_case("schemas")) else {
        return Ok(());
    };
    let named = |urn: &Value| urn.as_str().is_some_and(|urn| urn.eq_ignore_ascii_case(of.urn()));
    if schemas.as_array().is_some_and(|all| all.iter().any(named)) {
        return Ok(());
    }
    Err(ScimError::value(format!("`schemas` must name {}", of.urn())))
}

fn list_response(total: u64, start: u32, resources: &[Value]) -> Answer {
    Answer::ok(json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    }))
}

/// The peer of a request; kept beside the token that it showed.
type Address = IpAddr;
