//! What is learned: labels, weights, and the loss whose gradients trees are grown on.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::ensemble::NAME;
use super::lambda_rank;
use crate::error::{ModelError, misfit};

/// The loss that boosting lowers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Log-loss of labels 0 and 1; margins are log-odds.
    #[default]
    Logistic,
    /// Half the squared error; margins are means.
    Squared,
    /// A group's rows by their grades (0, 1, 2, …, at most 30); margins sort.
    LambdaRank,
}

/// What is to be learned of each row.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// A label a row.
    pub labels: &'a [f32],
    /// What a row counts, 0 or more; empty: each counts 1. For [`Objective::LambdaRank`] what a pair counts of which it is
    /// the better row.
    pub weights: &'a [f32],
    /// For [`Objective::LambdaRank`]: the sizes of the groups, whose rows stand together; else empty.
    pub groups: &'a [u32],
}

impl<'a> Target<'a> {
    /// Rows that count 1 each.
    pub fn new(labels: &'a [f32]) -> Self {
        Self { labels, weights: &[], groups: &[] }
    }

    pub(super) fn weight(&self, row: usize) -> f32 {
        self.weights.get(row).copied().unwrap_or(1.0)
    }

    /// # Errors
    /// Where there are not as many labels and weights as rows, or one of them is no number that makes sense.
    pub(super) fn check(&self, rows: usize, objective: Objective) -> Result<(), ModelError> {
        let fault = |fault: String| Err(misfit(NAME, fault));
        if self.labels.len() != rows || !(self.weights.is_empty() || self.weights.len() == rows) {
            let (labels, weights) = (self.labels.len(), self.weights.len());
            return fault(format!("{rows} rows have {labels} labels and {weights} weights"));
        }
        let sound = |label: &f32| match objective {
            Objective::Logistic => *label == 0.0 || *label == 1.0,
            Objective::Squared => label.is_finite(),
            Objective::LambdaRank => (0.0..=30.0).contains(label),
        };
        let grouped: u64 = self.groups.iter().map(|size| u64::from(*size)).sum();
        if objective == Objective::LambdaRank && grouped != rows as u64 {
            return fault(format!("groups hold {grouped} rows of {rows}"));
        }
        if let Some(row) = self.labels.iter().position(|label| !sound(label)) {
            return fault(format!(
                "row {row} has the label {}, which {objective:?} does not take",
                self.labels[row]
            ));
        }
        match self.weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
            Some(row) => fault(format!("row {row} has the weight {}: 0 or more", self.weights[row])),
            None => Ok(()),
        }
    }
}

/// First and second derivative of the loss at a row's margin.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Pair {
    pub(super) gradient: f32,
    pub(super) hessian: f32,
}

/// Rows that one thread takes at once.
const CHUNK: usize = 16_384;

impl Objective {
    /// The constant that fits best: the margin before any tree. Log-odds stay within ±10.
    pub(super) fn base(self, target: &Target) -> f32 {
        let (mut yes, mut all) = (0.0, 0.0);
        for (row, label) in target.labels.iter().enumerate() {
            let weight = f64::from(target.weight(row));
            yes += weight * f64::from(*label);
            all += weight;
        }
        match self {
            _ if all <= 0.0 => 0.0,
            Self::Logistic => (yes / (all - yes)).ln().clamp(-10.0, 10.0) as f32,
            Self::Squared => (yes / all) as f32,
            Self::LambdaRank => 0.0,
        }
    }

    pub(super) fn pairs(self, target: &Target, margins: &[f32], pairs: &mut [Pair]) {
        if self == Self::LambdaRank {
            return lambda_rank::pairs(target, margins, pairs);
        }
        let chunks = pairs.par_chunks_mut(CHUNK).zip(margins.par_chunks(CHUNK)).enumerate();
        chunks.for_each(|(chunk, (pairs, margins))| {
            for (place, (pair, margin)) in pairs.iter_mut().zip(margins).enumerate() {
                let row = chunk * CHUNK + place;
                *pair = self.pair(target.labels[row], target.weight(row), *margin);
            }
        });
    }

    fn pair(self, label: f32, weight: f32, margin: f32) -> Pair {
        match self {
            Self::Logistic => {
                let p = 1.0 / (1.0 + (-margin).exp());
                Pair { gradient: weight * (p - label), hessian: weight * (p * (1.0 - p)).max(1e-16) }
            }
            // LambdaRank's are those of whole groups.
            Self::Squared | Self::LambdaRank => Pair { gradient: weight * (margin - label), hessian: weight },
        }
    }

    /// The mean loss of rows at their margins (for groups 1 − NDCG at ten); 0 without rows that count.
    pub(super) fn loss(self, target: &Target, margins: &[f32]) -> f64 {
        if self == Self::LambdaRank {
            return 1.0 - lambda_rank::ndcg(target, margins);
        }
        let (mut sum, mut all) = (0.0, 0.0);
        for (row, (label, margin)) in target.labels.iter().zip(margins).enumerate() {
            let (weight, margin) = (f64::from(target.weight(row)), f64::from(*margin));
            sum += weight
                * match self {
                    Self::Logistic => {
                        let against = if *label > 0.5 { -margin } else { margin };
                        against.max(0.0) + (-against.abs()).exp().ln_1p()
                    }
                    Self::Squared | Self::LambdaRank => (margin - f64::from(*label)).powi(2) / 2.0,
                };
            all += weight;
        }
        if all > 0.0 { sum / all } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_the_derivatives_of_the_loss() {
        for objective in [Objective::Logistic, Objective::Squared] {
            for (label, weight, margin) in [(0.0, 1.0, 0.3), (1.0, 2.5, -1.2), (1.0, 0.5, 3.0)] {
                let target = Target { labels: &[label], weights: &[weight], groups: &[] };
                let loss = |margin: f32| objective.loss(&target, &[margin]) * f64::from(weight);
                let step = 1e-2_f32;
                let (low, here, high) = (loss(margin - step), loss(margin), loss(margin + step));
                let pair = objective.pair(label, weight, margin);
                let (first, second) = ((high - low) / 0.02, (high - 2.0 * here + low) / 1e-4);
                assert!((first - f64::from(pair.gradient)).abs() < 1e-4, "{objective:?} {first} {pair:?}");
                assert!((second - f64::from(pair.hessian)).abs() < 1e-2, "{objective:?} {second} {pair:?}");
            }
        }
    }

    #[test]
    fn the_base_is_the_best_constant() {
        let target = Target { labels: &[0.0, 1.0, 1.0], weights: &[2.0, 1.0, 1.0], groups: &[] };
        assert_eq!(Objective::Logistic.base(&target), 0.0);
        assert_eq!(Objective::Squared.base(&target), 0.5);
        assert_eq!(Objective::Logistic.base(&Target::new(&[])), 0.0);
        assert_eq!(Objective::Logistic.base(&Target::new(&[1.0])), 10.0);
    }

    #[test]
    fn what_is_no_label_is_refused() {
        let fault = |target: Target| target.check(2, Objective::Logistic).unwrap_err().to_string();
        assert!(fault(Target::new(&[0.0])).contains("2 rows have 1 labels"));
        assert!(fault(Target::new(&[0.0, 0.5])).contains("row 1 has the label 0.5"));
        assert!(
            fault(Target { labels: &[0.0, 1.0], weights: &[1.0, -1.0], groups: &[] })
                .contains("row 1 has the weight -1")
        );
    }
}
