//! Fold by fold or window by window, then on all rows.

use std::collections::BTreeMap;

use qhatu_eval::{Classification, OverFolds, threshold_by_cost};
use qhatu_features::{Preparation, Recipe};
use qhatu_models::Stream;
use qhatu_models::calibration::Calibration;
use qhatu_models::feature_transformer::Features;
use qhatu_models::propensity::{Classifier, Kind, Propensity};
use qhatu_models::trees::{Columns, Target};
use serde::{Deserialize, Serialize};

use super::artifact::Scorer;
use super::config::PropensityConfig;
use super::example::Examples;
use super::fold::{Folds, balanced};
use super::importance::{importance, pick_rows};
use super::text::{Rows, TextColumn, TextPreparation};
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
    /// How rows were set aside, in words.
    pub protocol: String,
    /// What was asked for.
    pub config: PropensityConfig,
    /// How each column was prepared.
    pub recipes: Vec<(String, Recipe)>,
    /// Columns of texts that a text model read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
    /// Each fold, or each window that is judged, oldest first.
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
const TEXTS: u64 = 3;

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
    let folds = task.folds();
    let held_out = task.held_out(&folds)?;
    let report = task.report(&folds, &held_out)?;
    let scorer = task.scorer(&(0..labels.len()).collect::<Vec<_>>(), folds.count() as u64)?;
    let scored = folds.scored();
    let (scores, happened) = task.told(&held_out, &folds.rows(|fold| scored.contains(&fold)));
    let calibration = Calibration::fit(config.calibration, &scores, &happened)?;
    let scorer = task.calibrated(scorer, calibration, &scores, &happened)?;
    Ok(Trained { scorer, report })
}

/// Judges settings fold by fold and keeps no model: what [`train`] would report of them, without the columns' importance.
///
/// # Errors
/// As [`train`].
pub fn judge(
    examples: &Examples,
    recipes: &[(String, Recipe)],
    config: &PropensityConfig,
) -> Result<PropensityReport, TrainError> {
    let config = PropensityConfig { importance_repeats: 0, ..config.clone() };
    let task = Task::new(examples, recipes, &config)?;
    let folds = task.folds();
    task.report(&folds, &task.held_out(&folds)?)
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
    let folds = task.folds();
    let scorers = task.held_out(&folds)?.scorers;
    Ok(scorers.into_iter().map(|(fold, scorer)| (folds.judging(fold), scorer)).collect())
}

struct Task<'a> {
    examples: &'a Examples,
    recipes: &'a [(String, Recipe)],
    config: &'a PropensityConfig,
    stream: Stream,
}

