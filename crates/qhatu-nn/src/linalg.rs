//! The inverse of a symmetric positive definite matrix, as EASE needs it, and the solution of small systems by its
//! factor, as ALS and logistic regression do.
//!
//! The inverse by blocks: with `M = [A B; Bᵀ D]` and `P = A⁻¹`, `S = D − Bᵀ P B` (the Schur complement),
//! `M⁻¹ = [P + P B S⁻¹ Bᵀ P, −P B S⁻¹; ·, S⁻¹]`. Halving until blocks are small leaves nearly all the
//! work to matrix products, about `4⁄3 n³` multiplications; small blocks are inverted in `f64` by
//! Cholesky. (Golub and Van Loan, Matrix Computations, 4th ed., sections 3.2.11 and 4.2.)

use rayon::prelude::*;

use crate::kernel::{Layout, matmul, normal_equations};

/// Blocks up to this size are inverted directly.
const DIRECT: usize = 96;
/// Rows of a strip that one thread multiplies.
const STRIP: usize = 128;

/// The matrix is not positive definite, so it has no such inverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the matrix is not positive definite: pivot {row} is not above zero; a larger regularization makes it so"
)]
pub struct NotPositiveDefinite {
    /// The row of the pivot.
    pub row: usize,
}

/// Replaces a symmetric positive definite matrix (n × n, row after row) by its inverse.
///
/// # Errors
/// [`NotPositiveDefinite`]; the matrix then holds nothing of use.
///
/// # Panics
/// When `matrix.len() != n * n`.
pub fn invert(matrix: &mut [f32], n: usize) -> Result<(), NotPositiveDefinite> {
    assert_eq!(matrix.len(), n * n, "an n × n matrix has n² entries");
    if n <= DIRECT {
        return invert_directly(matrix, n);
    }
    let h = n / 2;
    let r = n - h;
    let mut a = part(matrix, n, 0, 0, h, h);
    let b = part(matrix, n, 0, h, h, r);
    let mut d = part(matrix, n, h, h, r, r);
    invert(&mut a, h)?;
    let mut pb = vec![0.0; h * r];
    product((&mut pb, h, r), 0.0, (&a, Layout::dense(h, h)), (&b, Layout::dense(h, r)), 1.0);
    product((&mut d, r, r), 1.0, (&b, Layout::dense(h, r).transposed()), (&pb, Layout::dense(h, r)), -1.0);
    invert(&mut d, r).map_err(|fault| NotPositiveDefinite { row: fault.row + h })?;
    let mut off = b;
    product((&mut off, h, r), 0.0, (&pb, Layout::dense(h, r)), (&d, Layout::dense(r, r)), -1.0);
    product((&mut a, h, h), 1.0, (&off, Layout::dense(h, r)), (&pb, Layout::dense(h, r).transposed()), -1.0);
    for row in 0..h {
        matrix[row * n..row * n + h].copy_from_slice(&a[row * h..(row + 1) * h]);
        matrix[row * n + h..(row + 1) * n].copy_from_slice(&off[row * r..(row + 1) * r]);
    }
    for row in 0..r {
        for column in 0..h {
            matrix[(row + h) * n + column] = off[column * r + row];
        }
        matrix[(row + h) * n + h..(row + h + 1) * n].copy_from_slice(&d[row * r..(row + 1) * r]);
    }
    Ok(())
}

/// `out ← scale · out + factor · left · right`, strips of rows on all threads.
fn product(
    (out, rows, columns): (&mut [f32], usize, usize),
    scale: f32,
    (left, left_layout): (&[f32], Layout),
    (right, right_layout): (&[f32], Layout),
    factor: f32,
) {
    debug_assert_eq!(out.len(), rows * columns);
    out.par_chunks_mut(STRIP * columns).enumerate().for_each(|(strip, out)| {
        let height = out.len() / columns;
        let left_part = left_layout.block(strip * STRIP, 0, height, left_layout.columns);
        matmul(
            (out, Layout::dense(height, columns)),
            scale,
            (left, left_part),
            (right, right_layout),
            factor,
        );
    });
}

