//! What can go wrong in the registry.

use std::path::{Path, PathBuf};

use qhatu_schema::ErrorKind;
use qhatu_store::StoreError;

/// A fault of the registry, with what, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The metadata store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// What is asked for is not there.
    #[error("there is no {what} {name:?}; `qhatu models list` shows what there is")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A model or file name that cannot be a folder's or file's name.
    #[error(
        "{name:?} cannot be a name here: use letters, digits, '-', '_' and '.', at most 64, not starting with '.'"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A file is not what was registered.
    #[error("{} is damaged: {fault}; restore it from a copy, or roll back to another version", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// A manifest of another program or of a later format.
    #[error("{} is not for this qhatu: {fault}", path.display())]
    Foreign {
        /// The manifest.
        path: PathBuf,
        /// What was found and what was expected.
        fault: String,
    },
    /// A stored document is not of the shape it should have.
    #[error("the registry's document {kind}/{key} cannot be read: {fault}")]
    Document {
        /// Kind of document.
        kind: &'static str,
        /// Its key.
        key: String,
        /// What is wrong.
        fault: String,
    },
    /// Rollback where there is nothing to return to.
    #[error("{model:?} has no earlier champion to return to")]
    NoEarlier {
        /// The model.
        model: String,
    },
    /// Somebody else moved the alias meanwhile.
    #[error("the alias {alias:?} of {model:?} was moved by someone else meanwhile; look again and retry")]
    Moved {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
    },
}

impl RegistryError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Io { .. } => ErrorKind::Internal,
            Self::NotFound { .. } | Self::NoEarlier { .. } => ErrorKind::NotFound,
            Self::Name { .. } => ErrorKind::InvalidArgument,
            Self::Damaged { .. } | Self::Foreign { .. } | Self::Document { .. } => ErrorKind::DataLoss,
            Self::Moved { .. } => ErrorKind::Conflict,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
