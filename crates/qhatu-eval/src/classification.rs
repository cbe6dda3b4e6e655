//! How good are probabilities of yes or no: the figures of one judgement, over folds, and the threshold that costs least.
//!
//! The measures themselves are in [`metrics`]; here they are put together.

use serde::{Deserialize, Serialize};

use crate::metrics::{self, Confusion};

/// Bins of the calibration error: equally wide, `[0, 0.1)`, …, `[0.9, 1]`.
pub const ECE_BINS: usize = 10;

/// Why rows cannot be judged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClassificationError {
    /// Probabilities and labels differ in number.
    #[error("{probabilities} probabilities for {labels} labels")]
    Length {
        /// How many probabilities.
        probabilities: usize,
        /// How many labels.
        labels: usize,
    },
    /// Something that is no probability.
    #[error("row {row} has the probability {value}, which is not between 0 and 1")]
    Probability {
        /// The row.
        row: usize,
        /// Its value.
        value: f64,
    },
    /// Rows of one kind only: no order to judge.
    #[error("{positives} of {rows} rows are a yes; both kinds are needed to judge")]
    OneKind {
        /// How many are a yes.
        positives: usize,
        /// Of how many.
        rows: usize,
    },
}

/// What mistakes cost, in any unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Of a yes that was none: an offer made in vain.
    pub false_positive: f64,
    /// Of a no that was a yes: a buyer not looked after.
    pub false_negative: f64,
}

impl Default for Cost {
    fn default() -> Self {
        Self { false_positive: 1.0, false_negative: 1.0 }
    }
}

/// Rows whose probabilities lie in one bin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Mean probability told.
    pub told: f64,
    /// Share that happened.
    pub happened: f64,
    /// How many rows.
    pub rows: usize,
}

/// The figures of one judgement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// Rows judged.
    pub rows: usize,
    /// How many were a yes.
    pub positives: usize,
    /// [`metrics::auc_roc`].
    pub roc_auc: f64,
    /// [`metrics::auc_pr`].
    pub pr_auc: f64,
    /// [`metrics::log_loss`].
    pub log_loss: f64,
    /// [`metrics::brier`].
    pub brier: f64,
    /// [`metrics::ece`] over [`ECE_BINS`].
    pub ece: f64,
    /// From this probability on it is a yes.
    pub threshold: f64,
    /// [`Confusion::accuracy`] at the threshold.
    pub accuracy: f64,
    /// [`Confusion::precision`] at the threshold.
    pub precision: f64,
    /// [`Confusion::recall`] at the threshold.
    pub recall: f64,
    /// [`Confusion::f1`] at the threshold.
    pub f1: f64,
    /// The four counts at the threshold.
    pub confusion: Confusion,
    /// Bins that hold rows, lowest first.
    pub reliability: Vec<Reliability>,
}

impl Classification {
    /// Judges probabilities against what happened; from `threshold` on it is a yes.
    ///
    /// # Errors
    /// [`ClassificationError`] where lengths differ, something is no probability, or there is one kind of label only.
    pub fn of(probabilities: &[f64], labels: &[bool], threshold: f64) -> Result<Self, ClassificationError> {
        check(probabilities, labels)?;
        let confusion = Confusion::at(probabilities, labels, threshold);
        // Checked above: there are rows of both kinds, so each measure exists.
        let of = |measure: Option<f64>| measure.unwrap_or(f64::NAN);
        Ok(Self {
            rows: labels.len(),
            positives: labels.iter().filter(|label| **label).count(),
            roc_auc: of(metrics::auc_roc(probabilities, labels)),
            pr_auc: of(metrics::auc_pr(probabilities, labels)),
            log_loss: of(metrics::log_loss(probabilities, labels)),
            brier: of(metrics::brier(probabilities, labels)),
            ece: of(metrics::ece(probabilities, labels, ECE_BINS)),
            threshold,
            accuracy: confusion.accuracy(),
            precision: confusion.precision(),
            recall: confusion.recall(),
            f1: confusion.f1(),
            confusion,
            reliability: reliability(probabilities, labels),
        })
    }

