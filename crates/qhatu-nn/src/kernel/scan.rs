//! Inner products of 8-bit rows with one query, in whole numbers: the same at every level.
//!
//! Rows lie in blocks of [`BLOCK`], within a block column after column, so that a lane is a row and nothing has
//! to be summed across lanes.

use super::level::{dispatched, level};

/// Rows of a block.
pub(crate) const BLOCK: usize = 16;

dispatched! {
    /// [`inner_products`] at a level.
    fn inner_products_at(codes: &[i8], query: &[i32], sums: &mut [i32]) = body
}

/// For each row of `codes` (`sums.len()` × `query.len()`, in blocks) its product with `query`.
///
/// # Panics
/// Where lengths do not fit: whole blocks, a sum for each row.
pub(crate) fn inner_products(codes: &[i8], query: &[i32], sums: &mut [i32]) {
    assert_eq!(codes.len(), sums.len() * query.len(), "a code for each row and column");
    assert!(sums.len().is_multiple_of(BLOCK), "whole blocks of rows");
    inner_products_at(level(), codes, query, sums);
}

#[inline(always)]
fn body<const FMA: bool>(codes: &[i8], query: &[i32], sums: &mut [i32]) {
    let (sums, _) = sums.as_chunks_mut::<BLOCK>();
    for (block, sums) in codes.chunks_exact(BLOCK * query.len().max(1)).zip(sums) {
        let mut own = [0_i32; BLOCK];
        let (columns, _) = block.as_chunks::<BLOCK>();
        for (column, factor) in columns.iter().zip(query) {
            for lane in 0..BLOCK {
                own[lane] += i32::from(column[lane]) * factor;
            }
        }
        *sums = own;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::level::levels;
    use crate::random::Stream;

    #[test]
    fn every_level_sums_what_a_plain_loop_sums() {
        let stream = Stream::new(5);
        for (rows, width) in [(16, 1), (48, 7), (160, 64)] {
            let code = |row: usize, column: usize| stream.at((row * width + column) as u64) as u8 as i8;
            let query: Vec<i32> =
                (0..width).map(|place| stream.child(1).at(place as u64) as i16 as i32).collect();
            let mut codes = Vec::new();
            for block in 0..rows / BLOCK {
                for column in 0..width {
                    codes.extend((0..BLOCK).map(|lane| code(block * BLOCK + lane, column)));
                }
            }
            let plain = |row: usize| -> i64 {
                (0..width).map(|column| i64::from(code(row, column)) * i64::from(query[column])).sum()
            };
            let want: Vec<i64> = (0..rows).map(plain).collect();
            for level in levels() {
                let mut sums = vec![0; rows];
                inner_products_at(level, &codes, &query, &mut sums);
                assert_eq!(sums.into_iter().map(i64::from).collect::<Vec<_>>(), want, "{level:?}");
            }
        }
    }
}
