//! Layer norm of a row and its gradient.

use super::lane::{multiply_add, sum_pairs};
use super::level::{dispatched, level};

/// Mean and 1 ⁄ standard deviation of a row.
pub(crate) type Moments = [f32; 2];

dispatched! {
    /// [`normalize`] at a level.
    fn normalize_at(x: &[f32], weights: [&[f32]; 2], out: &mut [f32], epsilon: f32) -> Moments = normalize_body
}
dispatched! {
    /// [`normalize_backward`] at a level.
    fn normalize_backward_at(
        input: (&[f32], Moments), gain: &[f32], d_out: &[f32], d_x: &mut [f32], d_weights: [&mut [f32]; 2],
    ) = backward_body
}

/// `out ← (x − mean) ⁄ √(variance + ε) · gain + bias`; `weights` are gain and bias.
pub(crate) fn normalize(x: &[f32], weights: [&[f32]; 2], out: &mut [f32], epsilon: f32) -> Moments {
    let lengths = [weights[0].len(), weights[1].len(), out.len()];
    assert!(lengths.iter().all(|length| *length == x.len()), "rows of one length");
    normalize_at(level(), x, weights, out, epsilon)
}

/// Overwrites `d_x`; adds to the gradients of gain and bias.
pub(crate) fn normalize_backward(
    input: (&[f32], Moments),
    gain: &[f32],
    d_out: &[f32],
    d_x: &mut [f32],
    d_weights: [&mut [f32]; 2],
) {
    let lengths = [gain.len(), d_out.len(), d_x.len(), d_weights[0].len(), d_weights[1].len()];
    assert!(lengths.iter().all(|length| *length == input.0.len()), "rows of one length");
    normalize_backward_at(level(), input, gain, d_out, d_x, d_weights);
}

#[inline(always)]
fn normalize_body<const FMA: bool>(
    x: &[f32],
    [gain, bias]: [&[f32]; 2],
    out: &mut [f32],
    epsilon: f32,
) -> Moments {
    let count = x.len().max(1) as f32;
    let mean = sum_pairs(x, x, |sum, x, _| sum + x) / count;
    let variance = sum_pairs(x, x, |sum, x, _| multiply_add::<FMA>(x - mean, x - mean, sum)) / count;
    let inverse = 1.0 / (variance + epsilon).sqrt();
    for (((x, gain), bias), out) in x.iter().zip(gain).zip(bias).zip(out) {
        *out = multiply_add::<FMA>((x - mean) * inverse, *gain, *bias);
    }
    [mean, inverse]
}

/// With `x̂` the normalized row and `g = d_out · gain`: `d_x = (g − mean g − x̂ · mean(g x̂)) ⁄ deviation`.
#[inline(always)]
fn backward_body<const FMA: bool>(
    (x, [mean, inverse]): (&[f32], Moments),
    gain: &[f32],
    d_out: &[f32],
    d_x: &mut [f32],
    [d_gain, d_bias]: [&mut [f32]; 2],
) {
    let count = x.len().max(1) as f32;
    for ((d_x, d), gain) in d_x.iter_mut().zip(d_out).zip(gain) {
        *d_x = d * gain;
    }
    let mean_g = sum_pairs(d_x, d_x, |sum, g, _| sum + g) / count;
    let mean_gx = sum_pairs(d_x, x, |sum, g, x| multiply_add::<FMA>(g, (x - mean) * inverse, sum)) / count;
    for (d_x, x) in d_x.iter_mut().zip(x) {
        *d_x = inverse * multiply_add::<FMA>((x - mean) * inverse, -mean_gx, *d_x - mean_g);
    }
    for (((d_gain, d_bias), d), x) in d_gain.iter_mut().zip(d_bias).zip(d_out).zip(x) {
        *d_gain = multiply_add::<FMA>(*d, (x - mean) * inverse, *d_gain);
        *d_bias += d;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::level::{Level, levels};
    use crate::kernel::tests::{close, numbers, wide};

    #[test]
    fn every_level_gives_what_the_portable_one_gives() {
        for width in [1, 7, 16, 64, 384] {
            let [x, gain, bias, d] = [1, 2, 3, 4].map(|seed| numbers(width, seed));
            let run = |level: Level| {
                let (mut out, mut d_x) = (vec![0.0; width], vec![0.0; width]);
                let (mut d_gain, mut d_bias) = (vec![0.5; width], vec![0.5; width]);
                let moments = normalize_at(level, &x, [&gain, &bias], &mut out, 1e-5);
                let weights = [d_gain.as_mut_slice(), d_bias.as_mut_slice()];
                normalize_backward_at(level, (&x, moments), &gain, &d, &mut d_x, weights);
                [out, d_x, d_gain, d_bias].concat()
            };
            let want = wide(&run(Level::Portable));
            levels().into_iter().for_each(|level| close(&run(level), &want, 2e-5));
        }
    }
}
