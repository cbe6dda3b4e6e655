//! Around every request: an id, a time limit, figures, one shape for every fault, and the headers
//! that keep a browser from doing anything but what the page needs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use qhatu_schema::ErrorKind;
use ulid::Ulid;

use super::App;
use super::fault::{Fault, FaultBody};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The outermost layer.
pub(crate) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let mut response = answer(&app, request, next).await;
    let fault = response.extensions_mut().remove::<Fault>().or_else(|| foreign_fault(&response));
    if let Some(fault) = fault {
        response = with_body(response, &fault, &id);
    }
    let route = route.unwrap_or_else(|| "none".to_owned());
    let elapsed = begun.elapsed();
    app.metrics.request(&method, &route, response.status(), elapsed);
    tracing::debug!(id, %method, route, status = response.status().as_u16(), elapsed = ?elapsed, "answered");
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn answer(app: &App, request: Request, next: Next) -> Response {
    if let Err(fault) = check_host(app, request.headers()) {
        return fault.into_response();
    }
    let limit = Duration::from_secs(app.config.request_timeout_seconds);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("no answer within {} seconds", limit.as_secs());
            Fault::new(ErrorKind::Unavailable, message).hint("try again later").into_response()
        }
    }
}

/// Without a key the server is for this machine alone. A web page of elsewhere can make a browser on
/// this machine ask for it under a name of its own ("DNS rebinding"), which the header `Host` gives away.
fn check_host(app: &App, headers: &HeaderMap) -> Result<(), Fault> {
    if app.guard.has_keys() {
        return Ok(());
    }
    let Some(host) = headers.get(header::HOST) else { return Ok(()) };
    let host = host.to_str().unwrap_or("?");
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let is_here = name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_here {
        return Ok(());
    }
    let name: String = name.chars().take(64).collect();
    Err(Fault::new(ErrorKind::PermissionDenied, format!("host {name:?} is not this machine"))
        .hint("ask for 127.0.0.1 or localhost, or set serve.keys to be reached by other names"))
}

/// The caller's id when it is plain, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let plain = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(plain);
    given.map_or_else(|| Ulid::generate().to_string(), str::to_owned)
}

/// A fault that neither a handler nor an extractor of ours made.
fn foreign_fault(response: &Response) -> Option<Fault> {
    let status = response.status();
    (status.is_client_error() || status.is_server_error()).then(|| Fault::of_status(status))
}

fn with_body(response: Response, fault: &Fault, id: &str) -> Response {
    let (mut parts, _) = response.into_parts();
    let body =
        FaultBody { code: fault.code, message: &fault.message, hint: fault.hint.as_deref(), request_id: id };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = serde_json::to_vec(&body).expect("four texts are always JSON");
    Response::from_parts(parts, Body::from(body))
}

/// For a path that is nowhere.
pub(crate) async fn not_found(request: Request) -> Fault {
    let path: String = request.uri().path().chars().take(128).collect();
    Fault::new(ErrorKind::NotFound, format!("there is nothing at {path:?}"))
        .hint("see /docs for what there is")
}

/// For a path that is there, but not for this method.
pub(crate) async fn method_not_allowed(request: Request) -> Fault {
    let message = format!("{} is not for {}", request.uri().path(), request.method());
    Fault::http(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        .hint("the header Allow and /docs say which methods are")
}