fn part(matrix: &[f32], n: usize, row: usize, column: usize, rows: usize, columns: usize) -> Vec<f32> {
    (row..row + rows).flat_map(|row| &matrix[row * n + column..row * n + column + columns]).copied().collect()
}

/// `out ← S v + Σ w y (yᵀ v)`: the product with the matrix of weighted least squares, which is never made. `S` is symmetric
/// (n × n, row after row); the `y` are rows of `rows` (n numbers each), `own` has their places with weights.
///
/// # Panics
/// Where lengths do not fit, or a place lies beyond the rows.
pub fn least_squares_product(out: &mut [f32], shared: &[f32], rows: (&[f32], &[(u32, f32)]), v: &[f32]) {
    normal_equations::product(out, shared, rows, v);
}

/// The factor `L` of a symmetric positive definite matrix `L Lᵀ` (Cholesky), for solving with it again and
/// again. In `f64`. (Golub and Van Loan, section 4.2.)
#[derive(Debug, Clone, PartialEq)]
pub struct Cholesky {
    n: usize,
    /// Row after row, zero above the diagonal.
    l: Vec<f64>,
}

impl Cholesky {
    /// Factors a matrix of n × n, row after row; what stands above its diagonal is not looked at. `n³ / 6`
    /// multiplications.
    ///
    /// # Errors
    /// [`NotPositiveDefinite`].
    ///
    /// # Panics
    /// When `matrix.len() != n * n`.
    pub fn factor(matrix: &[f32], n: usize) -> Result<Self, NotPositiveDefinite> {
        assert_eq!(matrix.len(), n * n, "an n × n matrix has n² entries");
        Self::of(n, |row, column| f64::from(matrix[row * n + column]))
    }

    fn of(n: usize, entry: impl Fn(usize, usize) -> f64) -> Result<Self, NotPositiveDefinite> {
        let mut l = vec![0.0_f64; n * n];
        for row in 0..n {
            for column in 0..=row {
                let (above, own) = l.split_at(row * n);
                let left = if column == row { &own[..n] } else { &above[column * n..column * n + n] };
                let rest = entry(row, column) - dot(&left[..column], &own[..column]);
                l[row * n + column] = match row == column {
                    true if rest > 0.0 => rest.sqrt(),
                    true => return Err(NotPositiveDefinite { row }),
                    false => rest / l[column * n + column],
                };
            }
        }
        Ok(Self { n, l })
    }

    /// Rows of the matrix.
    pub fn size(&self) -> usize {
        self.n
    }

    /// Replaces `b` by the solution `x` of `L Lᵀ x = b`. `n²` multiplications.
    ///
    /// # Panics
    /// When `b.len() != n`.
    pub fn solve(&self, b: &mut [f64]) {
        let n = self.n;
        assert_eq!(b.len(), n, "an n × n system has n right-hand sides");
        for row in 0..n {
            let known = dot(&self.l[row * n..row * n + row], &b[..row]);
            b[row] = (b[row] - known) / self.l[row * n + row];
        }
        for row in (0..n).rev() {
            b[row] /= self.l[row * n + row];
            let value = b[row];
            let above = self.l[row * n..row * n + row].iter();
            b[..row].iter_mut().zip(above).for_each(|(b, l)| *b -= l * value);
        }
    }
}

