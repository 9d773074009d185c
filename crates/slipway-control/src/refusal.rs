//! An answer of the API that is not a success: an [`ApiError`] with the HTTP status that goes with its code.

use crate::variable::VariablesError;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use slipway_store::StoreError;
use slipway_types::{ApiError, Blame};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) error: ApiError,
    /// When the same request may succeed.
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let blame = if status.is_server_error() { Blame::Platform } else { Blame::User };
        Self { status, error: ApiError::new(code, blame, message), retry_after: None }
    }

    pub(crate) fn bad_request(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn not_found(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(crate) fn conflict(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    pub(crate) fn unusable(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    pub(crate) fn too_large(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, code, message)
    }

    pub(crate) fn unavailable(code: &str, message: impl Into<String>) -> Self {
        let mut refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        refusal.error.retry = true;
        refusal
    }

    /// A fault of ours. The cause goes to the server's log; the caller is told where to look.
    pub(crate) fn internal(what: &str, cause: &dyn std::error::Error) -> Self {
        tracing::error!(error = cause_chain(cause), "{what}");
        let mut refusal = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", what);
        refusal.error.retry = true;
        refusal.hint("the cause is in the server's log")
    }

    #[must_use]
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.error = self.error.hint(hint);
        self
    }
}

/// An error and its causes in one line.
pub(crate) fn cause_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Missing { .. } => Self::not_found("gone", error.to_string()),
            StoreError::Stale { .. } | StoreError::Contended { .. } => {
                let mut refusal = Self::conflict("changed-meanwhile", error.to_string());
                refusal.error.retry = true;
                refusal
            }
            _ => Self::internal("the database failed", &error),
        }
    }
}

impl From<VariablesError> for Refusal {
    fn from(error: VariablesError) -> Self {
        Self::internal("the service's variables can't be used", &error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.error)).into_response();
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        response
    }
}
