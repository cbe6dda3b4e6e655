//! For those who run the server: is it alive, is it ready, what does it do.

use std::sync::Arc;

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use qhatu_schema::ErrorKind;

use super::App;
use super::fault::{Fault, FaultBody, Faults};
use crate::engine::Readiness;

/// Is the process alive?
#[utoipa::path(
    get, path = "/livez", tag = "Operation", security(()),
    responses((status = 200, description = "It is", body = String, content_type = "text/plain"), Faults)
)]
pub(crate) async fn livez() -> &'static str {
    "alive\n"
}

/// Does it answer?
///
/// 503 until the log is replayed and the model is warm, and while the model that should answer cannot be
/// loaded. A shop that has no model yet is answered by the built-in popularity; `model_version` says so.
#[utoipa::path(
    get, path = "/readyz", tag = "Operation", security(()),
    responses(
        (status = 200, description = "It does", body = Readiness),
        (status = 503, description = "Not yet, or no more", body = FaultBody<'static>),
        Faults
    )
)]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Response {
    let readiness = app.engine.readiness();
    if readiness.ready && !app.draining() {
        return JsonAnswer(readiness).into_response();
    }
    let message = match (&readiness.fault, app.draining()) {
        (_, true) => "not ready: the server is stopping".to_owned(),
        (Some(_), _) if app.engine.check_ready().is_err() => {
            "not ready: the replay broke off; the log says why".to_owned()
        }
        (Some(fault), _) => format!("not ready: {fault}; the log says why, and popularity answers meanwhile"),
        (None, _) => format!("not ready: {} of {} events replayed", readiness.replayed, readiness.events),
    };
    Fault::new(ErrorKind::Unavailable, message).into_response()
}

/// Figures for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "Operation", security(()),
    responses((status = 200, description = "Text format 0.0.4", body = String, content_type = "text/plain"), Faults)
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    match app.metrics.text(&app.engine) {
        Ok(text) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "figures could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
