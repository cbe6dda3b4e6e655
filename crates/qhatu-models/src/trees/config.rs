//! How trees are grown, and how many.

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// How one tree is grown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Growth {
    /// Most leaves of a tree; 0: as many as the other bounds leave.
    pub leaves: usize,
    /// Most cuts from the root to a leaf; 0: no bound.
    pub depth: usize,
    /// Fewest rows in a leaf.
    pub min_rows_in_leaf: u32,
    /// Smallest sum of hessians (weights, for a forest) in a leaf.
    pub min_child_weight: f64,
    /// What a cut must gain at least.
    pub min_gain: f64,
    /// Added to a leaf's hessian: pulls small leaves towards 0.
    pub l2: f64,
    /// Share of the rows that a boosted tree sees, in (0, 1].
    pub row_share: f64,
    /// Share of the features that a tree may use, in (0, 1].
    pub feature_share: f64,
    /// Share of the features looked at for a cut, in (0, 1]; at least one.
    pub split_feature_share: f64,
    /// Most bins of a feature, 2 to 255, besides that for missing values.
    pub bins: usize,
    /// Added to a category's hessian when categories are sorted, where there are more than four.
    pub category_smooth: f64,
    /// Added to `l2` for a cut by categories, where there are more than four.
    pub category_l2: f64,
}

impl Default for Growth {
    fn default() -> Self {
        Self {
            leaves: 31,
            depth: 0,
            min_rows_in_leaf: 20,
            min_child_weight: 1e-3,
            min_gain: 0.0,
            l2: 1.0,
            row_share: 1.0,
            feature_share: 1.0,
            split_feature_share: 1.0,
            bins: 255,
            category_smooth: 10.0,
            category_l2: 10.0,
        }
    }
}

/// Gradient boosting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BoostingConfig {
    /// Most trees.
    pub rounds: usize,
    /// What each tree's answer is multiplied by.
    pub learning_rate: f64,
    /// Stop when the validation rows' loss has not fallen for so many rounds; 0: never.
    pub early_stopping_rounds: usize,
    /// How each is grown.
    pub growth: Growth,
}

impl Default for BoostingConfig {
    fn default() -> Self {
        Self { rounds: 200, learning_rate: 0.05, early_stopping_rounds: 0, growth: Growth::default() }
    }
}

/// Random forest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForestConfig {
    /// Number of trees.
    pub trees: usize,
    /// How each is grown. A `split_feature_share` of 0 stands for the square root of the number of features.
    pub growth: Growth,
}

impl Default for ForestConfig {
    fn default() -> Self {
        let growth = Growth {
            leaves: 0,
            min_rows_in_leaf: 1,
            min_child_weight: 0.0,
            l2: 0.0,
            split_feature_share: 0.0,
            category_smooth: 0.0,
            category_l2: 0.0,
            ..Growth::default()
        };
        Self { trees: 100, growth }
    }
}

impl Growth {
    /// # Errors
    /// The first setting that makes no sense.
    pub(super) fn check(&self) -> Result<(), ModelError> {
        let share = |value: f64| value > 0.0 && value <= 1.0;
        let weight = |value: f64| value >= 0.0 && value.is_finite();
        let held = [
            ("row_share", self.row_share, share(self.row_share), "a share is above 0 and at most 1"),
            (
                "feature_share",
                self.feature_share,
                share(self.feature_share),
                "a share is above 0 and at most 1",
            ),
            (
                "split_feature_share",
                self.split_feature_share,
                share(self.split_feature_share),
                "a share is above 0 and at most 1",
            ),
            ("bins", self.bins as f64, (2..=255).contains(&self.bins), "2 to 255 bins"),
            ("l2", self.l2, weight(self.l2), "0 or more"),
            ("min_gain", self.min_gain, weight(self.min_gain), "0 or more"),
            ("min_child_weight", self.min_child_weight, weight(self.min_child_weight), "0 or more"),
            ("category_smooth", self.category_smooth, weight(self.category_smooth), "0 or more"),
            ("category_l2", self.category_l2, weight(self.category_l2), "0 or more"),
        ];
        match held.iter().find(|(_, _, holds, _)| !holds) {
            Some((key, value, _, hint)) => Err(setting(key, value, hint)),
            None => Ok(()),
        }
    }
}

impl BoostingConfig {
    /// # Errors
    /// The first setting that makes no sense.
    pub fn check(&self) -> Result<(), ModelError> {
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return Err(setting("learning_rate", &self.learning_rate, "above 0 and at most 1"));
        }
        self.growth.check()
    }
}

impl ForestConfig {
    /// # Errors
    /// The first setting that makes no sense.
    pub fn check(&self) -> Result<(), ModelError> {
        if self.trees == 0 {
            return Err(setting("trees", &0, "a forest has at least one tree"));
        }
        self.growth_for(1).check()
    }

    /// How each tree is grown for so many features.
    pub(super) fn growth_for(&self, features: usize) -> Growth {
        let root = (features as f64).sqrt().floor().max(1.0) / features.max(1) as f64;
        let share =
            if self.growth.split_feature_share == 0.0 { root } else { self.growth.split_feature_share };
        Growth { split_feature_share: share, row_share: 1.0, ..self.growth.clone() }
    }
}

fn setting(key: &'static str, value: &impl ToString, hint: &'static str) -> ModelError {
    ModelError::Setting { model: super::ensemble::NAME, key, value: value.to_string(), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_named() {
        let fault = |growth: Growth| growth.check().unwrap_err().to_string();
        assert!(fault(Growth { bins: 256, ..Growth::default() }).contains("bins = 256: 2 to 255 bins"));
        assert!(fault(Growth { row_share: 0.0, ..Growth::default() }).contains("row_share"));
        assert!(fault(Growth { l2: f64::NAN, ..Growth::default() }).contains("l2 = NaN"));
        assert!(BoostingConfig { learning_rate: 0.0, ..BoostingConfig::default() }.check().is_err());
        assert!(ForestConfig { trees: 0, ..ForestConfig::default() }.check().is_err());
        assert!(BoostingConfig::default().check().and(ForestConfig::default().check()).is_ok());
    }

    #[test]
    fn a_forest_looks_at_the_root_of_its_features() {
        let share = |features| ForestConfig::default().growth_for(features).split_feature_share;
        assert_eq!((share(17) * 17.0).round(), 4.0);
        assert_eq!(share(1), 1.0);
    }
}
