//! Functions of one number, over slices: GELU in both forms, tanh, the logistic function, and what their gradients need.

use super::lane::{self, LANES, multiply_add};
use super::level::{dispatched, level};

dispatched! {
    /// [`gelu`] at a level.
    fn gelu_at(x: &[f32], out: &mut [f32]) = gelu_body
}
dispatched! {
    /// [`gelu_backward`] at a level.
    fn gelu_backward_at(x: &[f32], d: &mut [f32]) = gelu_backward_body
}
dispatched! {
    /// [`gelu_tanh`] at a level.
    fn gelu_tanh_at(x: &[f32], out: &mut [f32]) = gelu_tanh_body
}
dispatched! {
    /// [`gelu_tanh_backward`] at a level.
    fn gelu_tanh_backward_at(x: &[f32], d: &mut [f32]) = gelu_tanh_backward_body
}
dispatched! {
    /// [`tanh`] at a level.
    fn tanh_at(x: &mut [f32]) = tanh_body
}
dispatched! {
    /// [`tanh_backward`] at a level.
    fn tanh_backward_at(x: &[f32], d: &mut [f32]) = tanh_backward_body
}
dispatched! {
    /// [`sigmoid`] at a level.
    fn sigmoid_at(x: &mut [f32]) -> f32 = sigmoid_body
}

/// `x ← σ(x) = 1 ⁄ (1 + e⁻ˣ)`; returns Σ −ln (1 − σ(x)) = Σ ln (1 + eˣ). What is −∞ becomes 0.
pub(crate) fn sigmoid(x: &mut [f32]) -> f32 {
    x.chunks_mut(MOST).map(|x| sigmoid_at(level(), x)).sum()
}

/// `out ← x Φ(x)`.
pub(crate) fn gelu(x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "slices of one length");
    gelu_at(level(), x, out);
}

/// `d ← d · (Φ(x) + x φ(x))`.
pub(crate) fn gelu_backward(x: &[f32], d: &mut [f32]) {
    assert_eq!(x.len(), d.len(), "slices of one length");
    gelu_backward_at(level(), x, d);
}

/// `out ← ½ x (1 + tanh u)`, `u = √(2⁄π) (x + 0.044715 x³)`.
pub(crate) fn gelu_tanh(x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "slices of one length");
    gelu_tanh_at(level(), x, out);
}

/// The gradient of [`gelu_tanh`], in place.
pub(crate) fn gelu_tanh_backward(x: &[f32], d: &mut [f32]) {
    assert_eq!(x.len(), d.len(), "slices of one length");
    gelu_tanh_backward_at(level(), x, d);
}

/// `x ← tanh x`.
pub(crate) fn tanh(x: &mut [f32]) {
    tanh_at(level(), x);
}

/// `d ← d · (1 − tanh² x)`.
pub(crate) fn tanh_backward(x: &[f32], d: &mut [f32]) {
    assert_eq!(x.len(), d.len(), "slices of one length");
    tanh_backward_at(level(), x, d);
}

const SLOPE: f32 = 0.797_884_6;
const CUBE: f32 = 0.044_715;

#[inline(always)]
fn gelu_body<const FMA: bool>(x: &[f32], out: &mut [f32]) {
    x.iter().zip(out).for_each(|(x, out)| *out = x * lane::normal::<FMA>(*x).0);
}

#[inline(always)]
fn gelu_backward_body<const FMA: bool>(x: &[f32], d: &mut [f32]) {
    for (x, d) in x.iter().zip(d) {
        let (phi, density) = lane::normal::<FMA>(*x);
        *d *= multiply_add::<FMA>(*x, density, phi);
    }
}

#[inline(always)]
fn inner<const FMA: bool>(x: f32) -> f32 {
    SLOPE * x * multiply_add::<FMA>(CUBE * x, x, 1.0)
}

#[inline(always)]
fn gelu_tanh_body<const FMA: bool>(x: &[f32], out: &mut [f32]) {
    x.iter().zip(out).for_each(|(x, out)| *out = 0.5 * x * (1.0 + lane::tanh::<FMA>(inner::<FMA>(*x))));
}

#[inline(always)]
fn gelu_tanh_backward_body<const FMA: bool>(x: &[f32], d: &mut [f32]) {
    for (x, d) in x.iter().zip(d) {
        let t = lane::tanh::<FMA>(inner::<FMA>(*x));
        let slope = SLOPE * multiply_add::<FMA>(3.0 * CUBE * x, *x, 1.0);
        *d *= 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope;
    }
}

