//! What can go wrong where things are kept.

use std::path::{Path, PathBuf};

use qhatu_schema::{ErrorKind, TableError};

/// A fault of the store, with the file it happened on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The database refused.
    #[error("the database {}: {source}", path.display())]
    Database {
        /// Its file.
        path: PathBuf,
        /// Its answer.
        source: rusqlite::Error,
    },
    /// Another process writes there.
    #[error("{} is in use by another qhatu; stop that one first, or use another folder", path.display())]
    Locked {
        /// What is locked.
        path: PathBuf,
    },
    /// A file is not what was written.
    #[error("{} is damaged: {fault}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: String,
    },
    /// Somebody changed the document meanwhile.
    #[error("the document {kind}/{key} was changed meanwhile: expected revision {expected}, found {found}")]
    Conflict {
        /// Kind of document.
        kind: String,
        /// Its key.
        key: String,
        /// The revision that was expected; 0 for none.
        expected: u64,
        /// The revision that is there; 0 for none.
        found: u64,
    },
    /// Columns that do not make a table.
    #[error("{}: {source}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: TableError,
    },
    /// The caller's function stopped a scan.
    #[error("{fault}")]
    Stopped {
        /// What it said.
        fault: String,
    },
    /// The writer has ended after a fault; the log must be opened anew.
    #[error("the event log {} has stopped after a fault: {fault}; restart to recover", path.display())]
    Ended {
        /// The log's folder.
        path: PathBuf,
        /// The fault that ended it.
        fault: String,
    },
}

impl StoreError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Damaged { .. } => ErrorKind::DataLoss,
            Self::Conflict { .. } => ErrorKind::Conflict,
            Self::Locked { .. } | Self::Ended { .. } => ErrorKind::Unavailable,
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                ErrorKind::ResourceExhausted
            }
            Self::Io { .. } | Self::Database { .. } | Self::Table { .. } | Self::Stopped { .. } => {
                ErrorKind::Internal
            }
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
