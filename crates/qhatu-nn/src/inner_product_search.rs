//! The rows of a matrix with the largest inner products with a query, exactly: maximum inner product search without an
//! approximate index.
//!
//! The index keeps every row in 8 bits (a scale each), beside the rows as they are, which stay with their owner. A search
//! reads the 8-bit codes of every row, a quarter
//! of the memory, and knows for each product how far off it can be: with `x = s c + ε`, `|εᵢ| ≤ s ⁄ 2`, and the query
//! `q = t b + δ`, `|δᵢ| ≤ t ⁄ 2` (in 16 bits),
//!
//! `|x·q − s t (c·b)| ≤ s ⁄ 2 · ‖q‖₁ + t ⁄ 2 · (‖x‖₁ + s d ⁄ 2)`.
//!
//! Rows whose upper bound lies below the k-th largest lower bound cannot be among the best; the few others are computed
//! in `f32`. The answer is the one of a plain loop over all rows, ties included. (The filter-and-refine of Weber et al.,
//! A quantitative analysis and performance study for similarity-search methods, VLDB 1998, with scalar codes.)

use rayon::prelude::*;

use crate::kernel::scan::{BLOCK, Bar, BlockSums, about, inner_products, place, products, reaching};

/// Rows that a thread takes at a time.
const SEGMENT: usize = 16_384;
/// From so many rows on a search is worth more than one thread: it takes about a millisecond on one.
const MANY: usize = 16 * SEGMENT;
/// Rows whose sums are made before any is looked at: they stay in the first cache.
const BATCH: usize = 1024;
/// The widest rows whose sums of 8 by 16 bits fit in 32.
const WIDTH_MAX: usize = 512;

/// What is known of rows so that they can be searched. Memory: rows × (width + 12.5) bytes, of an odd width one more.
#[derive(Debug, Clone)]
pub struct InnerProductIndex {
    rows: usize,
    width: usize,
    /// To whole blocks, as scales.
    biases: Vec<f32>,
    /// In blocks of rows, padded with zeros to whole blocks: see [`place`].
    codes: Vec<i8>,
    scales: Vec<f32>,
    /// Sums of the sizes of a row's values.
    sizes: Vec<f32>,
    largest: Vec<Largest>,
}

/// What is largest in a block.
#[derive(Debug, Clone, Copy)]
struct Largest {
    scale: f32,
    size: f32,
    bias: f32,
    /// Of a bias.
    bias_size: f32,
}

/// A row with its inner product.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Which row.
    pub row: usize,
    /// Its product with the query plus its bias.
    pub score: f32,
}

/// What a row's product can be.
#[derive(Clone, Copy)]
struct Bounds {
    row: usize,
    low: f32,
    high: f32,
}

/// What cannot be searched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an index takes rows of 1 to {WIDTH_MAX} finite numbers and a bias each: {fault}")]
pub struct NotSearchable {
    fault: String,
}

/// The product of each row (`out.len()` × `query.len()`) with a query: the numbers that [`InnerProductIndex::search`]
/// goes by before biases are added, to the bit.
///
/// # Panics
/// Where lengths do not fit.
pub fn inner_products_of(rows: &[f32], query: &[f32], out: &mut [f32]) {
    products(rows, query, out);
}

