//! Gradient boosting: each tree on the gradients that those before it left.

use qhatu_nn::Stream;
use rayon::prelude::*;

use super::binning::{Binned, Columns};
use super::config::BoostingConfig;
use super::ensemble::TreeEnsemble;
use super::grower::{Grower, Grown};
use super::histogram::{Rounded, round};
use super::objective::{Objective, Pair, Target};
use crate::error::ModelError;

/// Rows to learn from, and those that say when to stop.
#[derive(Debug, Clone, Copy)]
pub struct Lesson<'a> {
    /// The features.
    pub columns: Columns<'a>,
    /// What is to be learned of them.
    pub target: Target<'a>,
    /// By which loss.
    pub objective: Objective,
    /// Rows that no tree learns from.
    pub validation: Option<(Columns<'a>, Target<'a>)>,
}

/// What boosting gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Boosted {
    /// The trees, up to the round of the lowest validation loss where early stopping is on.
    pub trees: TreeEnsemble,
    /// The loss of the validation rows after each round that was run.
    pub validation_losses: Vec<f64>,
}

/// Fits trees; none where there is no row, or all labels are the same. The same lesson, configuration and seed give the
/// same trees to the bit, on any number of threads.
///
/// Memory beside the columns: for each row a byte a feature for its bin, a byte a bundle of features (at most as many) for
/// the cells that are counted, and 28 bytes for margin, gradient and hessian (as they are and rounded) and its place
/// among the leaves: rows × (2 × features + 28) bytes at most, and 4 more for each thread while values are put into bins.
/// For each leaf that may still be cut 24 bytes a bin: leaves × features × 256 × 24 bytes at most. While rows are counted
/// 4 KiB a bundle and 65,536 rows. Each validation row takes 4 bytes a feature. Nothing grows with the rounds but the
/// trees, 24 bytes a node. The example `trees_memory` measures it.
///
/// # Errors
/// Where a setting makes no sense, or columns and target do not fit together.
pub fn fit_boosting(lesson: &Lesson, config: &BoostingConfig, seed: u64) -> Result<Boosted, ModelError> {
    config.check()?;
    let Lesson { columns, target, objective, validation } = *lesson;
    columns.check()?;
    target.check(columns.rows(), objective)?;
    if let Some((columns, target)) = &validation {
        columns.check()?;
        target.check(columns.rows(), objective)?;
    }
    let base = objective.base(&target);
    let mut trees = TreeEnsemble::new(base, columns.values.len());
    if target.labels.iter().all(|label| *label == target.labels[0]) {
        return Ok(Boosted { trees, validation_losses: Vec::new() });
    }
    let mut round = Round::new(columns, config, base, seed);
    let mut watch = validation.map(|rows| Watch::new(rows, objective, base));
    for number in 0..config.rounds {
        round.boost(number, &target, objective, &mut trees);
        if let Some(watch) = &mut watch {
            watch.look(&trees);
            if config.early_stopping_rounds > 0 && watch.is_past_best(config.early_stopping_rounds) {
                break;
            }
        }
    }
    let validation_losses = watch.map_or_else(Vec::new, |watch| watch.losses);
    if config.early_stopping_rounds > 0 && !validation_losses.is_empty() {
        trees.truncate(best(&validation_losses) + 1);
    }
    Ok(Boosted { trees, validation_losses })
}

/// What changes from round to round.
struct Round<'a> {
    config: &'a BoostingConfig,
    binned: Binned,
    stream: Stream,
    margins: Vec<f32>,
    pairs: Vec<Pair>,
    rounded: Vec<Rounded>,
}

impl<'a> Round<'a> {
    fn new(columns: Columns, config: &'a BoostingConfig, base: f32, seed: u64) -> Self {
        Self {
            config,
            binned: Binned::new(columns, config.growth.bins),
            stream: Stream::new(seed),
            margins: vec![base; columns.rows()],
            pairs: vec![Pair::default(); columns.rows()],
            rounded: Vec::new(),
        }
    }

