//! What fits this shopper? Recommenders, one file each, one conformance suite for all.
//!
//! All of them learn from [`Interactions`] and answer a [`History`] with a score for every item of
//! the catalogue. A model never sees who asks: a shopper is what they did.

mod act;
pub mod als;
pub mod bert4rec;
pub mod blend;
pub mod calibration;
pub mod decayed_markov;
pub mod department_popularity;
pub mod ease;
mod error;
mod evidence;
pub mod feature_transformer;
mod fold;
pub mod gru4rec;
mod interactions;
pub mod item_knn;
mod item_sides;
mod journey;
pub mod lambda_mart;
pub mod logistic_regression;
pub mod mmr;
mod neighbours;
pub mod own_frequency;
pub mod popularity;
pub mod position_bias;
pub mod principal_components;
pub mod propensity;
pub mod recent_popularity;
mod recommender;
pub mod sasrec;
pub mod saved;
pub mod sequence;
pub mod session_knn;
mod shown;
pub mod text_neighbours;
pub mod trees;
pub mod vmis_knn;
pub mod vstan;

pub use act::Act;
pub use error::ModelError;
pub use evidence::{Evidence, Looked, looks};
pub use fold::{FoldAsked, FoldColumn, FoldMoment, FoldNow, FoldPast};
pub use interactions::{Interactions, Purchase, Sequence, Vocabulary};
pub use item_sides::{ItemLabels, ItemSides, ItemVectors, category_path, price_bands};
pub use journey::{Deed, Journey, OrderKey, Told};
pub use qhatu_nn::Stream;
pub use qhatu_nn::tensor_file::TensorFile;
pub use recommender::{Barred, History, Reason, Recommender, Scored, load_model, top_k};
pub use shown::Shown;

/// Milliseconds of a day.
pub(crate) const DAY_MS: f64 = 86_400_000.0;