impl InnerProductIndex {
    /// Prepares rows of `width` numbers, row after row, each with a bias that is added to its products.
    ///
    /// # Errors
    /// [`NotSearchable`] for other widths, lengths that do not fit, and numbers that are not finite.
    pub fn new(values: &[f32], width: usize, mut biases: Vec<f32>) -> Result<Self, NotSearchable> {
        let fault = |fault: String| Err(NotSearchable { fault });
        if !(1..=WIDTH_MAX).contains(&width) || values.len() != width * biases.len() {
            return fault(format!("{} numbers, width {width}, {} biases", values.len(), biases.len()));
        }
        if let Some(place) = values.iter().chain(&biases).position(|value| !value.is_finite()) {
            return fault(format!("number {place} is not finite"));
        }
        let rows = biases.len();
        let of_largest_size = |row: &[f32]| row.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let mut scales: Vec<f32> =
            values.chunks_exact(width).map(|row| of_largest_size(row) / 127.0).collect();
        let sizes = values.chunks_exact(width).map(|row| row.iter().map(|value| value.abs()).sum());
        let sizes: Vec<f32> = sizes.collect();
        let pairs = width.div_ceil(2);
        let mut codes = vec![0_i8; rows.next_multiple_of(BLOCK) * 2 * pairs];
        for (row, (own, scale)) in values.chunks_exact(width).zip(&scales).enumerate() {
            for (column, value) in own.iter().enumerate().filter(|_| *scale > 0.0) {
                codes[place(row, column, pairs)] = (value / scale).round() as i8;
            }
        }
        let blocks = scales.chunks(BLOCK).zip(sizes.chunks(BLOCK)).zip(biases.chunks(BLOCK));
        let largest = blocks.map(|((scales, sizes), biases)| Largest {
            scale: of_largest_size(scales),
            size: of_largest_size(sizes),
            bias: biases.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            bias_size: of_largest_size(biases),
        });
        let largest = largest.collect();
        biases.resize(rows.next_multiple_of(BLOCK), 0.0);
        scales.resize(rows.next_multiple_of(BLOCK), 0.0);
        Ok(Self { rows, width, biases, codes, scales, sizes, largest })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The product of a row with a query, plus its bias: what a search gives for it. `values` are the rows that the
    /// index was made of.
    ///
    /// # Panics
    /// Where there is no such row, or the query is of another width.
    pub fn score(&self, values: &[f32], row: usize, query: &[f32]) -> f32 {
        assert_eq!(query.len(), self.width, "a query is as wide as the rows");
        let mut sum = [0.0];
        products(&values[row * self.width..(row + 1) * self.width], query, &mut sum);
        sum[0] + self.biases[row]
    }

    /// The `k` rows with the highest scores that are not barred, best first; of equal ones the earlier row. `values` are
    /// the rows that the index was made of. Segments of many rows are searched side by side on rayon's threads; of few, on
    /// the calling thread.
    ///
    /// # Panics
    /// When the query is of another width, or the values are fewer.
    pub fn search(
        &self,
        values: &[f32],
        query: &[f32],
        k: usize,
        barred: &(dyn Fn(usize) -> bool + Sync),
    ) -> Vec<Found> {
        assert_eq!(query.len(), self.width, "a query is as wide as the rows");
        if k == 0 || self.rows == 0 {
            return Vec::new();
        }
        let query = Query::new(query);
        if self.rows < MANY {
            let found = self.candidates(0..self.rows, &query, k, barred);
            return self.best(found, (values, &query), k);
        }
        let of = |segment: usize| {
            let range = segment * SEGMENT..self.rows.min((segment + 1) * SEGMENT);
            self.candidates(range, &query, k, barred)
        };
        let found = (0..self.rows.div_ceil(SEGMENT)).into_par_iter().flat_map_iter(of).collect();
        self.best(found, (values, &query), k)
    }

    /// The best of candidates, by what they are.
    fn best(&self, mut found: Vec<Bounds>, (values, query): (&[f32], &Query), k: usize) -> Vec<Found> {
        keep_possible(&mut found, k);
        let score =
            |bounds: &Bounds| Found { row: bounds.row, score: self.score(values, bounds.row, query.values) };
        let mut best: Vec<Found> = found.iter().map(score).collect();
        best.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
        best.truncate(k);
        best
    }

    /// Rows of a range that may be among its best `k`.
    fn candidates(
        &self,
        range: std::ops::Range<usize>,
        query: &Query,
        k: usize,
        barred: &dyn Fn(usize) -> bool,
    ) -> Vec<Bounds> {
        let mut sums = [BlockSums::ZERO; BATCH / BLOCK];
        let most = k.saturating_mul(4);
        let mut found: Vec<Bounds> = Vec::with_capacity(most.min(range.len()));
        let mut floor = f32::NEG_INFINITY;
        for start in range.clone().step_by(BATCH) {
            let end = range.end.min(start + BATCH);
            let sums = &mut sums[..(end - start).div_ceil(BLOCK)];
            let stride = 2 * query.codes.len();
            inner_products(&self.codes[start * stride..][..sums.len() * BLOCK * stride], &query.codes, sums);
            for (block, sums) in (start / BLOCK..).zip(sums.iter()) {
                self.put_reaching(block, sums, (query, floor), &mut found, barred);
                if found.len() >= most {
                    floor = keep_possible(&mut found, k);
                }
            }
        }
        found
    }

    /// Adds the rows of a block that may reach the floor and are not barred. Most blocks are passed over by what is largest
    /// in them, most rows of others by the largest error in the block.
    fn put_reaching(
        &self,
        block: usize,
        sums: &BlockSums,
        (query, floor): (&Query, f32),
        found: &mut Vec<Bounds>,
        barred: &dyn Fn(usize) -> bool,
    ) {
        let Largest { scale, size, bias, bias_size } = self.largest[block];
        let off = query.off(scale, size, bias_size);
        if about(sums.peak.max(0), scale, query.scale, bias) + off < floor {
            return;
        }
        let ((scales, _), (biases, _)) = (self.scales.as_chunks::<BLOCK>(), self.biases.as_chunks::<BLOCK>());
        let (scales, biases) = (&scales[block], &biases[block]);
        let mut bits = reaching(&sums.rows, scales, biases, Bar { factor: query.scale, off, floor });
        while bits != 0 {
            let lane = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let row = block * BLOCK + lane;
            if row >= self.rows {
                return;
            }
            let about = about(sums.rows[lane], scales[lane], query.scale, biases[lane]);
            let off = query.off(scales[lane], self.sizes[row], biases[lane]);
            if about + off >= floor && !barred(row) {
                found.push(Bounds { row, low: about - off, high: about + off });
            }
        }
    }
}

/// A query with its codes.
struct Query<'a> {
    values: &'a [f32],
    /// In pairs; a last one alone is beside 0.
    codes: Vec<[i16; 2]>,
    scale: f32,
    /// Sum of the sizes of its values.
    size: f32,
    /// The largest of them.
    largest: f32,
    width: f32,
}

