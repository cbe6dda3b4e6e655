//! What an optimizer does to each number, the mask of dropout, and sums of slices.

use super::lane::multiply_add;
use super::level::{dispatched, level};

/// The numbers of one AdamW step; `decay` and `rate` are already multiplied out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adam {
    /// Share of the first moment that stays.
    pub(crate) beta1: f32,
    /// Share of the second moment that stays.
    pub(crate) beta2: f32,
    /// Learning rate ⁄ (1 − β₁ᵗ).
    pub(crate) rate: f32,
    /// 1 ⁄ √(1 − β₂ᵗ).
    pub(crate) second: f32,
    /// ε.
    pub(crate) epsilon: f32,
    /// What weights are multiplied by before the step: 1 − learning rate · weight decay.
    pub(crate) keep: f32,
    /// What gradients are multiplied by first: for clipping.
    pub(crate) scale: f32,
}

dispatched! {
    /// [`adam`] at a level.
    fn adam_at(values: &mut [f32], gradients: &[f32], moments: [&mut [f32]; 2], by: Adam) = adam_body
}
dispatched! {
    /// [`dropout`] at a level.
    fn dropout_at(values: &mut [f32], key: [u32; 2], threshold: u32, factor: f32) = dropout_body
}

dispatched! {
    /// [`add_scaled`] at a level.
    fn add_scaled_at(to: &mut [f32], from: &[f32], factor: f32) = add_scaled_body
}

/// `to ← to + factor · from`.
pub(crate) fn add_scaled(to: &mut [f32], from: &[f32], factor: f32) {
    assert_eq!(to.len(), from.len(), "slices of one length");
    add_scaled_at(level(), to, from, factor);
}

/// One AdamW step.
pub(crate) fn adam(values: &mut [f32], gradients: &[f32], moments: [&mut [f32]; 2], by: Adam) {
    let lengths = [gradients.len(), moments[0].len(), moments[1].len()];
    assert!(lengths.iter().all(|length| *length == values.len()), "a gradient and two moments a value");
    adam_at(level(), values, gradients, moments, by);
}

/// Sets to 0 the values whose random number, of `key` and place, lies below `threshold`; multiplies the
/// others by `factor`.
pub(crate) fn dropout(values: &mut [f32], key: [u32; 2], threshold: u32, factor: f32) {
    dropout_at(level(), values, key, threshold, factor);
}

#[inline(always)]
fn adam_body<const FMA: bool>(
    values: &mut [f32],
    gradients: &[f32],
    [first, second]: [&mut [f32]; 2],
    by: Adam,
) {
    for (((value, gradient), m), v) in values.iter_mut().zip(gradients).zip(first).zip(second) {
        let g = gradient * by.scale;
        *m = multiply_add::<FMA>(by.beta1, *m, (1.0 - by.beta1) * g);
        *v = multiply_add::<FMA>(by.beta2, *v, (1.0 - by.beta2) * g * g);
        let step = by.rate * *m / multiply_add::<FMA>(v.sqrt(), by.second, by.epsilon);
        *value = *value * by.keep - step;
    }
}

#[inline(always)]
fn add_scaled_body<const FMA: bool>(to: &mut [f32], from: &[f32], factor: f32) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = multiply_add::<FMA>(factor, *from, *to));
}

#[inline(always)]
fn dropout_body<const FMA: bool>(values: &mut [f32], key: [u32; 2], threshold: u32, factor: f32) {
    for (place, value) in values.iter_mut().enumerate() {
        *value = if mixed(place as u32, key) < threshold { 0.0 } else { *value * factor };
    }
}

/// A random number of a place and a key: three rounds of shift and multiply (the constants are those of
/// Chris Wellons' hash prospector, "triple32").
#[inline(always)]
fn mixed(place: u32, key: [u32; 2]) -> u32 {
    let mut x = place ^ key[0];
    x = (x ^ (x >> 17)).wrapping_mul(0xed5a_d4bb) ^ key[1];
    x = (x ^ (x >> 11)).wrapping_mul(0xac4c_1b51);
    x = (x ^ (x >> 15)).wrapping_mul(0x3184_8bab);
    x ^ (x >> 14)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::level::{Level, levels};
    use crate::kernel::tests::{close, numbers, wide};

    const BY: Adam =
        Adam { beta1: 0.9, beta2: 0.99, rate: 0.02, second: 3.0, epsilon: 1e-8, keep: 0.999, scale: 0.5 };

    #[test]
    fn a_step_is_the_same_at_every_level() {
        let run = |level: Level| {
            let [mut values, gradients, mut m] = [1, 2, 3].map(|seed| numbers(77, seed));
            let mut v: Vec<f32> = numbers(77, 4).iter().map(|x| x.abs()).collect();
            adam_at(level, &mut values, &gradients, [&mut m, &mut v], BY);
            [values, m, v].concat()
        };
        let want = wide(&run(Level::Portable));
        levels().into_iter().for_each(|level| close(&run(level), &want, 1e-6));
    }

    #[test]
    fn a_mask_is_the_same_at_every_level_and_drops_its_share() {
        let run = |level: Level, key: [u32; 2]| {
            let mut values = vec![1.0; 100_000];
            dropout_at(level, &mut values, key, u32::MAX / 5, 1.25);
            values
        };
        let want = run(Level::Portable, [1, 2]);
        levels().into_iter().for_each(|level| assert_eq!(run(level, [1, 2]), want));
        for key in [[1, 2], [2, 1], [0, 0], [7, 7]] {
            let kept = run(level(), key).iter().filter(|value| **value == 1.25).count();
            assert!((79_500..80_500).contains(&kept), "{kept} for {key:?}");
        }
        let both = want.iter().zip(run(level(), [1, 3])).filter(|(a, b)| **a == 0.0 && *b == 0.0).count();
        assert!((3_700..4_300).contains(&both), "two keys drop {both} together");
    }
}
