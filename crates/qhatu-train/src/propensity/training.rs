//! Fold by fold, then on all rows.

use std::collections::BTreeMap;

use qhatu_eval::{Classification, OverFolds, threshold_by_cost};
use qhatu_features::{Preparation, Recipe};
use qhatu_models::Stream;
use qhatu_models::calibration::Calibration;
use qhatu_models::propensity::{Classifier, Propensity};
use qhatu_models::trees::{Columns, Target};
use serde::{Deserialize, Serialize};

use super::artifact::Scorer;
use super::config::PropensityConfig;
use super::example::Examples;
use super::fold::{balanced, stratified};
use super::importance::{importance, pick_rows};
use crate::error::TrainError;

/// The figures of one fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldFigures {
    /// Rows learned from.
    pub training_rows: usize,
    /// What was measured on the others.
    pub figures: Classification,
}

/// How good the model is, on rows that it never saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PropensityReport {
    /// What was asked for.
    pub config: PropensityConfig,
    /// How each column was prepared.
    pub recipes: Vec<(String, Recipe)>,
    /// Each fold.
    pub folds: Vec<FoldFigures>,
    /// Each figure over folds.
    pub over_folds: BTreeMap<String, OverFolds>,
    /// All rows together, each with the probability that its own fold's model told.
    pub pooled: Classification,
    /// By how much ROC-AUC falls when a column is shuffled, mean over folds; largest first.
    pub importance: Vec<(String, f64)>,
}

/// What a training gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// Fitted on all rows.
    pub scorer: Scorer,
    /// Measured fold by fold.
    pub report: PropensityReport,
}

/// What the parts of a seed are for.
const FOLDS: u64 = 0;
const BALANCE: u64 = 1;
const IMPORTANCE: u64 = 2;

/// Fits and judges a propensity model. The same rows, configuration and seed give the same model to the bit.
///
/// # Errors
/// Where a setting makes no sense, a fold would lack one of the labels, or rows and recipes do not fit together.
pub fn train(
    examples: &Examples,
    recipes: &[(String, Recipe)],
    config: &PropensityConfig,
) -> Result<Trained, TrainError> {
    let task = Task::new(examples, recipes, config)?;
    let labels = &examples.labels;
    let fold_of = task.fold_of();
    let held_out = task.held_out(&fold_of)?;
    let report = task.report(&fold_of, &held_out)?;
    let scorer = task.scorer(&(0..labels.len()).collect::<Vec<_>>(), config.folds as u64)?;
    let calibration = Calibration::fit(config.calibration, &held_out.scores, labels)?;
    let scorer = task.calibrated(scorer, calibration, &held_out.scores, labels)?;
    Ok(Trained { scorer, report })
}

/// For each fold the rows that judge, and the scorer fitted on the others, not yet calibrated.
///
/// # Errors
/// As [`train`].
pub fn fold_scorers(
    examples: &Examples,
    recipes: &[(String, Recipe)],
    config: &PropensityConfig,
) -> Result<Vec<(Vec<usize>, Scorer)>, TrainError> {
    let task = Task::new(examples, recipes, config)?;
    let fold_of = task.fold_of();
    let scorers = task.held_out(&fold_of)?.scorers;
    Ok(scorers.into_iter().enumerate().map(|(fold, scorer)| (parted(&fold_of, fold).0, scorer)).collect())
}

struct Task<'a> {
    examples: &'a Examples,
    recipes: &'a [(String, Recipe)],
    config: &'a PropensityConfig,
    stream: Stream,
}

/// The score of each row by the model of its fold, and those models.
struct HeldOut {
    scores: Vec<f64>,
    scorers: Vec<Scorer>,
}

impl<'a> Task<'a> {
    fn new(
        examples: &'a Examples,
        recipes: &'a [(String, Recipe)],
        config: &'a PropensityConfig,
    ) -> Result<Self, TrainError> {
        config.check()?;
        let rows = examples.labels.len();
        let positives = examples.labels.iter().filter(|label| **label).count();
        if positives.min(rows - positives) < config.folds {
            return Err(TrainError::FewLabels { positives, rows, folds: config.folds });
        }
        if recipes.is_empty() {
            return Err(TrainError::NoFeatures);
        }
        Ok(Self { examples, recipes, config, stream: Stream::new(config.seed) })
    }

    fn fold_of(&self) -> Vec<usize> {
        stratified(&self.examples.labels, self.config.folds, self.stream.child(FOLDS))
    }

