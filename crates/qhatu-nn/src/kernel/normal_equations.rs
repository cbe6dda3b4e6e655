//! Products with the matrix of weighted least squares, which is never made: one that all share, and a few rows' own.

use super::lane::{LANES, multiply_add};
use super::level::{dispatched, level};

dispatched! {
    /// [`product`] at a level.
    fn product_at(out: &mut [f32], shared: &[f32], rows: &[f32], own: &[(u32, f32)], v: &[f32]) = product_body
}

/// `out ← S v + Σ w y (yᵀ v)`, `S` symmetric (n × n, row after row), over the places `y` in `rows` and weights `w` of `own`.
///
/// # Panics
/// Where lengths do not fit, or a place lies beyond the rows.
pub(crate) fn product(out: &mut [f32], shared: &[f32], (rows, own): (&[f32], &[(u32, f32)]), v: &[f32]) {
    assert!(
        out.len() == v.len() && shared.len() == v.len() * v.len(),
        "a symmetric matrix of the vectors' length"
    );
    product_at(level(), out, shared, rows, own, v);
}

/// Rows of `S` that are added at a time.
const TOGETHER: usize = 4;

#[inline(always)]
fn product_body<const FMA: bool>(
    out: &mut [f32],
    shared: &[f32],
    rows: &[f32],
    own: &[(u32, f32)],
    v: &[f32],
) {
    let n = v.len();
    out.fill(0.0);
    let mut factors = v.chunks_exact(TOGETHER);
    let mut fours = shared.chunks_exact(TOGETHER * n);
    for (by, four) in factors.by_ref().zip(fours.by_ref()) {
        let (a, b) = four.split_at(2 * n);
        let ((a, b), (c, d)) = (a.split_at(n), b.split_at(n));
        for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            let sum = multiply_add::<FMA>(by[0], *a, *out);
            let sum = multiply_add::<FMA>(by[1], *b, sum);
            let sum = multiply_add::<FMA>(by[2], *c, sum);
            *out = multiply_add::<FMA>(by[3], *d, sum);
        }
    }
    for (by, row) in factors.remainder().iter().zip(fours.remainder().chunks_exact(n)) {
        add_body::<FMA>(out, row, *by);
    }
    for (place, weight) in own {
        let row = &rows[*place as usize * n..][..n];
        add_body::<FMA>(out, row, weight * dot_body::<FMA>(row, v));
    }
}

#[inline(always)]
fn add_body<const FMA: bool>(out: &mut [f32], row: &[f32], by: f32) {
    out.iter_mut().zip(row).for_each(|(out, value)| *out = multiply_add::<FMA>(by, *value, *out));
}

#[inline(always)]
fn dot_body<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] = multiply_add::<FMA>(a[lane], b[lane], sums[lane]);
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::super::level::levels;
    use super::super::tests::{close, numbers, wide};
    use super::*;

    #[test]
    fn the_product_is_that_of_the_matrix_made_whole() {
        for n in [1, 3, 16, 37, 128] {
            let half = numbers(n * n, 1);
            let symmetric: Vec<f32> = (0..n * n).map(|at| half[at] + half[at % n * n + at / n]).collect();
            let (rows, v) = (numbers(5 * n, 2), numbers(n, 3));
            let own = [(4, 0.5), (1, -2.0), (0, 3.0)];
            let (symmetric_wide, rows_wide, v_wide) = (wide(&symmetric), wide(&rows), wide(&v));
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let want: Vec<f64> = (0..n)
                .map(|at| {
                    let y = |place: u32| &rows_wide[place as usize * n..][..n];
                    let of = |(place, weight): &(u32, f32)| {
                        f64::from(*weight) * y(*place)[at] * dot(y(*place), &v_wide)
                    };
                    dot(&symmetric_wide[at * n..][..n], &v_wide) + own.iter().map(of).sum::<f64>()
                })
                .collect();
            for level in levels() {
                let mut found = vec![f32::NAN; n];
                product_at(level, &mut found, &symmetric, &rows, &own, &v);
                close(&found, &want, 1e-4 * n as f64);
            }
        }
    }
}
