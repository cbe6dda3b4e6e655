//! What the kernels are made of: arithmetic of one lane, and sums over lanes in a fixed order.
//!
//! `FMA` says whether the code is compiled for a processor that multiplies and adds in one step; without
//! it the same is done in two, for a call of the C library's `fmaf` would cost a hundred times as much.

/// Partial sums that are kept side by side, so that a sum can be vectorized without changing its order
/// from processor to processor.
pub(super) const LANES: usize = 16;

/// `a · b + c`.
#[inline(always)]
pub(super) fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// The larger of two; the second where one is no number. One instruction, other than `f32::max`.
#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// eˣ to about 2 units in the last place; below −87.3 it is 0, above 88.3 it stays at e^88.3.
///
/// `x = n ln 2 + r` with |r| ≤ ln 2 ⁄ 2; eʳ by its series to degree 7 (Horner), 2ⁿ by the exponent's
/// bits. Adding 1.5 · 2²³ rounds to the nearest whole number and leaves it in the low bits.
#[inline(always)]
pub(super) fn exp<const FMA: bool>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let bounded = larger(smaller(x, 88.3), -87.3);
    let shifted = multiply_add::<FMA>(bounded, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = multiply_add::<FMA>(n, -LN2_HIGH, bounded);
    let r = multiply_add::<FMA>(n, -LN2_LOW, r);
    let mut p = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = multiply_add::<FMA>(p, r, coefficient);
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    if x < -87.3 { 0.0 } else { p * power }
}

/// tanh x = 1 − 2 ⁄ (1 + e²ˣ), near 0 by its series, for there the difference cancels.
#[inline(always)]
pub(super) fn tanh<const FMA: bool>(x: f32) -> f32 {
    let large = 1.0 - 2.0 / (1.0 + exp::<FMA>(2.0 * x));
    let square = x * x;
    let mut p = -17.0 / 315.0;
    for coefficient in [2.0 / 15.0, -1.0 / 3.0, 1.0] {
        p = multiply_add::<FMA>(p, square, coefficient);
    }
    if square < 0.04 { x * p } else { large }
}

/// σ(x) = 1 ⁄ (1 + e⁻ˣ).
#[inline(always)]
pub(super) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

/// Φ(x), the normal distribution function, and φ(x), its density.
///
/// erfc by Abramowitz and Stegun 7.1.26 (absolute error below 1.5 · 10⁻⁷), whose e^(−x²⁄2) the density
/// needs as well.
#[inline(always)]
pub(super) fn normal<const FMA: bool>(x: f32) -> (f32, f32) {
    let size = x.abs();
    let t = 1.0 / multiply_add::<FMA>(0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2, size, 1.0);
    let mut p = 1.061_405_4;
    for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = multiply_add::<FMA>(p, t, coefficient);
    }
    let bell = exp::<FMA>(-0.5 * x * x);
    let tail = 0.5 * p * t * bell;
    let density = 0.398_942_3 * bell;
    (if x < 0.0 { tail } else { 1.0 - tail }, density)
}

/// Σ of `lane` over two slices of one length, in the order of the lanes.
#[inline(always)]
pub(super) fn sum_pairs(a: &[f32], b: &[f32], lane: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for place in 0..LANES {
            sums[place] = lane(sums[place], a[place], b[place]);
        }
    }
    for (place, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[place] = lane(sums[place], *a, *b);
    }
    fold(sums)
}

/// The sum of the lanes, halving.
#[inline(always)]
pub(super) fn fold(mut sums: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for place in 0..half {
            sums[place] += sums[place + half];
        }
        half /= 2;
    }
    sums[0]
}
