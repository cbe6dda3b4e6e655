//! What goes wrong, as HTTP tells it: the one place where an [`ErrorKind`] becomes a status. Every
//! answer of 400 and above has the same body, [`Fault`], whoever made it: a handler, an extractor or
//! the router. The body is written by `http::request`, which knows the request's id.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use qhatu_schema::ErrorKind;
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::error::ServeError;

/// The body of every answer of 400 and above.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct FaultBody<'a> {
    /// Stable code to decide by.
    #[schema(example = "invalid_argument")]
    pub(crate) code: &'a str,
    /// What went wrong, with the value that did.
    pub(crate) message: &'a str,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<&'a str>,
    /// The id of this request, also in the header `x-request-id` and in the server's log.
    pub(crate) request_id: &'a str,
}

/// An answer of 400 and above before it has its request id.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Fault {
    /// A fault of a kind, with the kind's code and status.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { status: status(kind), code: kind.code(), message: message.into(), hint: None }
    }

    /// A fault that HTTP has a status of its own for.
    pub(crate) fn http(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), hint: None }
    }

    /// With advice.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The fault behind a status that somebody else answered with.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let code = match status.as_u16() {
            400 => "malformed",
            401 => "unauthenticated",
            403 => "permission_denied",
            404 => "not_found",
            405 => "method_not_allowed",
            413 => "too_large",
            415 => "unsupported_media_type",
            422 => "invalid_argument",
            429 => "resource_exhausted",
            503 => "unavailable",
            _ if status.is_client_error() => "invalid_argument",
            _ => "internal",
        };
        let message = status.canonical_reason().unwrap_or("the request failed").to_lowercase();
        Self::http(status, code, message)
    }
}

/// The one map from kinds to statuses.
fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidArgument => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::DataLoss | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<ServeError> for Fault {
    fn from(error: ServeError) -> Self {
        let kind = error.kind();
        let hint = error.hint().map(str::to_owned);
        if matches!(kind, ErrorKind::Internal | ErrorKind::DataLoss) {
            // Paths and the store's words are for the log, not for the caller.
            tracing::error!(%error, "a request failed by a fault of the server");
            return Self::new(kind, "the server failed to answer; its log says why under this request_id");
        }
        Self { hint, ..Self::new(kind, error.to_string()) }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// What any route may answer beside its own answers.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only the document is made from it")]
pub(crate) enum Faults {
    /// The body or the query cannot be read, or the header `Host` is foreign.
    #[response(status = "4XX")]
    Caller(#[to_schema] FaultBody<'static>),
    /// The server is not ready, is stopping, or failed.
    #[response(status = "5XX")]
    Server(#[to_schema] FaultBody<'static>),
}
