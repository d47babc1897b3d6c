//! The pages that people see: sign in, also by an identity provider, and set up. Server-rendered, usable
//! without script, with a keyboard and a screen reader; one script makes passkeys
//! possible, another takes the code of an invitation out of the address.
//!
//! A page hands the browser what it needs back as one sealed value ([`sealed`]), so nothing is stored for people who
//! only look. Sessions are not opened here: a good sign-in ends in an authorization code for the program that asked.

mod account;
mod arrival;
mod authorize;
mod headers;
mod join;
mod passkey;
mod provider;
mod recovery;
mod sealed;
mod second_factor;
mod set_up;

use std::net::{IpAddr, SocketAddr};

use askama::Template;
use axum::{
    Router,
    extract::{ConnectInfo, FromRequestParts},
    middleware,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use http::{HeaderValue, StatusCode, header, request::Parts};

use crate::{AppState, error::ApiError};

/// The routes of the pages and what they load.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .merge(account::routes())
        .merge(authorize::routes())
        .merge(passkey::routes())
        .merge(provider::routes())
        .merge(second_factor::routes())
        .merge(set_up::routes())
        .layer(middleware::from_fn(headers::secure))
        .route("/assets/usher.css", get(async || asset("text/css; charset=utf-8", STYLES)))
        .route("/assets/set-up.js", get(async || asset("text/javascript; charset=utf-8", SET_UP_SCRIPT)))
        .route("/assets/passkey.js", get(async || asset("text/javascript; charset=utf-8", PASSKEY_SCRIPT)))
}

const STYLES: &str = include_str!("../templates/usher.css");
const PASSKEY_SCRIPT: &str = include_str!("../templates/passkey.js");

const SET_UP_SCRIPT: &str = include_str!("../templates/set-up.js");

fn asset(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text)
}

/// The TCP peer.
pub(crate) struct Peer(pub(crate) IpAddr);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, PageError> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        peer.map(|ConnectInfo(address)| Self(address.ip().to_canonical()))
            .ok_or_else(|| ApiError::internal("the server did not say who the peer is").into())
    }
}

/// Something went wrong that is not the person's fault; logged, and said without details.
pub(crate) struct PageError(ApiError);

impl<E: Into<ApiError>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let text = match self.0.retry_after() {
            Some(seconds) => format!("Too many attempts. Wait {seconds} seconds, go back and try again."),
            None => "The broker could not do this just now. Nothing was changed. Try again in a moment."
                .to_owned(),
        };
        // The answer for programs also writes the log line; its status and headers stay.
        let mut response = self.0.into_response();
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        let page = Message { team: "Usher", heading: "Not just now", text: &text, command: None };
        let html = page.render().unwrap_or_else(|_error| text.clone());
        let (parts, _json) = response.into_parts();
        Response::from_parts(parts, html.into())
    }
}

/// A page with one thing to say.
#[derive(Debug, Template)]
#[template(path = "message.html")]
struct Message<'a> {
    team: &'a str,
    heading: &'a str,
    text: &'a str,
    command: Option<&'a str>,
}

/// The answer to people on an address that has no page, or that only takes forms.
pub(crate) fn nothing_here(app: &AppState, status: StatusCode) -> Response {
    let message = Message {
        team: app.team().as_str(),
        heading: "Nothing here",
        text: "There is no page at this address. To sign in, start in your terminal:",
        command: Some("usher login"),
    };
    let mut response = render(status, &message).unwrap_or_else(PageError::into_response);
    headers::protect(&mut response);
    response
}

/// Renders a page.
fn render(status: StatusCode, page: &impl Template) -> Result<Response, PageError> {
    let html = page.render().map_err(ApiError::internal)?;
    Ok((status, Html(html)).into_response())
}

/// Renders a page that loads the script for passkeys where there can be any.
fn render_with_script(
    app: &AppState,
    status: StatusCode,
    page: &impl Template,
) -> Result<Response, PageError> {
    let mut response = render(status, page)?;
    if app.relying_party().is_some() {
        response.extensions_mut().insert(headers::Script);
    }
    Ok(response)
}
