//! Inner products of 8-bit rows with one query, in whole numbers: the same at every level; and of rows as they are, in
//! one order of sums.
//!
//! Codes lie in blocks of [`BLOCK`] rows, within a block pair of columns after pair of columns, so that a lane is a row,
//! nothing has to be summed across lanes, and a multiplication of pairs (`vpmaddwd`) takes two columns at a time.

use super::lane::{LANES, multiply_add};
use super::level::{Level, dispatched, level};

/// Rows of a block: a pair of their columns is a cache line.
pub(crate) const BLOCK: usize = 32;
/// Codes of a pair of columns of a block.
const LINE: usize = 2 * BLOCK;

/// The sums of a block's rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BlockSums {
    pub(crate) rows: [i32; BLOCK],
    /// The largest of them.
    pub(crate) peak: i32,
}

impl BlockSums {
    pub(crate) const ZERO: Self = Self { rows: [0; BLOCK], peak: 0 };
}

/// Where the code of a row and a column lies, of rows of `pairs` pairs of columns.
pub(crate) fn place(row: usize, column: usize, pairs: usize) -> usize {
    (row / BLOCK * pairs + column / 2) * LINE + row % BLOCK * 2 + column % 2
}

/// For each row of `codes` its product with `query`, which holds pairs of columns.
///
/// # Panics
/// Where lengths do not fit: a sum for each row.
pub(crate) fn inner_products(codes: &[i8], query: &[[i16; 2]], sums: &mut [BlockSums]) {
    inner_products_at(level(), codes, query, sums);
}

fn inner_products_at(level: Level, codes: &[i8], query: &[[i16; 2]], sums: &mut [BlockSums]) {
    let (lines, rest) = codes.as_chunks::<LINE>();
    assert!(rest.is_empty() && lines.len() == sums.len() * query.len(), "a code for each row and column");
    if query.is_empty() {
        return sums.fill(BlockSums::ZERO);
    }
    match level {
        // SAFETY: the processor has these instructions, as `level()` found.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { wide::avx512(lines, query, sums) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { wide::avx2(lines, query, sums) },
        _ => portable(lines, query, sums),
    }
}

fn portable(lines: &[[i8; LINE]], query: &[[i16; 2]], sums: &mut [BlockSums]) {
    for (block, sums) in lines.chunks_exact(query.len()).zip(sums) {
        let mut own = [0_i32; BLOCK];
        for (line, factors) in block.iter().zip(query) {
            let [first, second] = factors.map(i32::from);
            for lane in 0..BLOCK {
                own[lane] += i32::from(line[2 * lane]) * first + i32::from(line[2 * lane + 1]) * second;
            }
        }
        *sums = BlockSums { rows: own, peak: own.into_iter().fold(i32::MIN, i32::max) };
    }
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;

    use super::{BlockSums, LINE};

    macro_rules! scan {
        ($name:ident, $features:literal, $vectors:literal, $load:ident: $half:ty, $whole:ty, $zero:ident, $widen:ident, $spread:ident, $multiply:ident, $add:ident, $most:ident, $store:ident) => {
            /// # Safety
            /// The processor has the instructions.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name(lines: &[[i8; LINE]], query: &[[i16; 2]], sums: &mut [BlockSums]) {
                const EACH: usize = LINE / $vectors;
                for (block, sums) in lines.chunks_exact(query.len()).zip(sums) {
                    let mut own = [$zero(); $vectors];
                    for (line, [first, second]) in block.iter().zip(query) {
                        let factors = $spread(i32::from(*second) << 16 | i32::from(*first) & 0xffff);
                        for v in 0..$vectors {
                            // SAFETY: a line has LINE codes.
                            let codes = unsafe { $load(line.as_ptr().add(v * EACH).cast::<$half>()) };
                            own[v] = $add(own[v], $multiply($widen(codes), factors));
                        }
                    }
                    let mut most = own[0];
                    for v in 0..$vectors {
                        most = $most(most, own[v]);
                        // SAFETY: a block has BLOCK sums, one for two codes of a line.
                        unsafe { $store(sums.rows.as_mut_ptr().add(v * EACH / 2).cast::<$whole>(), own[v]) };
                    }
                    let mut each = [0_i32; EACH / 2];
                    // SAFETY: as wide as a vector.
                    unsafe { $store(each.as_mut_ptr().cast::<$whole>(), most) };
                    sums.peak = each.into_iter().fold(i32::MIN, i32::max);
                }
            }
        };
    }

    scan!(
        avx2,
        "avx2",
        4,
        _mm_loadu_si128: __m128i,
        __m256i,
        _mm256_setzero_si256,
        _mm256_cvtepi8_epi16,
        _mm256_set1_epi32,
        _mm256_madd_epi16,
        _mm256_add_epi32,
        _mm256_max_epi32,
        _mm256_storeu_si256
    );
    scan!(
        avx512,
        "avx512f,avx512bw,avx2",
        2,
        _mm256_loadu_si256: __m256i,
        __m512i,
        _mm512_setzero_si512,
        _mm512_cvtepi8_epi16,
        _mm512_set1_epi32,
        _mm512_madd_epi16,
        _mm512_add_epi32,
        _mm512_max_epi32,
        _mm512_storeu_si512
    );
}

/// What a block's sums stand for, and what they must reach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bar {
    /// A sum's unit is this times the row's scale.
    pub(crate) factor: f32,
    /// What is added because sums are rounded.
    pub(crate) off: f32,
    /// What must be reached.
    pub(crate) floor: f32,
}

