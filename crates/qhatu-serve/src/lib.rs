//! Answers over HTTP: events in, recommendations out, the console.
//!
//! [`Engine`] knows everything and no HTTP: it folds the event log into live state, holds the live
//! models, makes lists and says who will buy. The `http` module puts it on the wire. Connections are carried
//! by tokio's threads; scoring runs on a fixed pool with a bounded queue, writes to the store on another one,
//! rows that a request brings on a third, so that none can hold up another; a model is loaded by a thread of
//! its own.

mod config;
mod engine;
mod error;
mod http;
mod metric;
mod pool;
mod registry;

use std::net::SocketAddr;
use std::sync::Arc;

pub use config::{Clock, Placement, Secret, ServeConfig, Source};
pub use engine::{
    Answer, AnswerItem, Because, Engine, FALLBACK, Filter, Foretold, Inputs, LoadedModel, LoadedPropensity,
    ModelSource, Parts, Price, PropensityFault, PropensityModel, PropensitySource, Readiness, ReasonView,
    Reloaded, Request, Sentence, TableColumn,
};
pub use error::ServeError;
pub use registry::RegistrySource;

/// Serves until `shutdown` is done; then drains, stores what waits and returns. `listening` is told the
/// address, which matters where the port is 0.
///
/// # Errors
/// When the configuration asks for an open address without a key, the port is taken, or serving fails.
pub async fn serve(
    engine: Arc<Engine>,
    config: ServeConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
    listening: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    http::Server::new(engine, config)?.run(shutdown, listening).await
}

/// The router alone, for callers who bring their own listener (and for tests).
///
/// # Errors
/// When the configuration asks for an open address without a key.
pub fn router(engine: Arc<Engine>, config: ServeConfig) -> Result<axum::Router, ServeError> {
    Ok(http::Server::new(engine, config)?.router)
}

/// Done when the process is asked to end: SIGTERM, or an interrupt from the keyboard.
///
/// # Errors
/// When the system does not let this process listen for signals.
pub async fn asked_to_end() -> Result<(), std::io::Error> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted,
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
