//! Values in bins: one byte a row and feature, 0 where the value is missing.

use rayon::prelude::*;

use crate::error::{ModelError, misfit};

/// Rows to learn from, feature by feature.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// A column a feature, all of one length; NaN or infinite where missing. Read as `f32`.
    pub values: &'a [Vec<f64>],
    /// For each feature whether its numbers are categories (whole numbers from 0, below 65,536); empty: none are.
    pub categorical: &'a [bool],
}

impl<'a> Columns<'a> {
    /// Numbers alone.
    pub fn numbers(values: &'a [Vec<f64>]) -> Self {
        Self { values, categorical: &[] }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.first().map_or(0, Vec::len)
    }

    /// The rows of the columns as a row's features side by side, as [`super::TreeEnsemble::margin`] takes them.
    pub fn row(&self, row: usize) -> Vec<f32> {
        self.values.iter().map(|column| column[row] as f32).collect()
    }

    pub(super) fn is_category(&self, feature: usize) -> bool {
        self.categorical.get(feature).copied().unwrap_or(false)
    }

    /// # Errors
    /// Where columns differ in length, or there are not as many marks of categories as features.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        let rows = self.rows();
        if let Some(place) = self.values.iter().position(|column| column.len() != rows) {
            let fault =
                format!("feature {place} has {} rows, feature 0 has {rows}", self.values[place].len());
            return Err(misfit(super::ensemble::NAME, fault));
        }
        if u32::try_from(rows).is_err() {
            return Err(misfit(super::ensemble::NAME, format!("{rows} rows are more than 2³² − 1")));
        }
        match self.categorical.len() {
            marks if marks == 0 || marks == self.values.len() => Ok(()),
            marks => Err(misfit(
                super::ensemble::NAME,
                format!("{marks} features are marked, there are {}", self.values.len()),
            )),
        }
    }
}

/// Categories from here on are as good as missing.
pub(super) const CATEGORIES: usize = 1 << 16;

/// What the bins of a feature stand for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cuts {
    /// Ascending borders: bin `b` holds what is at least border `b − 2` and below border `b − 1`.
    Number(Vec<f32>),
    /// The category of bin `b` at place `b − 1`, ascending; others are as good as missing.
    Category(Vec<u16>),
}

impl Cuts {
    /// Number of bins, that of missing values included.
    pub(super) fn bins(&self) -> usize {
        match self {
            Self::Number(borders) => borders.len() + 2,
            Self::Category(categories) => categories.len() + 1,
        }
    }

    /// The bin of a value.
    pub(super) fn bin(&self, value: f32) -> u8 {
        match self {
            _ if !value.is_finite() => 0,
            // At most 254 borders, so at most bin 255.
            Self::Number(borders) => 1 + borders.partition_point(|border| *border <= value) as u8,
            Self::Category(categories) => {
                let found = category(value).and_then(|own| categories.binary_search(&own).ok());
                found.map_or(0, |place| 1 + place as u8)
            }
        }
    }
}

/// The category that a value names, if it can be one.
pub(super) fn category(value: f32) -> Option<u16> {
    (value >= 0.0 && value < CATEGORIES as f32).then_some(value as u16)
}

/// Bundles whose cells lie side by side for each row, so that a row's sums are added in one go.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) bundles: Vec<Bundle>,
    /// Cell of each bundle, row after row.
    pub(super) cells: Vec<u8>,
}

/// Features of few bins that are summed together: a cell for each way in which their bins can meet, so that a row is one
/// addition for all of them. What each feature's bins sum to are sums of cells, and whole numbers, so that nothing is
/// lost.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bundle {
    pub(super) parts: Vec<Part>,
    /// How many cells there are, at most 256.
    pub(super) cells: usize,
}

/// A feature of a bundle: a cell's bin of it is `first + cell ⁄ step mod bins`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Part {
    pub(super) feature: usize,
    pub(super) step: usize,
    /// How many of its bins rows are in: where no value is missing all but the first.
    pub(super) bins: usize,
    pub(super) first: usize,
}

impl Part {
    /// The bin that a cell stands for.
    pub(super) fn bin(&self, cell: usize) -> usize {
        self.first + cell / self.step % self.bins
    }
}

/// Most bundles of a panel: their sums fit the nearest caches.
const PANEL: usize = 24;
/// Most cells of a bundle.
const CELLS: usize = 256;

