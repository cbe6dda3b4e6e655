//! What can be wrong with texts, vocabularies and checkpoints.

use std::path::{Path, PathBuf};

/// Why a text model cannot be read, made or used.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// A file that cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A file that is larger than anything of its kind is.
    #[error("{} holds {bytes} bytes; at most {most} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The bound.
        most: u64,
    },
    /// A file that holds something else than it should.
    #[error("{file}: {fault}")]
    File {
        /// Which file.
        file: String,
        /// What does not hold, and what to do.
        fault: String,
    },
    /// A vocabulary that cannot be used.
    #[error("vocabulary: {fault}")]
    Vocabulary {
        /// What does not hold.
        fault: String,
    },
    /// A setting outside its range.
    #[error("{setting} is {value}: {fault}")]
    Setting {
        /// Its name, as in `config.json`.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        fault: String,
    },
    /// A tensor of a checkpoint that is missing or of another shape or kind.
    #[error("tensor {name}: {fault}")]
    Tensor {
        /// Its name in the checkpoint.
        name: String,
        /// What does not hold.
        fault: String,
    },
}

impl TextError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn file(file: impl Into<String>, fault: impl ToString) -> Self {
        Self::File { file: file.into(), fault: fault.to_string() }
    }

    pub(crate) fn vocabulary(fault: impl ToString) -> Self {
        Self::Vocabulary { fault: fault.to_string() }
    }

    pub(crate) fn tensor(name: impl Into<String>, fault: impl ToString) -> Self {
        Self::Tensor { name: name.into(), fault: fault.to_string() }
    }
}
