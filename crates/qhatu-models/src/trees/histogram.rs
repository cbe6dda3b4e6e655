//! Sums of gradients and hessians by bin.
//!
//! Both are rounded to integers, of 30 bits for gradients and 29 for hessians, relative to the largest of the round.
//! While rows are counted a bin is two words: the gradients, and the hessians above 17 bits that count rows; so blocks
//! of at most 65,536 rows cannot overflow, and a row costs one addition of two words for a bundle of features.

use std::ops::AddAssign;

use rayon::prelude::*;

use super::binning::{Binned, Bundle, Panel};
use super::kernel::cell::Cell;
use super::objective::Pair;

/// Integers of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rounded {
    gradient: i32,
    hessian: i32,
}

/// Sums over rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) gradient: i64,
    pub(super) hessian: i64,
    pub(super) rows: u32,
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.gradient += other.gradient;
        self.hessian += other.hessian;
        self.rows += other.rows;
    }
}

impl Sum {
    pub(super) fn less(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            hessian: self.hessian - other.hessian,
            rows: self.rows - other.rows,
        }
    }

    pub(super) fn add_row(&mut self, row: Rounded) {
        self.gradient += i64::from(row.gradient);
        self.hessian += i64::from(row.hessian);
        self.rows += 1;
    }
}

/// What an integer stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unit {
    pub(super) gradient: f64,
    pub(super) hessian: f64,
}

const GRADIENT_MAX: f32 = (1_u32 << 30) as f32;
const HESSIAN_MAX: f32 = (1_u32 << 29) as f32;
const COUNT_BITS: u32 = 17;
const BLOCK: usize = 1 << 16;
/// Fewer rows than this are not worth another thread.
const FEWEST: usize = 4096;

/// Rounds the rows' pairs.
pub(super) fn round(pairs: &[Pair], rounded: &mut Vec<Rounded>) -> Unit {
    let most = pairs
        .par_chunks(BLOCK)
        .map(|pairs| {
            pairs.iter().fold((0.0_f32, 0.0_f32), |(gradient, hessian), pair| {
                (gradient.max(pair.gradient.abs()), hessian.max(pair.hessian))
            })
        })
        .reduce(|| (0.0, 0.0), |a, b| (a.0.max(b.0), a.1.max(b.1)));
    let (gradient, hessian) = (positive(most.0), positive(most.1));
    let (by_gradient, by_hessian) = (GRADIENT_MAX / gradient, HESSIAN_MAX / hessian);
    rounded.resize(pairs.len(), Rounded::default());
    rounded.par_chunks_mut(BLOCK).zip(pairs.par_chunks(BLOCK)).for_each(|(rounded, pairs)| {
        for (rounded, pair) in rounded.iter_mut().zip(pairs) {
            *rounded = Rounded {
                gradient: nearest(pair.gradient * by_gradient),
                hessian: nearest(pair.hessian * by_hessian),
            };
        }
    });
    Unit { gradient: 1.0 / f64::from(by_gradient), hessian: 1.0 / f64::from(by_hessian) }
}

/// The nearest whole number of one below 2³¹, of two the even one: 1.5 · 2⁵² leaves it in the low bits.
fn nearest(value: f32) -> i32 {
    (f64::from(value) + 6_755_399_441_055_744.0).to_bits() as i32
}

/// A largest value that can be divided by.
fn positive(value: f32) -> f32 {
    if value >= 1e-30 { value } else { 1.0 }
}

type Cells = [Cell; 256];

/// The sums of all features over the given rows, feature after feature as [`Binned::offsets`] says.
pub(super) fn histogram(binned: &Binned, rows: &[u32], pairs: &[Rounded]) -> Vec<Sum> {
    let size = rows.len().div_ceil(rayon::current_num_threads()).clamp(FEWEST, BLOCK);
    let counted = |panel: &Panel| -> Vec<Vec<Cells>> {
        rows.par_chunks(size).map(|rows| count(panel, rows, pairs)).collect()
    };
    let counted: Vec<Vec<Vec<Cells>>> = binned.panels.par_iter().map(counted).collect();
    let mut sums = vec![Sum::default(); binned.offsets.last().copied().unwrap_or(0)];
    for (panel, blocks) in binned.panels.iter().zip(&counted) {
        for (place, bundle) in panel.bundles.iter().enumerate() {
            blocks.iter().for_each(|cells| unpack(bundle, &cells[place], &binned.offsets, &mut sums));
        }
    }
    sums
}