    /// The same rows, each with the answer it was given in place of the threshold's.
    #[must_use]
    pub fn deciding(mut self, said_yes: &[bool], labels: &[bool]) -> Self {
        let scores: Vec<f64> = said_yes.iter().map(|yes| f64::from(u8::from(*yes))).collect();
        let confusion = Confusion::at(&scores, labels, 0.5);
        (self.accuracy, self.precision) = (confusion.accuracy(), confusion.precision());
        (self.recall, self.f1, self.confusion) = (confusion.recall(), confusion.f1(), confusion);
        self
    }

    /// Name and value of each figure.
    pub fn figures(&self) -> [(&'static str, f64); 9] {
        [
            ("roc_auc", self.roc_auc),
            ("pr_auc", self.pr_auc),
            ("log_loss", self.log_loss),
            ("brier", self.brier),
            ("ece", self.ece),
            ("accuracy", self.accuracy),
            ("precision", self.precision),
            ("recall", self.recall),
            ("f1", self.f1),
        ]
    }
}

fn check(probabilities: &[f64], labels: &[bool]) -> Result<(), ClassificationError> {
    if probabilities.len() != labels.len() {
        let (probabilities, labels) = (probabilities.len(), labels.len());
        return Err(ClassificationError::Length { probabilities, labels });
    }
    if let Some(row) = probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
        return Err(ClassificationError::Probability { row, value: probabilities[row] });
    }
    let positives = labels.iter().filter(|label| **label).count();
    if positives == 0 || positives == labels.len() {
        return Err(ClassificationError::OneKind { positives, rows: labels.len() });
    }
    Ok(())
}

fn reliability(probabilities: &[f64], labels: &[bool]) -> Vec<Reliability> {
    let mut bins = [(0.0, 0_usize, 0_usize); ECE_BINS];
    for (p, label) in probabilities.iter().zip(labels) {
        let bin = &mut bins[((p * ECE_BINS as f64) as usize).min(ECE_BINS - 1)];
        *bin = (bin.0 + p, bin.1 + usize::from(*label), bin.2 + 1);
    }
    let of = |&(told, happened, rows): &(f64, usize, usize)| Reliability {
        told: told / rows as f64,
        happened: happened as f64 / rows as f64,
        rows,
    };
    bins.iter().filter(|bin| bin.2 > 0).map(of).collect()
}

/// The threshold of least cost on these rows: a probability that occurs, or one above all (nobody is a yes); of
/// equal ones the highest. O(n log n).
///
/// # Errors
/// As [`Classification::of`].
pub fn threshold_by_cost(
    probabilities: &[f64],
    labels: &[bool],
    cost: Cost,
) -> Result<f64, ClassificationError> {
    check(probabilities, labels)?;
    let mut rows: Vec<(f64, bool)> = probabilities.iter().copied().zip(labels.iter().copied()).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = labels.iter().filter(|label| **label).count();
    let mut now = positives as f64 * cost.false_negative;
    // Above every probability, so that 1.0 itself is still a no.
    let mut best = (now, 1.0_f64.next_up());
    for tie in rows.chunk_by(|a, b| a.0 == b.0) {
        for row in tie {
            now += if row.1 { -cost.false_negative } else { cost.false_positive };
        }
        if now < best.0 {
            best = (now, tie[0].0);
        }
    }
    Ok(best.1)
}

/// Mean and standard deviation of a figure over folds (of the sample: divided by n − 1; 0 for a single fold).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OverFolds {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
}

