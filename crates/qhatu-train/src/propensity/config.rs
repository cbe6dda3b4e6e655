//! What is fitted, and how it is judged.

use qhatu_eval::Cost;
use qhatu_models::{calibration, propensity};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// What is done where one class is rare. Validation rows always keep their natural share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Nothing.
    #[default]
    None,
    /// Each class weighs half of all.
    Weights,
    /// Rows of the rarer class are drawn again until there are as many of both.
    OverSample,
}

/// A propensity model's training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PropensityConfig {
    /// Seed of everything random.
    pub seed: u64,
    /// Folds that judge, each holding the same share of buyers.
    pub folds: usize,
    /// What is done where one class is rare.
    pub balance: Balance,
    /// How scores become probabilities.
    pub calibration: calibration::Method,
    /// What mistakes cost; it decides the threshold.
    pub cost: Cost,
    /// How often each column is shuffled to see what the model loses by it; 0: importance is left out.
    pub importance_repeats: usize,
    /// Most numbers that a text becomes: its vector's first principal components.
    pub text_width: usize,
    /// The classifier.
    pub model: propensity::Config,
}

impl Default for PropensityConfig {
    fn default() -> Self {
        Self {
            seed: 42,
            folds: 5,
            balance: Balance::None,
            calibration: calibration::Method::Isotonic,
            cost: Cost::default(),
            importance_repeats: 3,
            text_width: 30,
            model: propensity::Config::default(),
        }
    }
}

impl PropensityConfig {
    /// # Errors
    /// The first setting that makes no sense.
    pub fn check(&self) -> Result<(), TrainError> {
        let setting = |key, value: String, hint| Err(TrainError::Propensity { key, value, hint });
        if self.folds < 2 {
            return setting(
                "folds",
                self.folds.to_string(),
                "at least 2, so that some rows teach and others judge",
            );
        }
        if !(1..=65_536).contains(&self.text_width) {
            return setting("text_width", self.text_width.to_string(), "1 to 65536 numbers, such as 30");
        }
        for (key, cost) in [
            ("cost.false_positive", self.cost.false_positive),
            ("cost.false_negative", self.cost.false_negative),
        ] {
            if !(cost.is_finite() && cost >= 0.0) {
                return setting(key, cost.to_string(), "0 or more");
            }
        }
        Ok(())
    }
}
