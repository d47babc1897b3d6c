//! All routes of the broker.

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use usher_api::ErrorCode;

use crate::{
    AppState, account, admin, connections, enrollment,
    error::ApiError,
    explain, fleet, pages,
    request::{self, MAX_BODY},
    scim, suppose, x509,
};

/// Everything that the broker answers.
pub fn router(app: AppState) -> Router {
    let api = Router::new()
        .merge(account::routes())
        .merge(admin::routes())
        .merge(connections::routes())
        .merge(enrollment::routes())
        .merge(explain::routes())
        .merge(suppose::routes())
        .merge(fleet::routes())
        .merge(x509::routes())
        .route_layer(middleware::from_fn_with_state(app.clone(), request::pipeline));
    Router::new()
        .merge(api)
        .merge(pages::routes())
        .merge(scim::routes())
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn_with_state(app.clone(), request::frame))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
}

/// Ready is: not stopping, and the database answers.
async fn ready(State(app): State<AppState>) -> Response {
    let answers = match app.store().read().await {
        Ok(mut reader) => reader.epoch().await.is_ok(),
        Err(_) => false,
    };
    if *app.stopping().borrow() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
    } else if answers {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response()
    }
}

/// Programs get JSON, people a page.
async fn unknown_path(State(app): State<AppState>, request: Request) -> Response {
    let path = request.uri().path();
    if !is_api(path) {
        return pages::nothing_here(&app, StatusCode::NOT_FOUND);
    }
    let path: String = path.chars().take(64).collect();
    ApiError::new(ErrorCode::NotFound, format!("there is no `{path}` here")).into_response()
}

async fn unknown_method(State(app): State<AppState>, request: Request) -> Response {
    if is_api(request.uri().path()) {
        request::method_not_allowed(request.method()).into_response()
    } else {
        pages::nothing_here(&app, StatusCode::METHOD_NOT_ALLOWED)
    }
}

/// Versions that are not there yet are asked for by programs too.
fn is_api(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    first.strip_prefix('v').is_some_and(|version| version.parse::<u16>().is_ok())
}
