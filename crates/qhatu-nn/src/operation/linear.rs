//! Linear map: `y = x Wᵀ + b`.
//!
//! `W` is outputs × inputs, as PyTorch and published checkpoints keep it. Gradients:
//! `dx = dy W`, `dW += dyᵀ x`, `db += Σ rows of dy`.

use crate::kernel::step::add_scaled;
use crate::kernel::{Layout, matmul};

/// Width of the input and of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Widths {
    /// Columns of `x`.
    pub inputs: usize,
    /// Columns of `y`.
    pub outputs: usize,
}

impl Widths {
    fn rows(self, x: &[f32], y: &[f32]) -> usize {
        let rows = y.len() / self.outputs.max(1);
        assert!(y.len() == rows * self.outputs && x.len() == rows * self.inputs, "x and y have equal rows");
        rows
    }
}

/// `y ← x Wᵀ + b`.
///
/// # Shapes
/// `x` rows × inputs, `weights` outputs × inputs, `bias` outputs, `y` rows × outputs.
pub fn forward(x: &[f32], weights: &[f32], bias: Option<&[f32]>, y: &mut [f32], widths: Widths) {
    let Widths { inputs, outputs } = widths;
    let rows = widths.rows(x, y);
    if let Some(bias) = bias {
        y.chunks_exact_mut(outputs.max(1)).for_each(|row| row.copy_from_slice(bias));
    }
    matmul(
        (y, Layout::dense(rows, outputs)),
        if bias.is_some() { 1.0 } else { 0.0 },
        (x, Layout::dense(rows, inputs)),
        (weights, Layout::dense(outputs, inputs).transposed()),
        1.0,
    );
}

/// `dx ← dy W`.
///
/// # Shapes
/// `d_y` rows × outputs, `weights` outputs × inputs, `d_x` rows × inputs.
pub fn backward_input(d_y: &[f32], weights: &[f32], d_x: &mut [f32], widths: Widths) {
    let Widths { inputs, outputs } = widths;
    let rows = widths.rows(d_x, d_y);
    matmul(
        (d_x, Layout::dense(rows, inputs)),
        0.0,
        (d_y, Layout::dense(rows, outputs)),
        (weights, Layout::dense(outputs, inputs)),
        1.0,
    );
}

/// `dW += dyᵀ x`, `db += Σ rows of dy`.
///
/// # Shapes
/// `x` rows × inputs, `d_y` rows × outputs, `d_weights` outputs × inputs, `d_bias` outputs.
pub fn backward_weights(
    x: &[f32],
    d_y: &[f32],
    d_weights: &mut [f32],
    d_bias: Option<&mut [f32]>,
    widths: Widths,
) {
    let Widths { inputs, outputs } = widths;
    let rows = widths.rows(x, d_y);
    matmul(
        (d_weights, Layout::dense(outputs, inputs)),
        1.0,
        (d_y, Layout::dense(rows, outputs).transposed()),
        (x, Layout::dense(rows, inputs)),
        1.0,
    );
    if let Some(d_bias) = d_bias {
        assert_eq!(d_bias.len(), outputs, "a bias for each output");
        for row in d_y.chunks_exact(outputs.max(1)) {
            add_scaled(d_bias, row, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Numbers, differs};
    use crate::kernel::tests::numbers;

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for (rows, inputs, outputs) in [(1, 1, 1), (3, 5, 2), (4, 2, 7)] {
            let widths = Widths { inputs, outputs };
            let [x, w, b] =
                [rows * inputs, outputs * inputs, outputs].map(|count| numbers(count, count as u64));
            let d_y = numbers(rows * outputs, 9);
            let loss = |given: &Numbers| {
                let mut sum = 0.0;
                for row in 0..rows {
                    for o in 0..outputs {
                        let dot: f64 =
                            (0..inputs).map(|i| given[0][row * inputs + i] * given[1][o * inputs + i]).sum();
                        sum += f64::from(d_y[row * outputs + o]) * (dot + given[2][o]);
                    }
                }
                sum
            };
            let (mut d_x, mut d_w, mut d_b) = (x.clone(), vec![0.0; w.len()], vec![0.0; outputs]);
            backward_input(&d_y, &w, &mut d_x, widths);
            backward_weights(&x, &d_y, &mut d_w, Some(&mut d_b), widths);
            assert_eq!(differs(&[&x, &w, &b], &[&d_x, &d_w, &d_b], loss), None);
            let mut y = vec![0.0; rows * outputs];
            forward(&x, &w, Some(&b), &mut y, widths);
            let found: f64 = y.iter().zip(&d_y).map(|(y, d)| f64::from(y * d)).sum();
            assert!((found - loss(&crate::check::wide(&[&x, &w, &b]))).abs() < 1e-4);
        }
    }

    #[test]
    fn no_rows_are_no_fault() {
        let widths = Widths { inputs: 2, outputs: 3 };
        forward(&[], &[0.0; 6], None, &mut [], widths);
        backward_input(&[], &[0.0; 6], &mut [], widths);
        backward_weights(&[], &[], &mut [0.0; 6], None, widths);
    }
}
