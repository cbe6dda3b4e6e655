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
    /// Events could not be written: none of them was acknowledged, none of them is there.
    #[error("the event log {} could not write: {fault}; nothing of this was kept, send it again{}", path.display(), advice(*kind))]
    NotWritten {
        /// The log's file.
        path: PathBuf,
        /// The database's answer.
        fault: String,
        /// Whose fault it is.
        kind: ErrorKind,
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
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                ErrorKind::PermissionDenied
            }
            Self::Database { source, .. } => database_kind(source),
            Self::NotWritten { kind, .. } => *kind,
            Self::Io { .. } | Self::Table { .. } | Self::Stopped { .. } => ErrorKind::Internal,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Whose fault an answer of the database is.
pub(crate) fn database_kind(error: &rusqlite::Error) -> ErrorKind {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase, PermissionDenied,
        ReadOnly,
    };
    match error.sqlite_error_code() {
        Some(DiskFull) => ErrorKind::ResourceExhausted,
        Some(DatabaseCorrupt | NotADatabase) => ErrorKind::DataLoss,
        Some(ReadOnly | PermissionDenied | CannotOpen) => ErrorKind::PermissionDenied,
        Some(DatabaseBusy | DatabaseLocked) => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

/// What to do about a fault of that kind, as the end of a sentence.
fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ResourceExhausted => " when there is room on the disk",
        ErrorKind::PermissionDenied => " when this user may write there",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_damaged_file_are_told_apart() {
        let kind = |code| {
            let source = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            StoreError::Database { path: PathBuf::from("x"), source }.kind()
        };
        assert_eq!(kind(rusqlite::ffi::SQLITE_FULL), ErrorKind::ResourceExhausted);
        assert_eq!(kind(rusqlite::ffi::SQLITE_CORRUPT), ErrorKind::DataLoss);
        assert_eq!(kind(rusqlite::ffi::SQLITE_NOTADB), ErrorKind::DataLoss);
        assert_eq!(kind(rusqlite::ffi::SQLITE_READONLY), ErrorKind::PermissionDenied);
        assert_eq!(kind(rusqlite::ffi::SQLITE_IOERR_FSYNC), ErrorKind::Internal);
    }
}