    fn boost(&mut self, number: usize, target: &Target, objective: Objective, trees: &mut TreeEnsemble) {
        objective.pairs(target, &self.margins, &mut self.pairs);
        let unit = round(&self.pairs, &mut self.rounded);
        let growth = &self.config.growth;
        let stream = self.stream.child(number as u64);
        let rows = sample(self.binned.rows, growth.row_share, stream.child(0));
        let features = sample(self.binned.columns.len(), growth.feature_share, stream.child(1));
        let features: Vec<usize> = features.into_iter().map(|feature| feature as usize).collect();
        let grower = Grower { binned: &self.binned, growth, rounded: &self.rounded, unit };
        let grown = grower.grow(rows, &features, stream.child(2));
        grown.join(trees, &self.binned, self.config.learning_rate);
        self.add(&grown);
    }

    /// Adds the tree's answers to the margins, the same numbers as [`TreeEnsemble::margin`] adds.
    fn add(&mut self, grown: &Grown) {
        let answer = |node: usize| (grown.nodes[node].answer * self.config.learning_rate) as f32;
        if grown.rows.len() == self.margins.len() {
            for (rows, node) in &grown.leaves {
                let answer = answer(*node);
                grown.rows[rows.clone()].iter().for_each(|row| self.margins[*row as usize] += answer);
            }
        } else {
            let binned = &self.binned;
            let margins = self.margins.par_iter_mut().enumerate();
            margins.for_each(|(row, margin)| *margin += answer(grown.leaf_of(binned, row)));
        }
    }
}

/// Numbers of `0..count`, each with a chance of `share`; all of them where chance leaves none.
fn sample(count: usize, share: f64, stream: Stream) -> Vec<u32> {
    let is_drawn = |place: &u32| (stream.at(u64::from(*place)) >> 11) as f64 / (1_u64 << 53) as f64 <= share;
    let all = 0..count as u32;
    if share >= 1.0 {
        return all.collect();
    }
    let drawn: Vec<u32> = all.clone().filter(is_drawn).collect();
    if drawn.is_empty() { all.collect() } else { drawn }
}

/// The loss of rows that no tree learns from.
struct Watch<'a> {
    rows: Vec<Vec<f32>>,
    target: Target<'a>,
    objective: Objective,
    margins: Vec<f32>,
    losses: Vec<f64>,
}

impl<'a> Watch<'a> {
    fn new((columns, target): (Columns, Target<'a>), objective: Objective, base: f32) -> Self {
        let rows: Vec<Vec<f32>> = (0..columns.rows()).map(|row| columns.row(row)).collect();
        Self { margins: vec![base; rows.len()], rows, target, objective, losses: Vec::new() }
    }

    fn look(&mut self, trees: &TreeEnsemble) {
        let margins = self.margins.par_iter_mut().zip(&self.rows);
        margins.for_each(|(margin, row)| *margin += trees.last_answer(row));
        self.losses.push(self.objective.loss(&self.target, &self.margins));
    }

    fn is_past_best(&self, patience: usize) -> bool {
        self.losses.len() > best(&self.losses) + patience
    }
}

/// The first round of the lowest loss.
fn best(losses: &[f64]) -> usize {
    let lower = |best: usize, place: usize| if losses[place] < losses[best] { place } else { best };
    (0..losses.len()).fold(0, lower)
}

#[cfg(test)]
mod tests {
    use super::super::config::Growth;
    use super::*;

    fn config() -> BoostingConfig {
        let growth = Growth { leaves: 8, min_rows_in_leaf: 5, ..Growth::default() };
        BoostingConfig { rounds: 60, learning_rate: 0.3, early_stopping_rounds: 0, growth }
    }

    /// 400 rows: y = x0 > 10 xor x1 > 10, x2 is noise.
    fn exclusive_or() -> (Vec<Vec<f64>>, Vec<f32>) {
        let column = |of: fn(i32) -> i32| (0..400).map(|row| f64::from(of(row))).collect::<Vec<f64>>();
        let columns = vec![column(|row| row % 20), column(|row| row / 20), column(|row| row * 7919 % 13)];
        let label = |row: usize| f32::from(u8::from((columns[0][row] > 10.0) != (columns[1][row] > 10.0)));
        let labels = (0..400).map(label).collect();
        (columns, labels)
    }

    fn lesson<'a>(columns: &'a [Vec<f64>], labels: &'a [f32], objective: Objective) -> Lesson<'a> {
        Lesson {
            columns: Columns::numbers(columns),
            target: Target::new(labels),
            objective,
            validation: None,
        }
    }