    /// Prepares and fits on these rows and no others; calibration and threshold come later.
    fn scorer(&self, training: &[usize], number: u64) -> Result<Scorer, TrainError> {
        let Self { examples, config, .. } = self;
        let recipes: Vec<(&str, Recipe)> =
            self.recipes.iter().map(|(name, recipe)| (name.as_str(), *recipe)).collect();
        let preparation = Preparation::fit(&recipes, &examples.table, training)?;
        let stream = self.stream.child(BALANCE).child(number);
        let drawn = balanced(training, &examples.labels, config.balance, stream);
        let prepared = preparation.transform(&pick_rows(&examples.table, &drawn.rows))?;
        let labels: Vec<f32> =
            drawn.rows.iter().map(|row| f32::from(u8::from(examples.labels[*row]))).collect();
        let categorical = preparation.categorical();
        let columns = Columns { values: &prepared, categorical: &categorical };
        let target = Target { labels: &labels, weights: &drawn.weights, groups: &[] };
        let classifier = Classifier::fit(columns, &target, &config.model, config.seed)?;
        let names = preparation.names();
        let model = Propensity { classifier, calibration: Calibration::None, threshold: 0.5, names };
        Ok(Scorer { preparation, model })
    }

    fn held_out(&self, fold_of: &[usize]) -> Result<HeldOut, TrainError> {
        let mut scores = vec![0.0; fold_of.len()];
        let mut scorers = Vec::new();
        for fold in 0..self.config.folds {
            let (judging, training) = parted(fold_of, fold);
            let scorer = self.scorer(&training, fold as u64)?;
            let prepared = scorer.preparation.transform(&pick_rows(&self.examples.table, &judging))?;
            let own = scorer.model.classifier.scores(Columns::numbers(&prepared))?;
            judging.iter().zip(own).for_each(|(row, score)| scores[*row] = score);
            scorers.push(scorer);
        }
        Ok(HeldOut { scores, scorers })
    }

    /// Takes up a curve and the threshold that costs least on these scores.
    fn calibrated(
        &self,
        mut scorer: Scorer,
        calibration: Calibration,
        scores: &[f64],
        labels: &[bool],
    ) -> Result<Scorer, TrainError> {
        let told: Vec<f64> = scores.iter().map(|score| calibration.probability(*score)).collect();
        scorer.model.threshold = threshold_by_cost(&told, labels, self.config.cost)?;
        scorer.model.calibration = calibration;
        Ok(scorer)
    }

    fn report(&self, fold_of: &[usize], held_out: &HeldOut) -> Result<PropensityReport, TrainError> {
        let labels = &self.examples.labels;
        let mut told = vec![0.0; fold_of.len()];
        let mut said_yes = vec![false; fold_of.len()];
        let (mut folds, mut lost) = (Vec::new(), BTreeMap::<String, f64>::new());
        for (fold, scorer) in held_out.scorers.iter().enumerate() {
            let (judging, training) = parted(fold_of, fold);
            let at = |rows: &[usize]| {
                let scores = rows.iter().map(|row| held_out.scores[*row]).collect::<Vec<f64>>();
                (scores, rows.iter().map(|row| labels[*row]).collect::<Vec<bool>>())
            };
            // The curve and the threshold come from rows that do not judge.
            let (scores, happened) = at(&training);
            let calibration = Calibration::fit(self.config.calibration, &scores, &happened)?;
            let scorer = self.calibrated(scorer.clone(), calibration, &scores, &happened)?;
            let (scores, happened) = at(&judging);
            let own: Vec<f64> =
                scores.iter().map(|score| scorer.model.calibration.probability(*score)).collect();
            for (row, p) in judging.iter().zip(&own) {
                told[*row] = *p;
                said_yes[*row] = *p >= scorer.model.threshold;
            }
            let figures = Classification::of(&own, &happened, scorer.model.threshold)?;
            folds.push(FoldFigures { training_rows: training.len(), figures });
            if self.config.importance_repeats > 0 {
                let table = pick_rows(&self.examples.table, &judging);
                let stream = self.stream.child(IMPORTANCE).child(fold as u64);
                let repeats = self.config.importance_repeats;
                for (name, auc) in importance(&scorer, &table, &happened, repeats, stream)? {
                    *lost.entry(name).or_default() += auc / self.config.folds as f64;
                }
            }
        }
        let mut importance: Vec<(String, f64)> = lost.into_iter().collect();
        importance.sort_by(|a, b| b.1.total_cmp(&a.1));
        let threshold = threshold_by_cost(&told, labels, self.config.cost)?;
        Ok(PropensityReport {
            config: self.config.clone(),
            recipes: self.recipes.to_vec(),
            over_folds: over_folds(&folds),
            folds,
            pooled: Classification::of(&told, labels, threshold)?.deciding(&said_yes, labels),
            importance,
        })
    }
}

/// Rows that judge in a fold, and those that teach.
fn parted(fold_of: &[usize], fold: usize) -> (Vec<usize>, Vec<usize>) {
    (0..fold_of.len()).partition(|row| fold_of[*row] == fold)
}

fn over_folds(folds: &[FoldFigures]) -> BTreeMap<String, OverFolds> {
    let mut values = BTreeMap::<&str, Vec<f64>>::new();
    for (name, value) in folds.iter().flat_map(|fold| fold.figures.figures()) {
        values.entry(name).or_default().push(value);
    }
    values.into_iter().filter_map(|(name, all)| Some((name.to_owned(), OverFolds::of(&all)?))).collect()
}