/// Solves `M x = b` for a symmetric positive definite matrix (n × n, row after row) by Cholesky in `f64`, in n³ ⁄ 6
/// multiplications: for systems of hundreds of unknowns. `b` is replaced by `x`.
///
/// # Errors
/// [`NotPositiveDefinite`]; `b` then stays as it was.
///
/// # Panics
/// When `matrix.len() != b.len()²`.
pub fn solve(matrix: &[f64], b: &mut [f64]) -> Result<(), NotPositiveDefinite> {
    let n = b.len();
    assert_eq!(matrix.len(), n * n, "an n × n matrix has n² entries");
    Cholesky::of(n, |row, column| matrix[row * n + column])?.solve(b);
    Ok(())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Cholesky `L Lᵀ`, then `L⁻¹`, then `L⁻ᵀ L⁻¹`, in `f64`.
fn invert_directly(matrix: &mut [f32], n: usize) -> Result<(), NotPositiveDefinite> {
    let l = Cholesky::factor(matrix, n)?.l;
    let mut inverse = vec![0.0_f64; n * n];
    for column in 0..n {
        inverse[column * n + column] = 1.0 / l[column * n + column];
        for row in column + 1..n {
            let dot: f64 = (column..row).map(|k| l[row * n + k] * inverse[k * n + column]).sum();
            inverse[row * n + column] = -dot / l[row * n + row];
        }
    }
    for row in 0..n {
        for column in 0..=row {
            let dot: f64 = (row..n).map(|k| inverse[k * n + row] * inverse[k * n + column]).sum();
            matrix[row * n + column] = dot as f32;
            matrix[column * n + row] = dot as f32;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_xoshiro::Xoshiro256PlusPlus;
    use rand_xoshiro::rand_core::{Rng, SeedableRng};

    /// `XᵀX + λI` of a random X.
    fn gram(n: usize) -> Vec<f32> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut next = || (random.next_u64() >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        let x: Vec<f32> = (0..2 * n * n).map(|_| next()).collect();
        let mut gram = vec![0.0; n * n];
        (0..n).for_each(|place| gram[place * n + place] = 10.0);
        let layout = Layout::dense(2 * n, n);
        product((&mut gram, n, n), 1.0, (&x, layout.transposed()), (&x, layout), 1.0);
        gram
    }

    #[test]
    fn a_matrix_times_its_inverse_is_one() {
        for n in [1, 2, 3, DIRECT, DIRECT + 1, 333] {
            let matrix = gram(n);
            let mut inverse = matrix.clone();
            invert(&mut inverse, n).unwrap();
            let mut one = vec![0.0; n * n];
            let layout = Layout::dense(n, n);
            product((&mut one, n, n), 0.0, (&matrix, layout), (&inverse, layout), 1.0);
            for row in 0..n {
                for column in 0..n {
                    let expected = f32::from(u8::from(row == column));
                    let found = one[row * n + column];
                    assert!((found - expected).abs() < 1e-4, "{n}: ({row}, {column}) {found}");
                }
            }
        }
    }

    #[test]
    fn a_solution_times_the_matrix_is_the_right_hand_side() {
        for n in [1, 2, 37, 130] {
            let matrix = gram(n);
            let wanted: Vec<f64> = (0..n).map(|place| (place as f64 * 0.7).sin()).collect();
            let mut solution = wanted.clone();
            Cholesky::factor(&matrix, n).unwrap().solve(&mut solution);
            for row in 0..n {
                let entries = matrix[row * n..(row + 1) * n].iter();
                let found: f64 = entries.zip(&solution).map(|(entry, x)| f64::from(*entry) * x).sum();
                assert!((found - wanted[row]).abs() < 1e-9, "{n}: {row}");
            }
        }
        assert!(Cholesky::factor(&[1.0, 2.0, 2.0, 1.0], 2).is_err());
    }

    #[test]
    fn what_is_solved_for_gives_the_right_side_again() {
        for n in [1, 2, 5, 40] {
            let matrix: Vec<f64> = gram(n).into_iter().map(f64::from).collect();
            let right: Vec<f64> = (0..n).map(|place| place as f64 - 3.5).collect();
            let mut x = right.clone();
            solve(&matrix, &mut x).unwrap();
            for (row, expected) in matrix.chunks(n).zip(&right) {
                let found: f64 = row.iter().zip(&x).map(|(a, b)| a * b).sum();
                assert!((found - expected).abs() < 1e-9, "{n}: {found} {expected}");
            }
        }
        let mut right = [1.0, 2.0];
        assert_eq!(solve(&[1.0, 2.0, 2.0, 1.0], &mut right), Err(NotPositiveDefinite { row: 1 }));
        assert_eq!(right, [1.0, 2.0]);
    }

    #[test]
    fn what_has_no_inverse_is_refused() {
        assert_eq!(invert(&mut [1.0, 2.0, 2.0, 1.0], 2), Err(NotPositiveDefinite { row: 1 }));
        let mut matrix = gram(200);
        matrix[150 * 200 + 150] = -1.0;
        assert_eq!(invert(&mut matrix, 200), Err(NotPositiveDefinite { row: 150 }));
    }
}
