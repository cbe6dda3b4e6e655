//! Decision trees on histograms: gradient boosting, and random forests by the same code without shrinkage.
//!
//! A tree is grown on gradients and hessians of an [`Objective`] (Friedman, 2001; Chen and Guestrin, "XGBoost", KDD
//! 2016): a leaf answers −G ⁄ (H + λ), and a cut is worth what G² ⁄ (H + λ) gains by it. Values stand in at most 255
//! bins a feature, one byte each, so that a leaf's best cut is found on sums by bin, and of two siblings only the
//! smaller is counted, the other is what remains (Ke et al., "LightGBM", NIPS 2017). Trees grow leaf by leaf, the most
//! promising first. Missing values have a bin of their own, and each cut learns on which side they go. Categories are
//! cut into two sets after sorting them by G ⁄ H (Fisher, 1958; as LightGBM).
//!
//! A forest (Breiman, 2001) is the same with the squared objective, bootstrap samples as weights, a draw of features
//! at every cut and no shrinkage: for labels 0 and 1 the gain is Gini's, and a leaf answers its share of ones.
//!
//! Departure: gradients and hessians are rounded to 30 bits of the largest, so that sums are sums of integers:
//! exact, the same in any order, on any number of threads, and by subtraction.
//!
//! The ranker inside [`blend`](crate::blend) has trees of its own: they are summed in floating point, and what
//! shops have in their registries must stay the same to the bit.

mod binning;
mod boosting;
mod config;
mod ensemble;
mod forest;
mod grower;
mod histogram;
mod kernel;
mod lambda_rank;
mod objective;
mod shap;
mod split;
mod walker;
mod xgboost;

pub use binning::Columns;
pub use boosting::{Boosted, Lesson, fit_boosting};
pub use config::{BoostingConfig, ForestConfig, Growth};
pub use ensemble::TreeEnsemble;
pub use forest::fit_forest;
pub use objective::{Objective, Target};
pub use shap::Contributions;
pub use walker::Walker;