/// The binned rows.
#[derive(Debug)]
pub(super) struct Binned {
    pub(super) rows: usize,
    pub(super) cuts: Vec<Cuts>,
    /// Bin of each row, feature by feature.
    pub(super) columns: Vec<Vec<u8>>,
    pub(super) panels: Vec<Panel>,
    /// Where a feature's sums begin in a histogram, and at the end how many there are.
    pub(super) offsets: Vec<usize>,
}

impl Binned {
    /// Learns the bins and puts every row into them; at most `bins` a feature beside that for missing values.
    pub(super) fn new(columns: Columns, bins: usize) -> Self {
        let of = |feature: usize| {
            let values: Vec<f32> = columns.values[feature].iter().map(|value| *value as f32).collect();
            let cuts = match columns.is_category(feature) {
                true => Cuts::Category(frequent(&values, bins)),
                false => Cuts::Number(quantile_borders(&values, bins)),
            };
            let binned = values.iter().map(|value| cuts.bin(*value)).collect();
            (cuts, binned)
        };
        let (cuts, binned): (Vec<Cuts>, Vec<Vec<u8>>) =
            (0..columns.values.len()).into_par_iter().map(of).unzip();
        let panels = panels(&binned, &cuts);
        let mut offsets = vec![0];
        cuts.iter().for_each(|cuts| offsets.push(offsets.last().copied().unwrap_or(0) + cuts.bins()));
        Self { rows: columns.rows(), cuts, columns: binned, panels, offsets }
    }
}

fn panels(columns: &[Vec<u8>], cuts: &[Cuts]) -> Vec<Panel> {
    let bundles = bundles(columns, cuts);
    let width = bundles.len().div_ceil(bundles.len().div_ceil(PANEL).max(1)).max(1);
    bundles.par_chunks(width).map(|bundles| panel(columns, bundles)).collect()
}

/// Features from many bins to few, each into the first bundle that has room for it.
fn bundles(columns: &[Vec<u8>], cuts: &[Cuts]) -> Vec<Bundle> {
    let part = |(feature, column): (usize, &Vec<u8>)| {
        let first = usize::from(!column.contains(&0));
        Part { feature, step: 1, bins: (cuts[feature].bins() - first).max(1), first }
    };
    let mut parts: Vec<Part> = columns.par_iter().enumerate().map(part).collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.bins));
    let mut bundles: Vec<Bundle> = Vec::new();
    for part in parts {
        match bundles.iter_mut().find(|bundle| bundle.cells * part.bins <= CELLS) {
            Some(bundle) => {
                bundle.parts.push(Part { step: bundle.cells, ..part });
                bundle.cells *= part.bins;
            }
            None => bundles.push(Bundle { parts: vec![part], cells: part.bins }),
        }
    }
    bundles
}

fn panel(columns: &[Vec<u8>], bundles: &[Bundle]) -> Panel {
    let rows = columns.first().map_or(0, Vec::len);
    let mut cells = vec![0; rows * bundles.len()];
    for (place, bundle) in bundles.iter().enumerate() {
        for part in &bundle.parts {
            let own = cells.iter_mut().skip(place).step_by(bundles.len());
            let all = own.zip(&columns[part.feature]);
            // The sum of all parts is below the number of cells.
            all.for_each(|(cell, bin)| *cell += ((usize::from(*bin) - part.first) * part.step) as u8);
        }
    }
    Panel { bundles: bundles.to_vec(), cells }
}

/// The categories of most rows, the smaller number first of equal ones; ascending.
fn frequent(values: &[f32], bins: usize) -> Vec<u16> {
    let mut counts = vec![0_u32; CATEGORIES];
    values.iter().filter_map(|value| category(*value)).for_each(|own| counts[usize::from(own)] += 1);
    let mut known: Vec<u16> = (0..=u16::MAX).filter(|own| counts[usize::from(*own)] > 0).collect();
    known.sort_by_key(|own| std::cmp::Reverse(counts[usize::from(*own)]));
    known.truncate(bins);
    known.sort_unstable();
    known
}

/// Rows looked at for the borders, evenly spread.
const SAMPLE: usize = 200_000;

