//! Who may ask. With a key every route under `/v1` asks for it, as `Authorization: Bearer KEY`; the
//! pages, the API's description, health and figures show no person and stay open. Without a key
//! nobody asks, and the server listens on loopback only.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use qhatu_schema::ErrorKind;

use super::App;
use super::fault::Fault;
use crate::config::{Secret, ServeConfig};
use crate::error::ServeError;

/// The keys.
pub(crate) struct Guard {
    keys: Vec<Secret>,
}

impl Guard {
    /// Reads the keys of the configuration and of its key file, and refuses an open address without one.
    pub(crate) fn new(config: &ServeConfig) -> Result<Self, ServeError> {
        let mut keys = config.keys.clone();
        if let Some(path) = &config.key_file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ServeError::KeyFile { path: path.clone(), source })?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            keys.extend(lines.map(Secret::new));
        }
        let checked = ServeConfig { keys, ..config.clone() };
        let faults = checked.faults();
        if !faults.is_empty() {
            return Err(ServeError::Config { faults });
        }
        if checked.keys.is_empty() && !config.address.is_loopback() {
            return Err(ServeError::OpenWithoutKey { address: config.address });
        }
        Ok(Self { keys: checked.keys })
    }

    /// Whether callers must show a key.
    pub(crate) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, key)) = shown.and_then(|value| value.split_once(' ')) else { return false };
        // All keys are compared, whichever fits, so that the time says nothing.
        let fits = self.keys.iter().fold(false, |fits, known| fits | known.matches(key.trim()));
        scheme.eq_ignore_ascii_case("bearer") && fits
    }
}

/// The layer of the guarded routes.
pub(crate) async fn ask_for_key(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if !app.guard.has_keys() || app.guard.admits(request.headers()) {
        return next.run(request).await;
    }
    let message = match request.headers().contains_key(header::AUTHORIZATION) {
        true => "the key is not one of this server's",
        false => "this route asks for a key",
    };
    Fault::new(ErrorKind::Unauthenticated, message).hint("send Authorization: Bearer KEY").into_response()
}
