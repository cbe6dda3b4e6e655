//! What can go wrong between the lake and a judged artifact.

use std::path::PathBuf;

use qhatu_eval::{ClassificationError, JudgeError};
use qhatu_features::PreparationError;
use qhatu_models::ModelError;
use qhatu_registry::RegistryError;
use qhatu_schema::ErrorKind;
use qhatu_store::StoreError;

use crate::text_pairs::Looked;

/// A fault of training or judging.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Reading the lake or writing a file failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A model could not be fitted, saved or loaded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A model's lists cannot be judged.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// Nothing to learn from.
    #[error(
        "there is no paid purchase of a known shopper to learn from; bring events in with `qhatu ingest`"
    )]
    NoPurchases,
    /// No text to learn from.
    #[error(
        "the shop has no text: neither a title or a description in its catalogue nor a search with a query in its lake; \
         bring products and events in with `qhatu ingest`, or give a file of texts"
    )]
    NoTexts,
    /// No texts that belong together.
    #[error(
        "the shop has no pair of texts ({wanted}). A query goes with what was clicked, put into the cart or viewed by the same \
         shopper or visit within 30 minutes, a product with the next one within 30 minutes or in the next order; there are \
         {} searches, and {} views, clicks, carts and paid purchases of products with a title, {} of products without one: \
         bring events and titles in with `qhatu ingest`, or give a file of pairs",
        looked.searches,
        looked.titled,
        looked.untitled
    )]
    NoPairs {
        /// The kinds of pairs that were wanted.
        wanted: String,
        /// What there was.
        looked: Looked,
    },
    /// A model of texts without texts.
    #[error(
        "text_neighbours needs vectors of the items' titles; name a text model's folder in [train.text_neighbours] model"
    )]
    NoItemVectors,
    /// The data does not reach back far enough for the split.
    #[error(
        "{test_days} days are to be tested, but only {days} days of purchases lie before them; \
         lower [train] test_days or bring in more history"
    )]
    TooShort {
        /// Days of the test window.
        test_days: u32,
        /// Days before it.
        days: i64,
    },
    /// Nobody to judge with.
    #[error(
        "no shopper with a history bought anything in the test window that begins {from}; nothing can be judged"
    )]
    NobodyToJudge {
        /// First day of the window.
        from: String,
    },
    /// A model name that does not exist.
    #[error("there is no model {name:?}; there are {known}")]
    UnknownModel {
        /// The name.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// A setting that makes no sense.
    #[error("[train] {key} = {value}: {hint}")]
    Setting {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would make sense.
        hint: &'static str,
    },
    /// A model's configuration cannot be read.
    #[error("[train.{model}] {fault}")]
    ModelConfig {
        /// The model.
        model: String,
        /// What is wrong.
        fault: String,
    },
    /// A file of an earlier, interrupted training cannot be used.
    #[error("{}: {fault}; remove it to start this model anew", path.display())]
    Work {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// Rows cannot be prepared for a propensity model.
    #[error(transparent)]
    Preparation(#[from] PreparationError),
    /// A propensity model's probabilities cannot be judged.
    #[error(transparent)]
    Classification(#[from] ClassificationError),
    /// A setting of a propensity model that makes no sense.
    #[error("propensity: {key} = {value}: {hint}")]
    Propensity {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would make sense.
        hint: &'static str,
    },
    /// A column that is named and not there.
    #[error("there is no column {name:?}; there are {known}")]
    NoColumn {
        /// Its name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A target that is neither yes nor no.
    #[error(
        "row {row} of the target {name:?} is {value:?}; yes is 1, true, yes or sí, no is 0, false or no, and a gap \
         says nothing"
    )]
    Target {
        /// The column.
        name: String,
        /// The row, from 1.
        row: usize,
        /// What stands there.
        value: String,
    },
    /// A column of texts that was not read.
    #[error(
        "the model reads the texts of column {name:?}, and they were not read: the table must have it, and a text model's \
         folder must be named"
    )]
    NoText {
        /// Its name.
        name: String,
    },
    /// Texts read by another text model than in training.
    #[error(
        "the model was fitted with another text model (fingerprint {own:.16}) than this one (fingerprint {given:.16}): name \
         the folder that it was fitted with"
    )]
    TextModel {
        /// Fingerprint of the one in training.
        own: String,
        /// Fingerprint of the one at hand.
        given: String,
    },
    /// Too few rows of one label.
    #[error(
        "{positives} of {rows} rows are a yes; each of the {folds} folds needs at least one yes and one no: \
         bring more rows or fewer folds"
    )]
    FewLabels {
        /// How many are a yes.
        positives: usize,
        /// Of how many.
        rows: usize,
        /// The folds asked for.
        folds: usize,
    },
    /// A window in which everybody or nobody bought.
    #[error(
        "window {window}: {positives} of {rows} shoppers known at its beginning bought in it; each window needs some of \
         both: take fewer windows or a longer horizon"
    )]
    Window {
        /// Which, from 1, the oldest.
        window: u32,
        /// How many bought.
        positives: usize,
        /// Of how many.
        rows: usize,
    },
    /// A log that does not reach back far enough.
    #[error(
        "{windows} windows of {horizon} days need events from before them, but the log has {days} days: take fewer or shorter \
         windows, or bring in more history"
    )]
    FewDays {
        /// Days of a window.
        horizon: u32,
        /// How many.
        windows: u32,
        /// Days from the first event to the last.
        days: i64,
    },
    /// A table with no column to learn from.
    #[error("no column is left to learn from")]
    NoFeatures,
    /// The files of a propensity model do not make one.
    #[error("the propensity model cannot be used: {fault}")]
    Scorer {
        /// What is wrong.
        fault: String,
    },
}

impl TrainError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Registry(error) => error.kind(),
            Self::Model(_) | Self::Judge(_) => ErrorKind::Internal,
            Self::Work { .. } | Self::Scorer { .. } => ErrorKind::DataLoss,
            Self::Preparation(PreparationError::Damaged { .. }) => ErrorKind::DataLoss,
            Self::Preparation(_) | Self::Classification(_) | Self::Propensity { .. } => {
                ErrorKind::InvalidArgument
            }
            Self::NoColumn { .. }
            | Self::Target { .. }
            | Self::NoText { .. }
            | Self::TextModel { .. }
            | Self::FewLabels { .. }
            | Self::Window { .. }
            | Self::NoFeatures => ErrorKind::InvalidArgument,
            Self::NoTexts | Self::NoPairs { .. } => ErrorKind::NotFound,
            Self::NoPurchases | Self::TooShort { .. } | Self::FewDays { .. } | Self::NobodyToJudge { .. } => {
                ErrorKind::NotFound
            }
            Self::NoItemVectors
            | Self::UnknownModel { .. }
            | Self::Setting { .. }
            | Self::ModelConfig { .. } => ErrorKind::InvalidArgument,
        }
    }
}
