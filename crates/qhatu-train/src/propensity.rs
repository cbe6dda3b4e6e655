//! Will they buy? From a table with a column that says who did, to a judged and calibrated classifier.
//!
//! Rows are cut into folds that hold the same share of buyers each. For every fold everything that learns (the
//! preparation: imputing, encoding, scaling; weights of the classes or over-sampling; the classifier) learns from the
//! other folds alone, so that the figures are those of rows never seen. The scores of all folds then teach the
//! calibration and the threshold; for the figures each fold's calibration and threshold come from the other folds'
//! scores. What is kept is fitted on all rows.
//!
//! Rows of a shop's own shoppers ([`shopper_examples`]) have an order in time, and are judged in it: each window is
//! foretold from the windows before it alone.

mod artifact;
mod config;
mod example;
mod fold;
mod importance;
mod shoppers;
mod text;
mod training;

pub use artifact::{Explained, Scorer};
pub use config::{Balance, PropensityConfig};
pub use example::{Examples, recipes};
pub use shoppers::{Windows, shopper_examples, shoppers_now};
pub use text::{Rows, TextColumn, TextPreparation, TextVectors};
pub use training::{FoldFigures, PropensityReport, Trained, fold_scorers, judge, train};