    fn fit(columns: &[Vec<f64>], labels: &[f32]) -> TreeEnsemble {
        fit_boosting(&lesson(columns, labels, Objective::Logistic), &config(), 1).unwrap().trees
    }

    #[test]
    fn trees_learn_what_no_sum_of_single_features_can() {
        let (columns, labels) = exclusive_or();
        let margins = fit(&columns, &labels).margins(Columns::numbers(&columns)).unwrap();
        let right = margins.iter().zip(&labels).filter(|(margin, label)| (**margin > 0.0) == (**label > 0.5));
        assert!(right.count() >= 398);
    }

    #[test]
    fn a_missing_value_goes_to_the_side_it_resembles() {
        let value = |row: usize| if row.is_multiple_of(3) { f64::NAN } else { (row % 3) as f64 };
        let columns = [(0..300).map(value).collect::<Vec<f64>>()];
        let labels: Vec<f32> = (0..300).map(|row| f32::from(u8::from(row % 3 != 1))).collect();
        let trees = fit(&columns, &labels);
        assert!(trees.margin(&[f32::NAN]) > 2.0 && trees.margin(&[2.0]) > 2.0);
        assert!(trees.margin(&[1.0]) < -2.0);
        assert_eq!(trees.margin(&[]), trees.margin(&[f32::INFINITY]), "what is not there is missing");
    }

    #[test]
    fn categories_are_cut_into_sets_and_an_unknown_one_is_missing() {
        let columns = [(0..600).map(|row| f64::from(row % 12)).collect::<Vec<f64>>()];
        let labels: Vec<f32> =
            (0..600).map(|row| f32::from(u8::from([1, 4, 5, 10].contains(&(row % 12))))).collect();
        let columns = Columns { values: &columns, categorical: &[true] };
        let lesson = Lesson {
            columns,
            target: Target::new(&labels),
            objective: Objective::Logistic,
            validation: None,
        };
        let growth = Growth { leaves: 2, ..config().growth };
        let trees = fit_boosting(&lesson, &BoostingConfig { growth, ..config() }, 1).unwrap().trees;
        for own in 0..12 {
            let yes = [1, 4, 5, 10].contains(&own);
            assert_eq!(trees.margin(&[own as f32]) > 0.0, yes, "{own}");
        }
        assert_eq!(trees.margin(&[99.0]), trees.margin(&[f32::NAN]));
        assert_eq!(trees.margin(&[-3.0]), trees.margin(&[f32::NAN]));
    }

    #[test]
    fn the_mean_probability_is_the_share_of_positives_and_weights_count() {
        let columns = [(0..1000).map(|row| f64::from(row % 10)).collect::<Vec<f64>>()];
        let labels: Vec<f32> =
            (0..1000).map(|row| f32::from(u8::from(row * 7919 % 100 < 3 * (row % 10)))).collect();
        let mean = |weights: &[f32]| {
            let target = Target { labels: &labels, weights, groups: &[] };
            let lesson = Lesson { target, ..lesson(&columns, &labels, Objective::Logistic) };
            let trees = fit_boosting(&lesson, &config(), 3).unwrap().trees;
            let margins = trees.margins(Columns::numbers(&columns)).unwrap();
            let sum = |of: &dyn Fn(usize) -> f64| {
                (0..1000).map(|row| of(row) * weights.get(row).map_or(1.0, |w| f64::from(*w))).sum::<f64>()
            };
            let p = |row: usize| 1.0 / (1.0 + f64::from(-margins[row]).exp());
            (sum(&p), sum(&|row| f64::from(labels[row])))
        };
        let tripled: Vec<f32> = labels.iter().map(|label| 1.0 + 2.0 * label).collect();
        for weights in [&[][..], &tripled] {
            let (said, was) = mean(weights);
            assert!((said / was - 1.0).abs() < 0.01, "{said} {was}");
        }
    }