dispatched! {
    /// [`reaching`] at a level.
    fn reaching_at(sums: &[i32; BLOCK], scales: &[f32; BLOCK], biases: &[f32; BLOCK], bar: Bar) -> u32 = reaching_body
}

/// A bit for each row of a block that may reach the bar: `scale · factor · sum + bias + off ≥ floor`.
pub(crate) fn reaching(sums: &[i32; BLOCK], scales: &[f32; BLOCK], biases: &[f32; BLOCK], bar: Bar) -> u32 {
    reaching_at(level(), sums, scales, biases, bar)
}

/// What a row's sum stands for.
#[inline(always)]
pub(crate) fn about(sum: i32, scale: f32, factor: f32, bias: f32) -> f32 {
    scale * factor * sum as f32 + bias
}

#[inline(always)]
fn reaching_body<const FMA: bool>(
    sums: &[i32; BLOCK],
    scales: &[f32; BLOCK],
    biases: &[f32; BLOCK],
    bar: Bar,
) -> u32 {
    let mut bits = [0_u32; BLOCK];
    for lane in 0..BLOCK {
        let high = about(sums[lane], scales[lane], bar.factor, biases[lane]) + bar.off;
        bits[lane] = u32::from(high >= bar.floor) << lane;
    }
    bits.into_iter().fold(0, |all, bit| all | bit)
}

dispatched! {
    /// [`products`] at a level.
    fn products_at(rows: &[f32], query: &[f32], out: &mut [f32]) = products_body
}

/// The product of each row (`out.len()` × `query.len()`) with the query, in an order of sums that depends on the width
/// alone.
///
/// # Panics
/// Where lengths do not fit.
pub(crate) fn products(rows: &[f32], query: &[f32], out: &mut [f32]) {
    assert_eq!(rows.len(), out.len() * query.len(), "a product for each row");
    products_at(level(), rows, query, out);
}

#[inline(always)]
fn products_body<const FMA: bool>(rows: &[f32], query: &[f32], out: &mut [f32]) {
    for (row, out) in rows.chunks_exact(query.len().max(1)).zip(out) {
        let mut sums = [0.0_f32; LANES];
        let ((own, own_rest), (query, query_rest)) = (row.as_chunks::<LANES>(), query.as_chunks::<LANES>());
        for (own, query) in own.iter().zip(query) {
            (0..LANES).for_each(|lane| sums[lane] = multiply_add::<FMA>(own[lane], query[lane], sums[lane]));
        }
        let rest: f32 = own_rest.iter().zip(query_rest).map(|(a, b)| a * b).sum();
        // Halves upon halves.
        let mut half = LANES / 2;
        while half > 0 {
            (0..half).for_each(|lane| sums[lane] += sums[lane + half]);
            half /= 2;
        }
        *out = sums[0] + rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::level::levels;
    use crate::kernel::tests::numbers;
    use crate::random::Stream;

    #[test]
    fn every_level_sums_what_a_plain_loop_sums() {
        let stream = Stream::new(5);
        for (rows, pairs) in [(32, 1), (96, 7), (320, 32), (32, 256)] {
            let code = |row: usize, column: usize| stream.at((row * 2 * pairs + column) as u64) as u8 as i8;
            let number = |place: usize| stream.child(1).at(place as u64) as i16;
            let query: Vec<[i16; 2]> = (0..pairs).map(|pair| [2 * pair, 2 * pair + 1].map(number)).collect();
            let mut codes = vec![0; 2 * rows * pairs];
            for row in 0..rows {
                (0..2 * pairs).for_each(|column| codes[place(row, column, pairs)] = code(row, column));
            }
            let plain = |row: usize| -> i64 {
                (0..2 * pairs).map(|column| i64::from(code(row, column)) * i64::from(number(column))).sum()
            };
            let want: Vec<i64> = (0..rows).map(plain).collect();
            for level in levels() {
                let mut sums = vec![BlockSums::ZERO; rows / BLOCK];
                inner_products_at(level, &codes, &query, &mut sums);
                for (sums, want) in sums.iter().zip(want.chunks(BLOCK)) {
                    assert_eq!(sums.rows.map(i64::from), want, "{level:?}");
                    assert_eq!(Some(i64::from(sums.peak)), want.iter().copied().max(), "{level:?}");
                }
            }
        }
    }

    #[test]
    fn a_row_is_the_same_alone_and_among_others_and_near_the_sum() {
        for width in [1, 16, 17, 64, 100] {
            let (rows, query) = (numbers(7 * width, 1), numbers(width, 2));
            for level in levels() {
                let mut all = [0.0; 7];
                products_at(level, &rows, &query, &mut all);
                for (row, all) in rows.chunks_exact(width).zip(all) {
                    let mut alone = [0.0];
                    products_at(level, row, &query, &mut alone);
                    let sum: f64 = row.iter().zip(&query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    assert_eq!(alone, [all]);
                    assert!((f64::from(all) - sum).abs() < 1e-4, "{level:?}: {all} {sum}");
                }
            }
        }
    }

    #[test]
    fn rows_reach_a_bar_each_by_itself() {
        let (scales, biases) = ([0.5; BLOCK], [1.0; BLOCK]);
        let mut sums = [10; BLOCK];
        (sums[0], sums[17], sums[31]) = (90, 100, 99);
        let bar = |floor| Bar { factor: 2.0, off: 0.25, floor };
        for level in levels() {
            let found = |floor| reaching_at(level, &sums, &scales, &biases, bar(floor));
            assert_eq!(found(100.25), 1 << 17 | 1 << 31);
            assert_eq!(found(101.5), 0);
            assert_eq!(found(f32::NEG_INFINITY), u32::MAX);
        }
    }
}
