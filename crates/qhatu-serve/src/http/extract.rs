//! Reading requests: axum's extractors with faults in our shape.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use qhatu_schema::ErrorKind;
use serde::de::DeserializeOwned;

use super::fault::Fault;

/// A JSON body as bytes, with its content type checked.
pub(crate) struct JsonBytes(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = Fault;
    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        if !is_json(request.headers()) {
            let message = "the body is not declared as JSON";
            return Err(Fault::http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
                .hint("send Content-Type: application/json"));
        }
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Fault::new(ErrorKind::TooLarge, "the body is larger than serve.max_body_bytes")
                    .hint("send smaller batches"))
            }
            Err(_) => Err(malformed("the body broke off")),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn malformed(message: impl Into<String>) -> Fault {
    Fault::http(StatusCode::BAD_REQUEST, "malformed", message)
}

/// A JSON body read into `T`.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Fault;
    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        let JsonBytes(bytes) = JsonBytes::from_request(request, state).await?;
        read_json(&bytes).map(Self)
    }
}

/// Reads JSON: `malformed` when it is none, `invalid_argument` when it says what makes no sense.
pub(crate) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Fault::new(ErrorKind::InvalidArgument, cut(&error.to_string())),
        _ => malformed(format!("the body is not JSON: {}", cut(&error.to_string()))),
    })
}

fn cut(text: &str) -> String {
    text.chars().take(300).collect()
}

/// The query as names and values in their order; a name may come twice.
pub(crate) struct Query(pub(crate) Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Fault;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        match pairs {
            Ok(axum::extract::Query(pairs)) => Ok(Self(pairs)),
            Err(error) => Err(malformed(format!("the query cannot be read: {}", cut(&error.body_text())))),
        }
    }
}

impl Query {
    /// The value of a name as `T`; the first where it comes twice.
    pub(crate) fn take<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Fault> {
        let Some((_, text)) = self.0.iter().find(|(known, _)| known == name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            let text: String = text.chars().take(64).collect();
            Fault::new(ErrorKind::InvalidArgument, format!("{name} is {text:?}"))
                .hint("see /docs for what it takes")
        })
    }

    /// Refuses names that the route does not know.
    pub(crate) fn only(&self, names: &[&str]) -> Result<(), Fault> {
        match self.0.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                Err(Fault::new(ErrorKind::InvalidArgument, format!("there is no parameter {name:?}"))
                    .hint(format!("one of {}", names.join(", "))))
            }
        }
    }
}

/// The one variable of a path.
pub(crate) struct Path(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Path {
    type Rejection = Fault;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        match axum::extract::Path::<String>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(text)) => Ok(Self(text)),
            Err(_) => Err(malformed("the path is not UTF-8")),
        }
    }
}
