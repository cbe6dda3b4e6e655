//! Softmax of a row and its gradient.

use super::lane::{self, LANES, larger, sum_pairs};
use super::level::{dispatched, level};

dispatched! {
    /// [`softmax`] at a level.
    fn softmax_at(row: &mut [f32]) -> f32 = softmax_body
}
dispatched! {
    /// [`exponents`] at a level.
    fn exponents_at(row: &mut [f32], top: f32) -> f32 = exponents_body
}
dispatched! {
    /// [`softmax_backward`] at a level.
    fn softmax_backward_at(p: &[f32], d: &mut [f32], scale: f32) = backward_body
}

/// `pᵢ ← e^(xᵢ − m) ⁄ Σ e^(xⱼ − m)` with m the largest; returns `ln Σ e^xⱼ`. An empty row gives −∞.
pub(crate) fn softmax(row: &mut [f32]) -> f32 {
    softmax_at(level(), row)
}

/// `xᵢ ← e^(xᵢ − top)`; returns their sum. What is −∞ becomes 0.
pub(crate) fn exponents(row: &mut [f32], top: f32) -> f32 {
    exponents_at(level(), row, top)
}

/// `dᵢ ← scale · pᵢ (dᵢ − Σ pⱼ dⱼ)`: the gradient of a softmax's input from that of its output.
pub(crate) fn softmax_backward(p: &[f32], d: &mut [f32], scale: f32) {
    assert_eq!(p.len(), d.len(), "as many gradients as probabilities");
    softmax_backward_at(level(), p, d, scale);
}

#[inline(always)]
fn softmax_body<const FMA: bool>(row: &mut [f32]) -> f32 {
    let mut tops = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for place in 0..LANES {
            tops[place] = larger(chunk[place], tops[place]);
        }
    }
    let top = tops.iter().chain(rest).fold(f32::NEG_INFINITY, |top, x| larger(*x, top));
    let sum = exponents_body::<FMA>(row, top);
    let factor = 1.0 / sum;
    row.iter_mut().for_each(|x| *x *= factor);
    top + sum.ln()
}

#[inline(always)]
fn exponents_body<const FMA: bool>(row: &mut [f32], top: f32) -> f32 {
    let mut sums = [0.0; LANES];
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for place in 0..LANES {
            chunk[place] = lane::exp::<FMA>(chunk[place] - top);
            sums[place] += chunk[place];
        }
    }
    for (place, x) in rest.iter_mut().enumerate() {
        *x = lane::exp::<FMA>(*x - top);
        sums[place] += *x;
    }
    lane::fold(sums)
}

#[inline(always)]
fn backward_body<const FMA: bool>(p: &[f32], d: &mut [f32], scale: f32) {
    let dot = sum_pairs(p, d, |sum, p, d| lane::multiply_add::<FMA>(p, d, sum));
    p.iter().zip(d).for_each(|(p, d)| *d = scale * p * (*d - dot));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::level::levels;
    use crate::kernel::tests::{close, numbers};

    #[test]
    fn a_row_becomes_probabilities_at_every_level() {
        for length in [1, 2, 15, 16, 17, 100, 3659] {
            let x: Vec<f32> = numbers(length, 1).iter().map(|x| 20.0 * x).collect();
            let top = x.iter().copied().fold(f32::MIN, f32::max);
            let whole: f64 = x.iter().map(|x| f64::from(x - top).exp()).sum();
            for level in levels() {
                let mut row = x.clone();
                let found = softmax_at(level, &mut row);
                assert!(
                    (f64::from(found) - (f64::from(top) + whole.ln())).abs() < 1e-5,
                    "{level:?} {length}"
                );
                let want: Vec<f64> = x.iter().map(|x| f64::from(x - top).exp() / whole).collect();
                close(&row, &want, 3e-7);
            }
        }
    }

    #[test]
    fn extreme_scores_stay_numbers() {
        for level in levels() {
            let mut row = [1e30, -1e30, 0.0, f32::MIN];
            softmax_at(level, &mut row);
            assert_eq!(row, [1.0, 0.0, 0.0, 0.0]);
        }
    }

    #[test]
    fn the_gradient_is_that_of_the_formula() {
        let (mut p, d) = (numbers(37, 2), numbers(37, 3));
        softmax(&mut p);
        let dot: f64 = p.iter().zip(&d).map(|(p, d)| f64::from(*p) * f64::from(*d)).sum();
        let want: Vec<f64> =
            p.iter().zip(&d).map(|(p, d)| 0.5 * f64::from(*p) * (f64::from(*d) - dot)).collect();
        for level in levels() {
            let mut found = d.clone();
            softmax_backward_at(level, &p, &mut found, 0.5);
            close(&found, &want, 1e-7);
        }
    }
}
