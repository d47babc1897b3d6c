//! What handlers answer with.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;

/// A good answer: a status and, but for 204, a JSON body.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    status: StatusCode,
    body: Option<T>,
    once: bool,
}

impl<T> Answer<T> {
    /// 200 with a body.
    pub(crate) fn ok(body: T) -> Self {
        Self { status: StatusCode::OK, body: Some(body), once: false }
    }

    /// 201 with a body.
    pub(crate) fn created(body: T) -> Self {
        Self { status: StatusCode::CREATED, body: Some(body), once: false }
    }

    /// The body holds a secret that is shown once: it is not kept, a repeated request gets `already_done`.
    #[must_use]
    pub(crate) fn shown_once(mut self) -> Self {
        self.once = true;
        self
    }
}

impl Answer<()> {
    /// 204.
    pub(crate) fn empty() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: None, once: false }
    }
}

/// Left on an answer whose body must not be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShownOnce;

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Some(body) => (self.status, axum::Json(body)).into_response(),
            None => self.status.into_response(),
        };
        if self.once {
            response.extensions_mut().insert(ShownOnce);
        }
        response
    }
}
