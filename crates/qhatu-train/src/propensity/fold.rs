//! Folds with the same share of each label, and what of a fold's other rows is learned from how often.

use qhatu_models::Stream;

use super::config::Balance;

/// The fold of each row: rows of a label, shuffled, are dealt out in turn, and the second label goes on where the
/// first ended, so that folds differ by one row at most.
pub(super) fn stratified(labels: &[bool], folds: usize, stream: Stream) -> Vec<usize> {
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