/// At most `bins − 1` borders that cut the values into bins of about equal numbers of rows, halfway between
/// neighbouring values that differ. A value that would fill a bin has one for itself (as in LightGBM).
fn quantile_borders(values: &[f32], bins: usize) -> Vec<f32> {
    let step = values.len().div_ceil(SAMPLE).max(1);
    let mut sample: Vec<f32> =
        values.iter().step_by(step).copied().filter(|value| value.is_finite()).collect();
    sample.sort_unstable_by(f32::total_cmp);
    let runs: Vec<&[f32]> = sample.chunk_by(|a, b| a == b).collect();
    if runs.len() <= bins {
        return runs.windows(2).map(|pair| between(pair[0][0], pair[1][0])).collect();
    }
    let fills = |run: &[f32]| run.len() * bins >= sample.len();
    let filling = runs.iter().filter(|run| fills(run));
    let (mut left_bins, mut left_rows) =
        filling.fold((bins, sample.len()), |(bins, rows), run| (bins.saturating_sub(1), rows - run.len()));
    let mut borders = Vec::new();
    let (mut in_bin, mut size) = (0, left_rows as f64 / left_bins.max(1) as f64);
    for pair in runs.windows(2) {
        let (run, next) = (pair[0], pair[1]);
        let own = fills(run);
        left_rows -= if own { 0 } else { run.len() };
        in_bin += run.len();
        if !own && (in_bin as f64) < size && !(fills(next) && in_bin as f64 >= size / 2.0) {
            continue;
        }
        borders.push(between(run[0], next[0]));
        if borders.len() + 1 == bins {
            break;
        }
        in_bin = 0;
        if !own {
            left_bins = left_bins.saturating_sub(1);
            size = left_rows as f64 / left_bins.max(1) as f64;
        }
    }
    borders
}

/// A border `b` with `low < b ≤ high`, halfway where numbers are fine enough.
fn between(low: f32, high: f32) -> f32 {
    let middle = low / 2.0 + high / 2.0;
    if middle > low && middle <= high { middle } else { high }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_stand_between_values_and_bins_are_about_equal() {
        assert_eq!(quantile_borders(&[3.0, 1.0, f32::NAN, 1.0, 2.0], 10), [1.5, 2.5]);
        let hundred: Vec<f32> = (0..100).map(|x| x as f32).collect();
        assert_eq!(quantile_borders(&hundred, 4), [24.5, 49.5, 74.5]);
        let mostly_zero: Vec<f32> = (0..1000).map(|x: i32| (x - 800).max(0) as f32).collect();
        let borders = quantile_borders(&mostly_zero, 11);
        assert_eq!((borders.len(), borders[0]), (10, 0.5), "zeros have a bin for themselves: {borders:?}");
        assert_eq!(
            between(1.0, f32::from_bits(1.0_f32.to_bits() + 1)),
            f32::from_bits(1.0_f32.to_bits() + 1)
        );
        assert!(quantile_borders(&[], 4).is_empty());
    }

    #[test]
    fn a_value_lies_below_the_border_of_its_bin_and_not_below_the_one_before() {
        let cuts = Cuts::Number(vec![1.5, 2.5]);
        let bins = [f32::NAN, -9.0, 1.5, 2.0, 2.5, f32::INFINITY].map(|value| cuts.bin(value));
        assert_eq!(bins, [0, 1, 2, 2, 3, 0]);
        assert_eq!(cuts.bins(), 4);
    }

    #[test]
    fn the_most_frequent_categories_have_bins_and_the_others_are_missing() {
        let values = [7.0, 7.0, 3.0, 3.0, 900.0, f32::NAN, -1.0, 1e9];
        let cuts = Cuts::Category(frequent(&values, 2));
        assert_eq!(cuts, Cuts::Category(vec![3, 7]));
        assert_eq!(values.map(|value| cuts.bin(value)), [2, 2, 1, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn panels_hold_what_columns_hold() {
        let gap = |f: usize, row: usize| f.is_multiple_of(4) && row.is_multiple_of(9);
        let value =
            |f: usize, row: usize| if gap(f, row) { f64::NAN } else { (row * (f + 1) % (f + 2)) as f64 };
        let columns: Vec<Vec<f64>> = (0..60).map(|f| (0..500).map(|row| value(f, row)).collect()).collect();
        let binned = Binned::new(Columns::numbers(&columns), 255);
        assert_eq!(binned.panels.len(), 2);
        let mut met = [0; 60];
        for panel in &binned.panels {
            for (row, cells) in panel.cells.chunks(panel.bundles.len()).enumerate() {
                for (bundle, cell) in panel.bundles.iter().zip(cells) {
                    assert!(usize::from(*cell) < bundle.cells && bundle.cells <= CELLS);
                    for part in &bundle.parts {
                        assert_eq!(
                            part.bin(usize::from(*cell)),
                            usize::from(binned.columns[part.feature][row])
                        );
                        met[part.feature] += 1;
                    }
                }
            }
        }
        assert_eq!(met, [500; 60]);
        assert!(binned.panels.iter().map(|panel| panel.bundles.len()).sum::<usize>() < 50);
    }
}
