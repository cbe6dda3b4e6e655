//! Matrix product on the `gemm` crate, which chooses AVX-512, AVX2 or portable code when it runs.

/// Where the entries of a matrix lie within its slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Place of the first entry.
    pub offset: usize,
    /// Steps from a row to the next.
    pub row_stride: usize,
    /// Steps from a column to the next.
    pub column_stride: usize,
}

impl Layout {
    /// A whole matrix, row after row.
    pub fn dense(rows: usize, columns: usize) -> Self {
        Self { rows, columns, offset: 0, row_stride: columns, column_stride: 1 }
    }

    /// The same entries with rows and columns exchanged.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            offset: self.offset,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// The part that begins at `(row, column)`.
    #[must_use]
    pub fn block(self, row: usize, column: usize, rows: usize, columns: usize) -> Self {
        let offset = self.offset + row * self.row_stride + column * self.column_stride;
        Self { rows, columns, offset, ..self }
    }

    /// Length that a slice must have to hold every entry.
    fn reach(self) -> usize {
        match (self.rows, self.columns) {
            (0, _) | (_, 0) => 0,
            (rows, columns) => {
                self.offset + (rows - 1) * self.row_stride + (columns - 1) * self.column_stride + 1
            }
        }
    }
}

/// `out ← scale · out + factor · left · right`, on the calling thread.
///
/// Shapes: `left` is m × k, `right` k × n, `out` m × n; each slice with its layout. With `scale` 0 what
/// `out` held does not matter.
///
/// # Panics
/// When shapes do not fit or a slice is too short: a fault of the calling code, never of data.
pub fn matmul(
    (out, out_layout): (&mut [f32], Layout),
    scale: f32,
    (left, left_layout): (&[f32], Layout),
    (right, right_layout): (&[f32], Layout),
    factor: f32,
) {
    let (m, k, n) = (left_layout.rows, left_layout.columns, right_layout.columns);
    assert!(right_layout.rows == k && out_layout.rows == m && out_layout.columns == n, "shapes do not fit");
    assert!(out_layout.reach() <= out.len(), "out is too short");
    assert!(left_layout.reach() <= left.len(), "left is too short");
    assert!(right_layout.reach() <= right.len(), "right is too short");
    if m == 0 || n == 0 {
        return;
    }
    // SAFETY: every entry that the layouts address lies within its slice (checked above), and `out` is
    // borrowed exclusively, so that it overlaps neither `left` nor `right`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr().add(out_layout.offset),
            out_layout.column_stride as isize,
            out_layout.row_stride as isize,
            scale != 0.0,
            left.as_ptr().add(left_layout.offset),
            left_layout.column_stride as isize,
            left_layout.row_stride as isize,
            right.as_ptr().add(right_layout.offset),
            right_layout.column_stride as isize,
            right_layout.row_stride as isize,
            scale,
            factor,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the sum that a product is, for plain and transposed operands and parts of matrices.
        #[test]
        fn a_product_is_the_sum_of_products(
            m in 1..9_usize, k in 1..40_usize, n in 1..9_usize, transposed: bool, seed in 0..1000_usize,
        ) {
            let number = |place: usize| ((place * 7919 + seed * 104_729) % 17) as f32 - 8.0;
            let left: Vec<f32> = (0..m * k).map(number).collect();
            let right: Vec<f32> = (0..k * n).map(|place| number(place + 3)).collect();
            let mut out: Vec<f32> = (0..m * n).map(|place| number(place + 5)).collect();
            let before = out.clone();
            let left_layout =
                if transposed { Layout::dense(k, m).transposed() } else { Layout::dense(m, k) };
            matmul((&mut out, Layout::dense(m, n)), 0.5, (&left, left_layout), (&right, Layout::dense(k, n)), 2.0);
            for row in 0..m {
                for column in 0..n {
                    let at = |inner: usize| if transposed { left[inner * m + row] } else { left[row * k + inner] };
                    let sum: f32 = (0..k).map(|inner| at(inner) * right[inner * n + column]).sum();
                    prop_assert_eq!(out[row * n + column], 0.5 * before[row * n + column] + 2.0 * sum);
                }
            }
        }
    }
}
