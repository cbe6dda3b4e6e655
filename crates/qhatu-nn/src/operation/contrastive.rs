//! In-batch contrastive loss: of a batch of pairs, each first vector must find its own second one among all of
//! the batch (Henderson et al., "Efficient Natural Language Response Suggestion", 2017; InfoNCE: van den Oord et
//! al., 2018; sentence-transformers' MultipleNegativesRankingLoss).
//!
//! `L = Σ ln Σ_j e^(q·a_j ⁄ τ) − q·a ⁄ τ`, the inner sum over all answers but those that are left out of the row: a second
//! vector that is the same as one's own, or belongs to the same first one, is no wrong answer.

use crate::operation::cross_entropy::{CrossEntropy, Gradients, Sparse, Targets};

/// What a logit is lowered by to be left out; far below any of vectors of length 1, and finite.
const OUT: f32 = -1e4;

/// Which answers are left out of which row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Where each row's entries begin, and at last their number.
    pub starts: Vec<usize>,
    /// The answer of each entry.
    pub answers: Vec<u32>,
}

impl LeftOut {
    /// Of `rows` pairs, those that `same` says are no wrong answer: `same(row, other)`; a row's own answer never is.
    pub fn of(rows: usize, same: impl Fn(usize, usize) -> bool) -> Self {
        let mut own = Self { starts: vec![0], answers: Vec::new() };
        for row in 0..rows {
            own.answers.extend(
                (0..rows).filter(|other| *other != row && same(row, *other)).map(|other| other as u32),
            );
            own.starts.push(own.answers.len());
        }
        own
    }
}

/// The sum of the losses of a batch. `d_queries` is overwritten, `d_answers` added to, both with gradients times
/// `scale`.
///
/// # Shapes
/// `queries` and `answers` pairs × width, of length 1 each where their product is to be a cosine; the gradients
/// as these. Memory: 128 × pairs numbers.
///
/// # Panics
/// Where shapes do not fit, or `left_out` is not of as many rows.
pub fn forward_backward(
    (queries, answers): (&[f32], &[f32]),
    width: usize,
    (temperature, left_out): (f32, &LeftOut),
    scale: f32,
    (d_queries, d_answers): (&mut [f32], &mut [f32]),
) -> f64 {
    assert_eq!(queries.len(), answers.len(), "an answer for each query");
    let scaled: Vec<f32> = queries.iter().map(|value| value / temperature).collect();
    let targets: Vec<u32> = (0..(queries.len() / width.max(1)) as u32).collect();
    assert_eq!(left_out.starts.len(), targets.len() + 1, "a list of answers left out for each row");
    let values = vec![OUT; left_out.answers.len()];
    let offsets = Sparse { starts: &left_out.starts, classes: &left_out.answers, values: &values };
    let loss = CrossEntropy {
        weights: answers,
        bias: None,
        width,
        targets: Targets::Class(&targets),
        offsets: Some(offsets),
    };
    let mut to = Gradients { scale, x: d_queries, weights: d_answers, bias: None, offsets: None };
    let sum = loss.forward_backward(&scaled, &mut to, &mut Vec::new());
    d_queries.iter_mut().for_each(|d| *d /= temperature);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Numbers, differs, wide};
    use crate::kernel::tests::numbers;

    const WIDTH: usize = 3;

    #[test]
    fn gradients_are_those_of_finite_differences() {
        // The first and the third pair belong together.
        let left_out = LeftOut::of(4, |row, other| row.abs_diff(other) == 2 && row.min(other) == 0);
        assert_eq!(
            (left_out.starts.as_slice(), left_out.answers.as_slice()),
            (&[0, 1, 1, 2, 2][..], &[2, 0][..])
        );
        let [queries, answers] = [1, 2].map(|seed| numbers(4 * WIDTH, seed));
        let reference = |given: &Numbers| -> f64 {
            let dot = |row: usize, other: usize| -> f64 {
                (0..WIDTH).map(|at| given[0][row * WIDTH + at] * given[1][other * WIDTH + at]).sum::<f64>()
                    / 0.5
            };
            let out = |row: usize| &left_out.answers[left_out.starts[row]..left_out.starts[row + 1]];
            let row = |row: usize| {
                let rest = (0..4).filter(|other| !out(row).contains(&(*other as u32)));
                rest.map(|other| dot(row, other).exp()).sum::<f64>().ln() - dot(row, row)
            };
            0.25 * (0..4).map(row).sum::<f64>()
        };
        let (mut d_queries, mut d_answers) = (vec![7.0; 12], vec![0.0; 12]);
        let into = (d_queries.as_mut_slice(), d_answers.as_mut_slice());
        let found = forward_backward((&queries, &answers), WIDTH, (0.5, &left_out), 0.25, into);
        let want = 4.0 * reference(&wide(&[&queries, &answers]));
        assert!((found - want).abs() < 1e-5, "{found} is not {want}");
        assert_eq!(differs(&[&queries, &answers], &[&d_queries, &d_answers], reference), None);
    }
}
