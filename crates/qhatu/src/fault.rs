//! What ends a command: any crate's error, said once, in full.

use std::path::{Path, PathBuf};

use crate::config::ConfigError;

/// A fault of a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] qhatu_store::StoreError),
    #[error(transparent)]
    Ingest(#[from] qhatu_ingest::IngestError),
    #[error(transparent)]
    Features(#[from] qhatu_features::FeatureError),
    #[error(transparent)]
    Train(#[from] qhatu_train::TrainError),
    #[error(transparent)]
    Registry(#[from] qhatu_registry::RegistryError),
    #[error(transparent)]
    Text(#[from] qhatu_text::TextError),
    #[error(transparent)]
    Serve(#[from] qhatu_serve::ServeError),
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    /// Something that this program says itself.
    #[error("{0}")]
    Said(String),
}

impl Fault {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Prints a fault to standard error.
#[expect(clippy::print_stderr, reason = "the one place where a command's fault is said")]
pub(crate) fn show(fault: &Fault) {
    eprintln!("error: {fault}");
}
