//! Imputing, encoding and scaling, as scikit-learn defines them, fitted on training rows alone and
//! stored with the model.
//!
//! A gap is NaN. Fitting passes gaps over; transforming keeps them, except for the imputer, which is there
//! to fill them. [`Preparation`](crate::Preparation) puts the pieces together for a table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Fills gaps with the mean of the training rows; 0 where there was none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MeanImputer {
    /// The mean.
    pub mean: f64,
}

impl MeanImputer {
    /// Learns the mean.
    pub fn fit(values: &[f64]) -> Self {
        Self { mean: mean(values).unwrap_or(0.0) }
    }

    /// The value, or the mean for a gap.
    pub fn transform(&self, value: f64) -> f64 {
        if value.is_nan() { self.mean } else { value }
    }
}

/// `(value − mean) / standard deviation` (of the population, as scikit-learn's); a constant becomes 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StandardScaler {
    /// The mean.
    pub mean: f64,
    /// The standard deviation; 1 for a constant.
    pub deviation: f64,
}

impl StandardScaler {
    /// Learns mean and deviation. What differs by no more than rounding is a constant, by scikit-learn's
    /// bound: variance ≤ n·ε·variance + (n·mean·ε)².
    pub fn fit(values: &[f64]) -> Self {
        let mean_value = mean(values).unwrap_or(0.0);
        let squares: Vec<f64> = values.iter().map(|value| (value - mean_value).powi(2)).collect();
        let variance = mean(&squares).unwrap_or(0.0);
        let count = values.iter().filter(|value| !value.is_nan()).count() as f64;
        let bound = count * f64::EPSILON * variance + (count * mean_value * f64::EPSILON).powi(2);
        Self { mean: mean_value, deviation: if variance <= bound { 1.0 } else { variance.sqrt() } }
    }

    /// The scaled value.
    pub fn transform(&self, value: f64) -> f64 {
        (value - self.mean) / self.deviation
    }
}

/// `(value − min) / (max − min)`; values beyond those seen go beyond 0 and 1; a constant becomes 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MinMaxScaler {
    /// The smallest.
    pub min: f64,
    /// Largest less smallest; 1 for a constant.
    pub range: f64,
}

impl MinMaxScaler {
    /// Learns smallest and largest.
    pub fn fit(values: &[f64]) -> Self {
        let known = || values.iter().copied().filter(|value| !value.is_nan());
        let (min, max) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
        // scikit-learn's bound for a constant: ten times the rounding of one.
        match max - min {
            range if range >= 10.0 * f64::EPSILON => Self { min, range },
            _ => Self { min: if min.is_finite() { min } else { 0.0 }, range: 1.0 },
        }
    }

    /// The scaled value.
    pub fn transform(&self, value: f64) -> f64 {
        (value - self.min) / self.range
    }
}

/// Numbers categories from 0 in the order of the alphabet; one not seen in training has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelEncoder {
    labels: BTreeMap<String, usize>,
}

impl LabelEncoder {
    /// Learns the categories.
    pub fn fit<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut labels: BTreeMap<String, usize> =
            values.into_iter().map(|value| (value.to_owned(), 0)).collect();
        labels.values_mut().enumerate().for_each(|(number, label)| *label = number);
        Self { labels }
    }

    /// The category's number.
    pub fn transform(&self, value: &str) -> Option<usize> {
        self.labels.get(value).copied()
    }

    /// The categories in the order of their numbers.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.keys().map(String::as_str)
    }

    /// How many categories there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// A column of 0 and 1 for each category; all 0 for one not seen in training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneHotEncoder {
    labels: LabelEncoder,
}

impl OneHotEncoder {
    /// Learns the categories.
    pub fn fit<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        Self { labels: LabelEncoder::fit(values) }
    }

    /// The categories in the order of the columns.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.labels()
    }

    /// The columns for a category.
    pub fn transform(&self, value: &str) -> Vec<f64> {
        let mut columns = vec![0.0; self.labels.len()];
        if let Some(place) = self.labels.transform(value) {
            columns[place] = 1.0;
        }
        columns
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    let known = values.iter().filter(|value| !value.is_nan());
    let (sum, count) = known.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: f64 = f64::NAN;

    #[test]
    fn gaps_are_filled_with_the_mean_of_the_rest() {
        let imputer = MeanImputer::fit(&[1.0, GAP, 5.0]);
        assert_eq!((imputer.transform(GAP), imputer.transform(7.0)), (3.0, 7.0));
        assert_eq!(MeanImputer::fit(&[GAP]).transform(GAP), 0.0);
    }

    /// StandardScaler().fit([[1], [2], [4], [7]]): mean 3.5, scale 2.29128784747792.
    #[test]
    fn standard_scaling_is_scikit_learns() {
        let scaler = StandardScaler::fit(&[1.0, 2.0, GAP, 4.0, 7.0]);
        assert!((scaler.deviation - 2.291_287_847_477_92).abs() < 1e-12);
        assert!((scaler.transform(7.0) - 1.527_525_231_651_947).abs() < 1e-12);
        assert!(scaler.transform(GAP).is_nan());
        assert_eq!(StandardScaler::fit(&[3.0, 3.0]).transform(3.0), 0.0);
        assert_eq!(StandardScaler::fit(&[0.1; 3]).deviation, 1.0, "three times 0.1 is a constant");
        assert_eq!(StandardScaler::fit(&[GAP, GAP]), StandardScaler { mean: 0.0, deviation: 1.0 });
    }

    #[test]
    fn min_max_scaling_keeps_the_unseen_beyond() {
        let scaler = MinMaxScaler::fit(&[10.0, 30.0, GAP]);
        assert_eq!((scaler.transform(20.0), scaler.transform(50.0)), (0.5, 2.0));
        assert_eq!(MinMaxScaler::fit(&[3.0]).transform(3.0), 0.0);
        assert_eq!(MinMaxScaler::fit(&[]).transform(2.0), 2.0);
    }

    #[test]
    fn categories_go_by_the_alphabet_and_the_unseen_have_none() {
        let labels = LabelEncoder::fit(["b", "a", "b"]);
        assert_eq!(
            (labels.transform("a"), labels.transform("b"), labels.transform("c")),
            (Some(0), Some(1), None)
        );
        let columns = OneHotEncoder::fit(["b", "a"]);
        assert_eq!((columns.transform("b"), columns.transform("c")), (vec![0.0, 1.0], vec![0.0, 0.0]));
    }
}
