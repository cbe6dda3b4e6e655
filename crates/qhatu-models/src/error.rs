//! What can go wrong with a model.

use std::path::PathBuf;

use qhatu_nn::linalg::NotPositiveDefinite;
use qhatu_nn::tensor_file::TensorFileError;

/// A fault of fitting, saving or loading.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] TensorFileError),
    /// The file holds a model that this program does not know.
    #[error("the file holds a model {name:?}, which this version of qhatu does not know")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// The file's parts do not fit together, or not the catalogue.
    #[error("model {model}: {fault}")]
    Misfit {
        /// The model.
        model: &'static str,
        /// What does not fit.
        fault: String,
    },
    /// A setting that makes no sense.
    #[error("model {model}: {key} = {value}: {hint}")]
    Setting {
        /// The model.
        model: &'static str,
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would make sense.
        hint: &'static str,
    },
    /// A checkpoint cannot be written or gone on from.
    #[error("model {model}: checkpoint {}: {fault}; {hint}", path.display())]
    Checkpoint {
        /// The model.
        model: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: String,
        /// What to do.
        hint: &'static str,
    },
    /// The training was told to stop.
    #[error("model {model}: training was stopped; it goes on from its last whole epoch when started again")]
    Cancelled {
        /// The model.
        model: &'static str,
    },
    /// The loss is no number any more.
    #[error("model {model}: the loss is no number in epoch {epoch}; a smaller learning_rate keeps it one")]
    Diverged {
        /// The model.
        model: &'static str,
        /// The epoch, from 1.
        epoch: u32,
    },
    /// The shop's features cannot be told.
    #[error("features of the fold: {fault}")]
    Fold {
        /// What is wrong.
        fault: String,
    },
    /// The normal equations cannot be solved.
    #[error("the least squares cannot be solved: {0}")]
    Singular(#[from] NotPositiveDefinite),
    /// The catalogue is too large for this model.
    #[error(
        "model {model} takes at most {limit} items, the catalogue has {items}; take it out of [train] models"
    )]
    TooManyItems {
        /// The model.
        model: &'static str,
        /// What it takes.
        limit: usize,
        /// What there is.
        items: usize,
    },
}

pub(crate) fn misfit(model: &'static str, fault: impl ToString) -> ModelError {
    ModelError::Misfit { model, fault: fault.to_string() }
}
