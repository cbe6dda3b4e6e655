//! What can go wrong in the server, as one list; `http::fault` turns it into answers.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use qhatu_schema::ErrorKind;

/// A fault of the server or of a request to it.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration does not fit.
    #[error("the configuration does not fit: {}", faults.join("; "))]
    Config {
        /// One sentence per fault.
        faults: Vec<String>,
    },
    /// An open address without a key.
    #[error(
        "serve.address is {address} and no key is configured: without a key the server listens on loopback only \
         (127.0.0.1 or ::1); set serve.keys or serve.key_file to listen elsewhere"
    )]
    OpenWithoutKey {
        /// The address asked for.
        address: IpAddr,
    },
    /// The key file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The port is taken or not allowed.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start the thread {name}: {source}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A queue is full.
    #[error("too many requests wait for {pool}")]
    Busy {
        /// Whose queue.
        pool: &'static str,
    },
    /// A task did not come to its end.
    #[error("a task of {pool} broke off")]
    Panicked {
        /// Whose task.
        pool: &'static str,
    },
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopped,
    /// The log is still being replayed.
    #[error("not ready: {done} of {all} events replayed")]
    NotReady {
        /// Events replayed.
        done: u64,
        /// Events in the log.
        all: u64,
    },
    /// Something asked for is not there.
    #[error("there is no {what} {id:?}")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its id, cut to 128 characters.
        id: String,
    },
    /// An argument that makes no sense.
    #[error("{message}")]
    Argument {
        /// What is wrong with it, with its value.
        message: String,
        /// What would do.
        hint: Option<String>,
    },
    /// Events could not be appended.
    #[error("events could not be stored: {0}")]
    Append(Arc<qhatu_store::StoreError>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] qhatu_store::StoreError),
    /// The live state could not be kept.
    #[error("cannot write the snapshot {}: {fault}", path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// Why.
        fault: String,
    },
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] qhatu_registry::RegistryError),
    /// A model's files do not fit.
    #[error("model {version}: {message}")]
    Model {
        /// Which version.
        version: String,
        /// What does not fit.
        message: String,
    },
    /// A model reads texts, and the text model that it was fitted with is not at hand.
    #[error("model {version} {message}")]
    TextModel {
        /// Which version.
        version: String,
        /// What it reads, and what is at hand.
        message: String,
    },
    /// No propensity model is champion.
    #[error("there is no propensity model that passed the gate yet")]
    NoPropensity,
    /// Nobody has looked yet whether there is one.
    #[error("not ready: {what} is being loaded")]
    Loading {
        /// What is loaded.
        what: &'static str,
    },
    /// The version that should answer cannot be loaded, and none of before is live.
    #[error("model {version} cannot be loaded; the server's log says why")]
    Unloadable {
        /// Which version.
        version: String,
    },
    /// The champion foretells something else than was asked.
    #[error("model {version} foretells {foretold:?}, not {asked}")]
    OtherPropensity {
        /// Which version.
        version: String,
        /// What it foretells.
        foretold: String,
        /// What was asked.
        asked: &'static str,
    },
    /// The shop's features are not those that a model was fitted on.
    #[error(
        "model {version} takes the feature {feature:?}, which the shop does not have, or has as something else"
    )]
    Outdated {
        /// Which version.
        version: String,
        /// The feature.
        feature: String,
    },
}

impl ServeError {
    /// An argument that makes no sense, with a hint.
    pub(crate) fn argument(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Argument { message: message.into(), hint: Some(hint.into()) }
    }

    /// Something that is not there.
    pub(crate) fn not_found(what: &'static str, id: &str) -> Self {
        Self::NotFound { what, id: id.chars().take(128).collect() }
    }

    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Config { .. } | Self::Argument { .. } | Self::OpenWithoutKey { .. } => {
                ErrorKind::InvalidArgument
            }
            Self::KeyFile { .. }
            | Self::Listen { .. }
            | Self::Thread { .. }
            | Self::Panicked { .. }
            | Self::Snapshot { .. } => ErrorKind::Internal,
            // The server's own state, not a caller's share of it, so 503 and not 429.
            Self::Busy { .. }
            | Self::Stopped
            | Self::NotReady { .. }
            | Self::Loading { .. }
            | Self::Unloadable { .. } => ErrorKind::Unavailable,
            Self::NotFound { .. } | Self::NoPropensity => ErrorKind::NotFound,
            Self::TextModel { .. } | Self::OtherPropensity { .. } | Self::Outdated { .. } => {
                ErrorKind::Conflict
            }
            Self::Append(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Registry(error) => error.kind(),
            Self::Model { .. } => ErrorKind::DataLoss,
        }
    }

    /// What the caller can do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Argument { hint, .. } => hint.as_deref(),
            Self::Busy { .. } | Self::Loading { .. } => Some("try again after the seconds of Retry-After"),
            Self::TextModel { .. } => Some(
                "set serve.text_model to the folder of the text model that it was fitted with, and start again",
            ),
            Self::NoPropensity => Some(
                "`qhatu propensity fit TABLE --target COLUMN --dir SHOP`, or `fit --shoppers DAYS --dir SHOP` while the \
                     server is stopped, makes one; the server finds it by itself",
            ),
            Self::OtherPropensity { .. } => Some(
                "GET /v1/users/{user_id}/propensity asks a model of `propensity fit --shoppers N`, POST /v1/propensity one \
                 of `propensity fit TABLE`",
            ),
            Self::Outdated { .. } => Some(
                "stop the server, and `qhatu propensity fit --shoppers DAYS --dir SHOP` fits one on what there is",
            ),
            Self::NotReady { .. } => Some("wait until /readyz answers 200"),
            _ => None,
        }
    }
}