fn count(panel: &Panel, rows: &[u32], pairs: &[Rounded]) -> Vec<Cells> {
    let width = panel.bundles.len();
    let mut cells: Vec<Cells> = vec![[Cell::default(); 256]; width];
    for &row in rows {
        let row = row as usize;
        let Rounded { gradient, hessian } = pairs[row];
        let add = Cell::new(i64::from(gradient), (i64::from(hessian) << COUNT_BITS) + 1);
        let own = &panel.cells[row * width..][..width];
        for place in 0..width {
            cells[place][usize::from(own[place])].add(add);
        }
    }
    cells
}

/// Adds what a bundle's cells hold to the bins that they stand for.
fn unpack(bundle: &Bundle, cells: &Cells, offsets: &[usize], sums: &mut [Sum]) {
    for (place, cell) in cells[..bundle.cells].iter().enumerate() {
        let [gradient, packed] = cell.both();
        let rows = (packed & ((1 << COUNT_BITS) - 1)) as u32;
        if rows > 0 {
            let sum = Sum { gradient, hessian: packed >> COUNT_BITS, rows };
            bundle.parts.iter().for_each(|part| sums[offsets[part.feature] + part.bin(place)] += sum);
        }
    }
}

/// The sums of one feature over few rows, and which bins they are in.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) sums: Box<[Sum; 256]>,
    /// Ascending, without the missing bin.
    pub(super) occupied: Vec<u8>,
    marks: [u64; 4],
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { sums: Box::new([Sum::default(); 256]), occupied: Vec::new(), marks: [0; 4] }
    }

    /// Sums the rows of a column; what stood here before goes.
    pub(super) fn fill(&mut self, column: &[u8], rows: &[u32], pairs: &[Rounded]) {
        self.sums[0] = Sum::default();
        self.occupied.drain(..).for_each(|bin| self.sums[usize::from(bin)] = Sum::default());
        for &row in rows {
            let bin = column[row as usize];
            self.sums[usize::from(bin)].add_row(pairs[row as usize]);
            self.marks[usize::from(bin >> 6)] |= 1 << (bin & 63);
        }
        self.marks[0] &= !1;
        for (word, marks) in (0_u8..).zip(&mut self.marks) {
            while *marks != 0 {
                self.occupied.push(64 * word + marks.trailing_zeros() as u8);
                *marks &= *marks - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::binning::Columns;
    use super::*;

    #[test]
    fn a_histogram_is_what_each_column_sums_to_whatever_the_blocks() {
        let rows = 150_000_u32;
        let column = |by: u32| (0..rows).map(|row| f64::from(row.wrapping_mul(by) >> 20)).collect();
        let columns: Vec<Vec<f64>> = (1..28_u32).map(|by| column(by.wrapping_mul(2_654_435_761))).collect();
        let binned = Binned::new(Columns::numbers(&columns), 255);
        let pair = |row: u32| Pair { gradient: (row % 1000) as f32 - 500.0, hessian: (row % 77) as f32 };
        let pairs: Vec<Pair> = (0..rows).map(pair).collect();
        let mut rounded = Vec::new();
        round(&pairs, &mut rounded);
        let taken: Vec<u32> = (0..rows).filter(|row| row % 5 != 2).collect();
        let sums = histogram(&binned, &taken, &rounded);
        let mut scratch = Scratch::new();
        for feature in [0, 13, 26] {
            scratch.fill(&binned.columns[feature], &taken, &rounded);
            let own = &sums[binned.offsets[feature]..binned.offsets[feature + 1]];
            assert_eq!(own, &scratch.sums[..own.len()]);
            let occupied = (1..own.len()).filter(|bin| own[*bin].rows > 0).map(|bin| bin as u8);
            assert!(occupied.eq(scratch.occupied.iter().copied()));
        }
    }

    #[test]
    fn the_nearest_number_is_that_of_the_language() {
        for value in [0.0, 0.5, 1.5, -0.5, -2.5, 2.499, -7.51, 1e6, 1_073_741_824.0, -1_073_741_824.0] {
            assert_eq!(nearest(value), value.round_ties_even() as i32, "{value}");
        }
    }

    #[test]
    fn rounding_is_fine_and_the_largest_fits() {
        let pairs =
            [(-3.0, 0.25), (1e-4, 0.1), (2.999, 1e-3)].map(|(gradient, hessian)| Pair { gradient, hessian });
        let mut rounded = Vec::new();
        let unit = round(&pairs, &mut rounded);
        for (pair, rounded) in pairs.iter().zip(&rounded) {
            assert!((f64::from(rounded.gradient) * unit.gradient - f64::from(pair.gradient)).abs() < 1e-6);
            assert!((f64::from(rounded.hessian) * unit.hessian - f64::from(pair.hessian)).abs() < 1e-7);
        }
        assert_eq!(
            round(&[Pair::default()], &mut rounded),
            Unit { gradient: 1.0 / f64::from(GRADIENT_MAX), hessian: 1.0 / f64::from(HESSIAN_MAX) }
        );
    }
}