impl<'a> Query<'a> {
    fn new(values: &'a [f32]) -> Self {
        let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let scale = largest / f32::from(i16::MAX);
        let code = |value: Option<&f32>| match value {
            Some(value) if scale > 0.0 => (value / scale).round() as i16,
            _ => 0,
        };
        Self {
            values,
            codes: values.chunks(2).map(|pair| [code(pair.first()), code(pair.get(1))]).collect(),
            scale,
            size: values.iter().map(|value| value.abs()).sum(),
            largest,
            width: values.len() as f32,
        }
    }

    /// How far a product can be from what the codes say: the bound of the file's head, and the rounding of both
    /// sums in `f32`, at most `(d + 4) 2⁻²⁴` of what is summed up, doubled.
    fn off(&self, scale: f32, size: f32, bias: f32) -> f32 {
        let codes = 0.5 * scale * self.size + 0.5 * self.scale * (size + 0.5 * scale * self.width);
        let rounding = (self.width + 4.0) * f32::EPSILON * (size * self.largest + bias.abs() + codes);
        1.000_01 * codes + rounding
    }
}

/// Takes out what cannot be among the best `k`, and gives the bound that others must reach.
fn keep_possible(found: &mut Vec<Bounds>, k: usize) -> f32 {
    if found.len() <= k {
        return f32::NEG_INFINITY;
    }
    let mut lows: Vec<f32> = found.iter().map(|bounds| bounds.low).collect();
    let (_, floor, _) = lows.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
    let floor = *floor;
    found.retain(|bounds| bounds.high >= floor);
    floor
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Stream;

    fn index(rows: usize, width: usize, seed: u64) -> (Vec<f32>, InnerProductIndex) {
        let stream = Stream::new(seed);
        let mut values = vec![0.0; rows * width];
        stream.fill_normal(&mut values, 1.0);
        // Rows of very different sizes, and some that are equal.
        for (row, own) in values.chunks_exact_mut(width).enumerate() {
            let factor = [1.0, 0.01, 30.0, 0.0][row % 4];
            own.iter_mut().for_each(|value| *value *= factor);
        }
        if rows > 8 {
            values.copy_within(2 * width..3 * width, 6 * width);
        }
        let mut biases = vec![0.0; rows];
        stream.child(1).fill_normal(&mut biases, 2.0);
        let index = InnerProductIndex::new(&values, width, biases).unwrap();
        (values, index)
    }

    fn plainly(
        (values, index): &(Vec<f32>, InnerProductIndex),
        query: &[f32],
        k: usize,
        barred: impl Fn(usize) -> bool,
    ) -> Vec<Found> {
        let rows = (0..index.rows()).filter(|row| !barred(*row));
        let mut all: Vec<Found> =
            rows.map(|row| Found { row, score: index.score(values, row, query) }).collect();
        all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
        all.truncate(k);
        all
    }

    proptest! {
        #[test]
        fn the_answer_is_that_of_a_plain_loop(
            rows in 0..300_usize, width in 1..40_usize, k in 0..40_usize, out in 1..7_usize, seed in 0..1000_u64,
        ) {
            let index = index(rows, width, seed);
            let mut query = vec![0.0; width];
            Stream::new(seed ^ 77).fill_normal(&mut query, 3.0);
            let barred = |row: usize| row % 7 == out;
            let want = plainly(&index, &query, k, barred);
            prop_assert_eq!(index.1.search(&index.0, &query, k, &barred), want);
        }
    }

    #[test]
    fn many_rows_are_searched_in_segments_and_equal_ones_come_in_their_order() {
        let index = index(MANY + 5, 8, 9);
        let mut query = vec![0.0; 8];
        Stream::new(4).fill_normal(&mut query, 1.0);
        for query in [&query, &vec![0.0; 8]] {
            let want = plainly(&index, query, 100, |_| false);
            assert_eq!(index.1.search(&index.0, query, 100, &|_| false), want);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert!(InnerProductIndex::new(&[1.0, f32::NAN], 2, vec![0.0]).is_err());
        assert!(InnerProductIndex::new(&[1.0], 2, vec![0.0]).is_err());
        assert!(InnerProductIndex::new(&[], 0, Vec::new()).is_err());
        assert!(InnerProductIndex::new(&[0.0; 513], 513, vec![0.0]).is_err());
    }
}
