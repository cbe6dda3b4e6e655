//! Layer norm: `y = (x − mean x) ⁄ √(variance x + ε) · gain + bias`, each row by itself (Ba et al.,
//! "Layer Normalization", 2016). The variance divides by the width.

use crate::kernel::norm::{normalize, normalize_backward};

/// What the backward pass needs of each row: mean and 1 ⁄ deviation.
pub type Moments = [f32; 2];

/// `y` from `x`; `weights` are gain and bias. Writes the moments of each row.
///
/// # Shapes
/// `x` and `y` rows × width, gain and bias width, `moments` rows.
pub fn forward(x: &[f32], weights: [&[f32]; 2], y: &mut [f32], moments: &mut [Moments], epsilon: f32) {
    let width = weights[0].len().max(1);
    assert!(x.len() == moments.len() * width && y.len() == x.len(), "x and y have equal rows");
    let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(moments);
    rows.for_each(|((x, y), moments)| *moments = normalize(x, weights, y, epsilon));
}

/// `d_x` from `d_y`; adds to the gradients of gain and bias, `d_weights`.
///
/// # Shapes
/// As in [`forward`]; `x` and `moments` are those of the forward pass.
pub fn backward(
    (x, moments): (&[f32], &[Moments]),
    gain: &[f32],
    d_y: &[f32],
    d_x: &mut [f32],
    [d_gain, d_bias]: [&mut [f32]; 2],
) {
    let width = gain.len().max(1);
    assert!(x.len() == moments.len() * width && d_y.len() == x.len(), "x and y have equal rows");
    let rows =
        x.chunks_exact(width).zip(moments).zip(d_y.chunks_exact(width)).zip(d_x.chunks_exact_mut(width));
    for (((x, moments), d_y), d_x) in rows {
        normalize_backward((x, *moments), gain, d_y, d_x, [d_gain, d_bias]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Numbers, differs};
    use crate::kernel::tests::numbers;

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for (rows, width) in [(1, 1), (1, 4), (3, 17), (2, 64)] {
            let [x, gain, bias] = [rows * width, width, width].map(|count| numbers(count, count as u64 + 1));
            let d_y = numbers(rows * width, 5);
            let loss = |given: &Numbers| {
                let mut sum = 0.0;
                for row in 0..rows {
                    let x = &given[0][row * width..][..width];
                    let mean = x.iter().sum::<f64>() / width as f64;
                    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / width as f64;
                    for place in 0..width {
                        let normal = (x[place] - mean) / (variance + 1e-3).sqrt();
                        sum += f64::from(d_y[row * width + place])
                            * (normal * given[1][place] + given[2][place]);
                    }
                }
                sum
            };
            let (mut y, mut moments) = (vec![0.0; x.len()], vec![[0.0; 2]; rows]);
            forward(&x, [&gain, &bias], &mut y, &mut moments, 1e-3);
            let (mut d_x, mut d_gain, mut d_bias) = (vec![0.0; x.len()], vec![0.0; width], vec![0.0; width]);
            backward((&x, &moments), &gain, &d_y, &mut d_x, [&mut d_gain, &mut d_bias]);
            assert_eq!(differs(&[&x, &gain, &bias], &[&d_x, &d_gain, &d_bias], loss), None, "{rows} {width}");
        }
    }
}