    #[test]
    fn a_doubled_row_is_a_row_of_weight_two() {
        let (mut columns, mut labels) = exclusive_or();
        let weights: Vec<f32> = (0..400).map(|row| if row < 100 { 2.0 } else { 1.0 }).collect();
        let growth = Growth { min_rows_in_leaf: 1, ..config().growth };
        let config = BoostingConfig { growth, rounds: 10, ..config() };
        let target = Target { labels: &labels.clone(), weights: &weights, groups: &[] };
        let kept = columns.clone();
        let weighted = Lesson { target, ..lesson(&kept, &[], Objective::Logistic) };
        let weighted = fit_boosting(&weighted, &config, 1).unwrap().trees;
        columns.iter_mut().for_each(|column| column.extend_from_within(..100));
        labels.extend_from_within(..100);
        let doubled =
            fit_boosting(&lesson(&columns, &labels, Objective::Logistic), &config, 1).unwrap().trees;
        let far = (0..400).map(|row| {
            let row = Columns::numbers(&columns).row(row);
            (weighted.margin(&row) - doubled.margin(&row)).abs()
        });
        assert!(far.fold(0.0, f32::max) < 1e-3);
    }

    #[test]
    fn margins_of_training_are_those_of_answering_on_any_number_of_threads() {
        let (columns, labels) = exclusive_or();
        let growth =
            Growth { row_share: 0.7, feature_share: 0.7, split_feature_share: 0.6, ..config().growth };
        let config = BoostingConfig { growth, ..config() };
        let validation = Some((Columns::numbers(&columns), Target::new(&labels)));
        let lesson = Lesson { validation, ..lesson(&columns, &labels, Objective::Logistic) };
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| fit_boosting(&lesson, &config, 5).unwrap())
        };
        let one = on(1);
        assert_eq!(one, on(3));
        assert_ne!(one, fit_boosting(&lesson, &config, 6).unwrap());
        let margins = one.trees.margins(Columns::numbers(&columns)).unwrap();
        let each: Vec<f32> = (0..400).map(|row| one.trees.margin(&lesson.columns.row(row))).collect();
        assert_eq!(margins, each);
        let loss = Objective::Logistic.loss(&lesson.target, &margins);
        assert_eq!(Some(&loss), one.validation_losses.last());
    }

    #[test]
    fn early_stopping_keeps_the_best_round() {
        let (columns, labels) = exclusive_or();
        // The validation rows contradict what is learned, so the loss soon rises.
        let other: Vec<f32> =
            labels.iter().zip(0..).map(|(y, row)| if row % 3 == 0 { 1.0 - y } else { *y }).collect();
        let validation = Some((Columns::numbers(&columns), Target::new(&other)));
        let lesson = Lesson { validation, ..lesson(&columns, &labels, Objective::Logistic) };
        let config = BoostingConfig { early_stopping_rounds: 5, ..config() };
        let Boosted { trees, validation_losses } = fit_boosting(&lesson, &config, 1).unwrap();
        assert_eq!(trees.trees(), best(&validation_losses) + 1);
        assert_eq!(validation_losses.len(), trees.trees() + 5);
        assert!(validation_losses.len() < 60);
    }

    #[test]
    fn rows_that_teach_nothing_give_a_constant() {
        assert_eq!(fit(&[vec![], vec![]], &[]).margin(&[1.0, 2.0]), 0.0);
        assert_eq!(fit(&[vec![1.0, 2.0]], &[1.0, 1.0]).margin(&[5.0]), 10.0);
        let bad = [vec![1.0], vec![]];
        let refused = fit_boosting(&lesson(&bad, &[1.0], Objective::Logistic), &config(), 1);
        assert!(refused.unwrap_err().to_string().contains("feature 1 has 0 rows"));
    }

    #[test]
    fn the_squared_objective_learns_means() {
        let columns = [(0..200).map(|row| f64::from(row % 4)).collect::<Vec<f64>>()];
        let labels: Vec<f32> = (0..200).map(|row| [3.0, -1.0, 10.0, 4.0][row % 4]).collect();
        let growth = Growth { l2: 0.0, ..config().growth };
        let config = BoostingConfig { growth, ..config() };
        let trees = fit_boosting(&lesson(&columns, &labels, Objective::Squared), &config, 1).unwrap().trees;
        for (value, mean) in [3.0, -1.0, 10.0, 4.0].into_iter().enumerate() {
            assert!((trees.margin(&[value as f32]) - mean).abs() < 1e-3);
        }
    }
}