/// The score of each row by the model of its fold, where it has one, and those models with their folds.
struct HeldOut {
    scores: Vec<f64>,
    scorers: Vec<(usize, Scorer)>,
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
        if examples.periods.is_empty() && positives.min(rows - positives) < config.folds {
            return Err(TrainError::FewLabels { positives, rows, folds: config.folds });
        }
        check_windows(examples)?;
        if recipes.is_empty() && examples.texts.is_empty() {
            return Err(TrainError::NoFeatures);
        }
        Ok(Self { examples, recipes, config, stream: Stream::new(config.seed) })
    }

    fn folds(&self) -> Folds {
        Folds::new(self.examples, self.config.folds, self.stream.child(FOLDS))
    }

    /// Scores and labels of some rows.
    fn told(&self, held_out: &HeldOut, rows: &[usize]) -> (Vec<f64>, Vec<bool>) {
        let scores = rows.iter().map(|row| held_out.scores[*row]).collect();
        (scores, rows.iter().map(|row| self.examples.labels[*row]).collect())
    }

    /// Prepares and fits on these rows and no others; calibration and threshold come later.
    fn scorer(&self, training: &[usize], number: u64) -> Result<Scorer, TrainError> {
        let Self { examples, config, .. } = self;
        let recipes: Vec<(&str, Recipe)> =
            self.recipes.iter().map(|(name, recipe)| (name.as_str(), *recipe)).collect();
        let preparation = match recipes.is_empty() {
            true => Preparation::none(),
            false => Preparation::fit(&recipes, &examples.table, training)?,
        };
        let form = (config.text_width, config.model.kind == Kind::Logistic);
        let stream = self.stream.child(TEXTS).child(number);
        let texts = TextPreparation::fit(&examples.texts, training, form, stream);
        let stream = self.stream.child(BALANCE).child(number);
        let drawn = balanced(training, &examples.labels, config.balance, stream);
        let mut prepared = preparation.transform(&pick_rows(&examples.table, &drawn.rows))?;
        let vectors = texts.spans(prepared.len());
        prepared.extend(texts.transform(&self.picked(&drawn.rows))?);
        let labels: Vec<f32> =
            drawn.rows.iter().map(|row| f32::from(u8::from(examples.labels[*row]))).collect();
        if prepared.is_empty() {
            return Err(TrainError::NoFeatures);
        }
        let mut categorical = preparation.categorical();
        categorical.resize(prepared.len(), false);
        let columns = Columns { values: &prepared, categorical: &categorical };
        let target = Target { labels: &labels, weights: &drawn.weights, groups: &[] };
        let features = Features { columns, vectors: &vectors };
        let classifier = Classifier::fit(features, &target, &config.model, config.seed)?;
        let names = [preparation.names(), texts.names()].concat();
        let model = Propensity { classifier, calibration: Calibration::None, threshold: 0.5, names };
        Ok(Scorer { preparation, texts, model })
    }

    /// The texts of some rows.
    fn picked(&self, rows: &[usize]) -> Vec<TextColumn> {
        self.examples.texts.iter().map(|column| column.pick(rows)).collect()
    }

    fn held_out(&self, folds: &Folds) -> Result<HeldOut, TrainError> {
        let mut scores = vec![0.0; self.examples.labels.len()];
        let mut scorers = Vec::new();
        for fold in folds.scored() {
            let judging = folds.judging(fold);
            let scorer = self.scorer(&folds.teaching(fold), fold as u64)?;
            let table = pick_rows(&self.examples.table, &judging);
            let prepared = scorer.prepare(Rows { table: &table, texts: &self.picked(&judging) })?;
            let own = scorer.model.classifier.scores(Columns::numbers(&prepared))?;
            judging.iter().zip(own).for_each(|(row, score)| scores[*row] = score);
            scorers.push((fold, scorer));
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

    fn report(&self, folds: &Folds, held_out: &HeldOut) -> Result<PropensityReport, TrainError> {
        let labels = &self.examples.labels;
        let mut told = vec![0.0; labels.len()];
        let mut said_yes = vec![false; labels.len()];
        let (mut figures, mut lost) = (Vec::new(), BTreeMap::<String, f64>::new());
        let judged = folds.judged();
        for (fold, scorer) in held_out.scorers.iter().filter(|(fold, _)| judged.contains(fold)) {
            // The curve and the threshold come from rows that do not judge.
            let (scores, happened) = self.told(held_out, &folds.calibrating(*fold));
            let calibration = Calibration::fit(self.config.calibration, &scores, &happened)?;
            let scorer = self.calibrated(scorer.clone(), calibration, &scores, &happened)?;
            let judging = folds.judging(*fold);
            let (scores, happened) = self.told(held_out, &judging);
            let own: Vec<f64> =
                scores.iter().map(|score| scorer.model.calibration.probability(*score)).collect();
            for (row, p) in judging.iter().zip(&own) {
                told[*row] = *p;
                said_yes[*row] = *p >= scorer.model.threshold;
            }
            let found = Classification::of(&own, &happened, scorer.model.threshold)?;
            figures.push(FoldFigures { training_rows: folds.teaching(*fold).len(), figures: found });
            if self.config.importance_repeats > 0 {
                let table = pick_rows(&self.examples.table, &judging);
                let stream = self.stream.child(IMPORTANCE).child(*fold as u64);
                let repeats = self.config.importance_repeats;
                let rows = Rows { table: &table, texts: &self.picked(&judging) };
                for (name, auc) in importance(&scorer, rows, &happened, repeats, stream)? {
                    *lost.entry(name).or_default() += auc / judged.len() as f64;
                }
            }
        }
        let mut importance: Vec<(String, f64)> = lost.into_iter().collect();
        importance.sort_by(|a, b| b.1.total_cmp(&a.1));
        let rows = folds.rows(|fold| judged.contains(&fold));
        let told: Vec<f64> = rows.iter().map(|row| told[*row]).collect();
        let said_yes: Vec<bool> = rows.iter().map(|row| said_yes[*row]).collect();
        let labels: Vec<bool> = rows.iter().map(|row| labels[*row]).collect();
        let threshold = threshold_by_cost(&told, &labels, self.config.cost)?;
        Ok(PropensityReport {
            protocol: folds.protocol(self.config.seed),
            config: self.config.clone(),
            recipes: self.recipes.to_vec(),
            texts: self.examples.texts.iter().map(|column| column.name.clone()).collect(),
            over_folds: over_folds(&figures),
            folds: figures,
            pooled: Classification::of(&told, &labels, threshold)?.deciding(&said_yes, &labels),
            importance,
        })
    }
}

/// Each window must hold both labels, for it teaches and judges.
fn check_windows(examples: &Examples) -> Result<(), TrainError> {
    let windows = examples.periods.iter().map(|period| period + 1).max().unwrap_or(0);
    for window in 0..windows {
        let own = || examples.periods.iter().zip(&examples.labels).filter(|(period, _)| **period == window);
        let (rows, positives) = (own().count(), own().filter(|(_, label)| **label).count());
        if positives == 0 || positives == rows {
            return Err(TrainError::Window { window: window + 1, positives, rows });
        }
    }
    Ok(())
}

fn over_folds(folds: &[FoldFigures]) -> BTreeMap<String, OverFolds> {
    let mut values = BTreeMap::<&str, Vec<f64>>::new();
    for (name, value) in folds.iter().flat_map(|fold| fold.figures.figures()) {
        values.entry(name).or_default().push(value);
    }
    values.into_iter().filter_map(|(name, all)| Some((name.to_owned(), OverFolds::of(&all)?))).collect()
}