#[inline(always)]
fn tanh_body<const FMA: bool>(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = lane::tanh::<FMA>(*x));
}

/// Numbers whose logarithm is taken at once: a lane's product of as many, each at most 2, stays below 2⁶⁴.
const MOST: usize = 64 * LANES;

/// By e^−|x|, for both sides: `ln (1 + eˣ) = max(x, 0) + ln (1 + e^−|x|)`, and a sum of logarithms is the logarithm of a
/// product.
#[inline(always)]
fn sigmoid_body<const FMA: bool>(x: &mut [f32]) -> f32 {
    let (mut sums, mut products) = ([0.0; LANES], [1.0; LANES]);
    let mut one = |x: &mut f32, place: usize| {
        let power = lane::exp::<FMA>(-x.abs());
        let whole = 1.0 + power;
        sums[place] += lane::larger(*x, 0.0);
        products[place] *= whole;
        *x = if *x < 0.0 { power } else { 1.0 } / whole;
    };
    let (chunks, rest) = x.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (place, x) in chunk.iter_mut().enumerate() {
            one(x, place);
        }
    }
    rest.iter_mut().enumerate().for_each(|(place, x)| one(x, place));
    lane::fold(sums) + products.iter().map(|product| product.ln()).sum::<f32>()
}

#[inline(always)]
fn tanh_backward_body<const FMA: bool>(x: &[f32], d: &mut [f32]) {
    for (x, d) in x.iter().zip(d) {
        let t = lane::tanh::<FMA>(*x);
        *d *= 1.0 - t * t;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::level::levels;
    use crate::kernel::tests::close;

    /// Φ by Simpson's rule over the density: another way than the kernel's.
    fn phi(x: f64) -> f64 {
        let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let (steps, from) = (4000, -12.0);
        let width = (x - from) / f64::from(steps);
        let inside: f64 = (1..steps)
            .map(|step| f64::from(2 + 2 * (step % 2)) * density(from + width * f64::from(step)))
            .sum();
        width / 3.0 * (density(from) + inside + density(x))
    }

    fn points() -> Vec<f32> {
        (-90..=90).map(|step| step as f32 / 10.0).chain([-60.0, 1e-4, -1e-4, 0.19, 0.21, 60.0]).collect()
    }

    fn by<F: Fn(f64) -> f64>(x: &[f32], f: F) -> Vec<f64> {
        x.iter().map(|x| f(f64::from(*x))).collect()
    }

    #[test]
    fn gelu_is_x_times_the_normal_distribution_at_every_level() {
        let x = points();
        let slope = |x: f64| phi(x) + x * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        for level in levels() {
            let mut out = vec![0.0; x.len()];
            gelu_at(level, &x, &mut out);
            close(&out, &by(&x, |x| if x < -11.0 { 0.0 } else { x * phi(x) }), 1e-6);
            let mut d = vec![1.0; x.len()];
            gelu_backward_at(level, &x, &mut d);
            close(&d, &by(&x, |x| if x < -11.0 { 0.0 } else { slope(x) }), 1e-6);
        }
    }

    #[test]
    fn the_tanh_form_is_its_formula_at_every_level() {
        let x = points();
        let u = |x: f64| (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
        let f = |x: f64| 0.5 * x * (1.0 + u(x).tanh());
        let slope = |x: f64| (f(x + 1e-5) - f(x - 1e-5)) / 2e-5;
        for level in levels() {
            let mut out = vec![0.0; x.len()];
            gelu_tanh_at(level, &x, &mut out);
            close(&out, &by(&x, f), 2e-6);
            let mut d = vec![1.0; x.len()];
            gelu_tanh_backward_at(level, &x, &mut d);
            close(&d, &by(&x, slope), 3e-6);
        }
    }

    #[test]
    fn tanh_and_sigmoid_are_close_over_the_whole_line() {
        let x = points();
        for level in levels() {
            let mut out = x.clone();
            tanh_at(level, &mut out);
            close(&out, &by(&x, f64::tanh), 4e-7);
            let mut out = x.clone();
            let sum = sigmoid_at(level, &mut out);
            let want: f64 = by(&x, |x| x.exp().ln_1p()).iter().sum();
            assert!((f64::from(sum) - want).abs() < 1e-5 * want, "{sum} is not {want}");
            close(&out, &by(&x, |x| 1.0 / (1.0 + (-x).exp())), 4e-7);
            let mut far = [f32::NEG_INFINITY, -1e30, 1e30];
            sigmoid_at(level, &mut far);
            assert_eq!(far, [0.0, 0.0, 1.0]);
        }
    }
}
