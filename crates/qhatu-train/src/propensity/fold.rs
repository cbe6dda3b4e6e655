//! Folds, and what of a fold's other rows is learned from how often.
//!
//! Where rows have no order in time, folds hold the same share of each label, and each is foretold from all others.
//! Where they have, each window is a fold that is foretold from those before it alone.

use std::ops::Range;

use qhatu_models::Stream;

use super::config::Balance;
use super::example::Examples;

/// Which rows teach and which judge.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Folds {
    of: Vec<usize>,
    count: usize,
    in_time: bool,
}

impl Folds {
    /// Folds by window where there are windows, of equal shares otherwise.
    pub(super) fn new(examples: &Examples, folds: usize, stream: Stream) -> Self {
        if examples.periods.is_empty() {
            let of = stratified(&examples.labels, folds, stream);
            return Self { of, count: folds, in_time: false };
        }
        let of: Vec<usize> = examples.periods.iter().map(|period| *period as usize).collect();
        let count = of.iter().map(|period| period + 1).max().unwrap_or(0);
        Self { of, count, in_time: true }
    }

    /// The folds whose rows are scored by a model that did not see them.
    pub(super) fn scored(&self) -> Range<usize> {
        usize::from(self.in_time)..self.count
    }

    /// The folds that figures are told of: those for which others can teach the calibration.
    pub(super) fn judged(&self) -> Range<usize> {
        (if self.in_time { 2 } else { 0 })..self.count
    }

    /// The rows of some folds.
    pub(super) fn rows(&self, folds: impl Fn(usize) -> bool) -> Vec<usize> {
        (0..self.of.len()).filter(|row| folds(self.of[*row])).collect()
    }

    /// The rows of a fold.
    pub(super) fn judging(&self, fold: usize) -> Vec<usize> {
        self.rows(|own| own == fold)
    }

    /// The rows from which a fold's model learns.
    pub(super) fn teaching(&self, fold: usize) -> Vec<usize> {
        self.rows(|own| if self.in_time { own < fold } else { own != fold })
    }

    /// The scored rows from which a fold's calibration learns.
    pub(super) fn calibrating(&self, fold: usize) -> Vec<usize> {
        let scored = self.scored();
        self.rows(|own| scored.contains(&own) && if self.in_time { own < fold } else { own != fold })
    }

    /// How rows were set aside, in words.
    pub(super) fn protocol(&self, seed: u64) -> String {
        let Self { count, in_time, .. } = self;
        match in_time {
            true => format!("{count} windows one after another, each foretold from those before it"),
            false => format!("{count} stratified folds, seed {seed}"),
        }
    }

    /// Number of folds.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

/// The fold of each row: rows of a label, shuffled, are dealt out in turn, and the second label goes on where the
/// first ended, so that folds differ by one row at most.
fn stratified(labels: &[bool], folds: usize, stream: Stream) -> Vec<usize> {
    let mut fold_of = vec![0; labels.len()];
    let mut turn = 0;
    for label in [true, false] {
        let rows: Vec<usize> = (0..labels.len()).filter(|row| labels[*row] == label).collect();
        for place in stream.child(u64::from(label)).shuffled(rows.len()) {
            fold_of[rows[place]] = turn % folds;
            turn += 1;
        }
    }
    fold_of
}

/// The rows that a classifier is fitted on, and the weight of each.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Drawn {
    pub(super) rows: Vec<usize>,
    /// Empty where each counts 1.
    pub(super) weights: Vec<f32>,
}

/// Balances training rows, and those alone.
pub(super) fn balanced(training: &[usize], labels: &[bool], balance: Balance, stream: Stream) -> Drawn {
    let of = |label: bool| training.iter().copied().filter(|row| labels[*row] == label).collect::<Vec<_>>();
    let (yes, no) = (of(true), of(false));
    let mut drawn = Drawn { rows: training.to_vec(), weights: Vec::new() };
    if yes.is_empty() || no.is_empty() {
        return drawn;
    }
    match balance {
        Balance::None => {}
        Balance::Weights => {
            let half = training.len() as f32 / 2.0;
            let weight = |row: &usize| half / if labels[*row] { yes.len() as f32 } else { no.len() as f32 };
            drawn.weights = training.iter().map(weight).collect();
        }
        Balance::OverSample => {
            let (few, many) = if yes.len() < no.len() { (&yes, &no) } else { (&no, &yes) };
            let again = (0..many.len() - few.len()).map(|draw| few[stream.below(draw as u64, few.len())]);
            drawn.rows.extend(again);
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_hold_the_same_share_of_each_label() {
        let labels: Vec<bool> = (0..1003).map(|row| row % 7 == 0).collect();
        let folds = stratified(&labels, 5, Stream::new(1));
        for fold in 0..5 {
            let rows = folds.iter().filter(|own| **own == fold).count();
            let yes = (0..1003).filter(|row| folds[*row] == fold && labels[*row]).count();
            assert!((200..=201).contains(&rows) && (28..=29).contains(&yes), "{fold}: {rows} {yes}");
        }
        assert_ne!(folds, stratified(&labels, 5, Stream::new(2)));
    }

    #[test]
    fn in_time_a_window_is_foretold_from_those_before_it() {
        let examples = Examples {
            table: Default::default(),
            texts: Vec::new(),
            labels: vec![true, false, true, false, true],
            periods: vec![0, 0, 1, 2, 2],
        };
        let folds = Folds::new(&examples, 5, Stream::new(1));
        assert_eq!((folds.count(), folds.scored(), folds.judged()), (3, 1..3, 2..3));
        assert_eq!(
            (folds.judging(2), folds.teaching(2), folds.calibrating(2)),
            (vec![3, 4], vec![0, 1, 2], vec![2])
        );
        assert_eq!(folds.calibrating(1), Vec::<usize>::new());
        let folds = Folds::new(&Examples { periods: Vec::new(), ..examples }, 2, Stream::new(1));
        assert_eq!((folds.scored(), folds.judged()), (0..2, 0..2));
        assert_eq!(folds.teaching(0), folds.judging(1));
        assert_eq!(folds.calibrating(1), folds.judging(0));
    }

    #[test]
    fn only_training_rows_are_weighed_or_drawn_again() {
        let labels = [true, false, false, false, true, false, true];
        let training = [0, 1, 2, 3];
        let weighed = balanced(&training, &labels, Balance::Weights, Stream::new(1));
        assert_eq!((weighed.rows.as_slice(), weighed.weights[0]), (&training[..], 2.0));
        assert!((weighed.weights[1..].iter().sum::<f32>() - 2.0).abs() < 1e-6);
        let drawn = balanced(&training, &labels, Balance::OverSample, Stream::new(1));
        assert_eq!(drawn.rows, [0, 1, 2, 3, 0, 0], "rows 4 and 6 are a yes too, but judge");
        assert_eq!(balanced(&training, &labels, Balance::None, Stream::new(1)).rows, training);
        assert_eq!(balanced(&[1, 2], &labels, Balance::OverSample, Stream::new(1)).rows, [1, 2]);
    }
}