impl OverFolds {
    /// Of the values of each fold; `None` without one.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = if values.len() > 1 { (squares / (n - 1.0)).sqrt() } else { 0.0 };
        (!values.is_empty()).then_some(Self { mean, deviation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: [f64; 8] = [0.9, 0.8, 0.7, 0.6, 0.55, 0.3, 0.2, 0.1];
    const Y: [bool; 8] = [true, true, false, true, false, false, true, false];

    #[test]
    fn figures_are_those_worked_by_hand() {
        let found = Classification::of(&P, &Y, 0.6).unwrap();
        assert_eq!((found.rows, found.positives), (8, 4));
        // Pairs won: 4 + 4 + 3 + 1 of 16.
        assert!((found.roc_auc - 12.0 / 16.0).abs() < 1e-12);
        // Precision at each yes: 1, 1, 3/4, 4/7.
        assert!((found.pr_auc - (1.0 + 1.0 + 0.75 + 4.0 / 7.0) / 4.0).abs() < 1e-12);
        let counts = Confusion { true_positive: 3, false_positive: 1, true_negative: 3, false_negative: 1 };
        assert_eq!(found.confusion, counts);
        assert_eq!((found.accuracy, found.precision, found.recall, found.f1), (0.75, 0.75, 0.75, 0.75));
        // One row a bin: |told − happened| of each, divided by 8.
        let gaps = 0.1 + 0.2 + 0.7 + 0.4 + 0.55 + 0.3 + 0.8 + 0.1;
        assert!((found.ece - gaps / 8.0).abs() < 1e-12);
        assert_eq!(found.reliability.len(), 8);
        assert_eq!(found.reliability[0], Reliability { told: 0.1, happened: 0.0, rows: 1 });
        let all_yes = found.clone().deciding(&[true; 8], &Y);
        assert_eq!((all_yes.accuracy, all_yes.recall, all_yes.threshold), (0.5, 1.0, 0.6));
        let squares = [0.1, 0.2, 0.7, 0.4, 0.55, 0.3, 0.8, 0.1_f64].map(|gap| gap * gap);
        assert!((found.brier - squares.iter().sum::<f64>() / 8.0).abs() < 1e-12);
    }

    #[test]
    fn the_threshold_costs_least() {
        let at = |false_positive, false_negative| {
            threshold_by_cost(&P, &Y, Cost { false_positive, false_negative }).unwrap()
        };
        // 2 misses at 0.8; 1 alarm and 1 miss at 0.6: alike, and the higher one is taken.
        assert_eq!(at(1.0, 1.0), 0.8);
        assert_eq!(at(1.0, 2.0), 0.6);
        assert_eq!(at(1.0, 10.0), 0.2, "a buyer missed is dear: nearly all are a yes");
        assert!(at(10.0, 0.0) > 1.0, "an alarm is dear: nobody is a yes");
        // No threshold that occurs is cheaper, for any cost.
        for (false_positive, false_negative) in [(1.0, 1.0), (3.0, 1.0), (1.0, 7.0), (0.5, 0.5)] {
            let cost = |threshold: f64| {
                let counts = Confusion::at(&P, &Y, threshold);
                false_positive * counts.false_positive as f64 + false_negative * counts.false_negative as f64
            };
            let least = P.iter().map(|p| cost(*p)).fold(cost(2.0), f64::min);
            assert_eq!(cost(at(false_positive, false_negative)), least);
        }
    }

    #[test]
    fn rows_that_cannot_be_judged_are_refused() {
        let fault = |p: &[f64], y: &[bool]| Classification::of(p, y, 0.5).unwrap_err().to_string();
        assert!(fault(&[0.5], &[]).contains("1 probabilities for 0 labels"));
        assert!(fault(&[0.5, 1.5], &[true, false]).contains("row 1 has the probability 1.5"));
        assert!(fault(&[0.5, f64::NAN], &[true, false]).contains("NaN"));
        assert!(fault(&[0.5, 0.2], &[true, true]).contains("2 of 2 rows are a yes"));
        assert!(fault(&[], &[]).contains("0 of 0 rows"));
    }

    #[test]
    fn folds_have_mean_and_deviation() {
        assert_eq!(OverFolds::of(&[1.0, 3.0]).unwrap(), OverFolds { mean: 2.0, deviation: 2.0_f64.sqrt() });
        assert_eq!(OverFolds::of(&[5.0]).unwrap().deviation, 0.0);
        assert_eq!(OverFolds::of(&[]), None);
    }
}
