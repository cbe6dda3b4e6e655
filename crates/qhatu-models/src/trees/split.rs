//! The best way to cut a leaf in two.

use super::binning::{Binned, Cuts};
use super::config::Growth;
use super::histogram::{Sum, Unit};

/// A set of bins, a bit each.
pub(super) type Bins = [u64; 4];

/// Whether a bin is in a set.
pub(super) fn holds(bins: &Bins, bin: u8) -> bool {
    bins[usize::from(bin >> 6)] >> (bin & 63) & 1 == 1
}

fn put(bins: &mut Bins, bin: u8) {
    bins[usize::from(bin >> 6)] |= 1 << (bin & 63);
}

/// A cut of a leaf.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Split {
    /// What G² ⁄ (H + λ) gains by it.
    pub(super) gain: f64,
    pub(super) feature: usize,
    /// The bins that go left, that of missing values among them where it does.
    pub(super) left: Bins,
    /// The last bin on the left, for a feature of numbers.
    pub(super) last: u8,
    pub(super) left_sum: Sum,
}

/// What a leaf's cut is chosen by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chooser<'a> {
    pub(super) growth: &'a Growth,
    pub(super) unit: Unit,
}

/// The sums of a feature by bin within a leaf.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sums<'a> {
    pub(super) feature: usize,
    /// By bin; bin 0 holds what is missing.
    pub(super) by_bin: &'a [Sum],
    /// The bins to look at, ascending, without bin 0.
    pub(super) occupied: &'a [u8],
    /// The leaf's.
    pub(super) total: Sum,
}

/// More categories than this are smoothed before they are sorted.
const FEW_CATEGORIES: usize = 4;

impl Chooser<'_> {
    /// Whether a leaf has rows enough for two.
    pub(super) fn may_cut(&self, total: Sum) -> bool {
        total.rows >= 2 * self.growth.min_rows_in_leaf.max(1)
    }

    /// The leaf's answer.
    pub(super) fn answer(&self, total: Sum) -> f64 {
        let weight = self.weight(total) + self.growth.l2;
        if weight > 0.0 { -(total.gradient as f64) * self.unit.gradient / weight } else { 0.0 }
    }

    /// The sum of hessians.
    pub(super) fn weight(&self, sum: Sum) -> f64 {
        sum.hessian as f64 * self.unit.hessian
    }

    fn worth(&self, sum: Sum, l2: f64) -> f64 {
        let (gradient, weight) = (sum.gradient as f64 * self.unit.gradient, self.weight(sum) + l2);
        if weight > 0.0 { gradient * gradient / weight } else { 0.0 }
    }

    /// The best cut by one feature that gains more than `above`; of equal ones the first.
    pub(super) fn best(&self, binned: &Binned, sums: Sums, above: f64) -> Option<Split> {
        match binned.cuts[sums.feature] {
            Cuts::Number(_) => self.best_border(&sums, above),
            Cuts::Category(_) => self.best_set(&sums, above),
        }
    }

    fn best_border(&self, sums: &Sums, above: f64) -> Option<Split> {
        let mut best = Best { above, split: None };
        self.scan(sums, sums.occupied, self.growth.l2, &mut best);
        best.split.map(|(gain, place, missing_left, left_sum)| {
            let mut split = self.split(sums, gain, missing_left, left_sum);
            split.last = sums.occupied[place];
            (1..=split.last).for_each(|bin| put(&mut split.left, bin));
            split
        })
    }

    fn best_set(&self, sums: &Sums, above: f64) -> Option<Split> {
        let mut order: Vec<u8> =
            sums.occupied.iter().copied().filter(|bin| sums.by_bin[usize::from(*bin)].rows > 0).collect();
        let few = order.len() <= FEW_CATEGORIES;
        let smooth = if few { 0.0 } else { self.growth.category_smooth };
        let steep = |bin: &u8| {
            let sum = sums.by_bin[usize::from(*bin)];
            let weight = self.weight(sum) + smooth;
            if weight > 0.0 { sum.gradient as f64 / weight } else { 0.0 }
        };
        order.sort_by(|a, b| steep(a).total_cmp(&steep(b)).then(a.cmp(b)));
        let l2 = self.growth.l2 + if few { 0.0 } else { self.growth.category_l2 };
        let mut best = Best { above, split: None };
        self.scan(sums, &order, l2, &mut best);
        best.split.map(|(gain, place, missing_left, left_sum)| {
            let mut split = self.split(sums, gain, missing_left, left_sum);
            order[..=place].iter().for_each(|bin| put(&mut split.left, *bin));
            split
        })
    }

    /// Tries every cut of `order` in two, missing values on the right and on the left.
    fn scan(&self, sums: &Sums, order: &[u8], l2: f64, best: &mut Best) {
        let (missing, total) = (sums.by_bin[0], sums.total);
        let floor = self.worth(total, self.growth.l2) + self.growth.min_gain;
        let fewest = self.growth.min_rows_in_leaf.max(1);
        for missing_left in [false, true] {
            if missing_left && missing.rows == 0 {
                continue;
            }
            let mut left = if missing_left { missing } else { Sum::default() };
            for (place, bin) in order.iter().enumerate() {
                let sum = sums.by_bin[usize::from(*bin)];
                if sum.rows == 0 {
                    continue;
                }
                left += sum;
                let rest = total.rows - left.rows;
                if rest < fewest {
                    break;
                }
                let right = total.less(left);
                if left.rows < fewest || self.is_light(left) || self.is_light(right) {
                    continue;
                }
                let gain = self.worth(left, l2) + self.worth(right, l2) - floor;
                best.offer(gain, place, missing_left, left);
            }
        }
    }

    fn is_light(&self, sum: Sum) -> bool {
        self.weight(sum) < self.growth.min_child_weight
    }

    /// Where the leaf has no missing value, one that comes later goes with the more rows.
    fn split(&self, sums: &Sums, gain: f64, missing_left: bool, left_sum: Sum) -> Split {
        let mut left = Bins::default();
        let seen = sums.by_bin[0].rows > 0;
        if missing_left || (!seen && 2 * u64::from(left_sum.rows) > u64::from(sums.total.rows)) {
            put(&mut left, 0);
        }
        Split { gain, feature: sums.feature, left, last: 0, left_sum }
    }
}

struct Best {
    above: f64,
    split: Option<(f64, usize, bool, Sum)>,
}

impl Best {
    fn offer(&mut self, gain: f64, place: usize, missing_left: bool, left: Sum) {
        if gain > self.above {
            self.above = gain;
            self.split = Some((gain, place, missing_left, left));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::binning::Columns;
    use super::super::histogram::{Rounded, Scratch, round};
    use super::super::objective::Pair;
    use super::*;

    /// Rows of one feature with their pairs.
    fn rows() -> impl Strategy<Value = Vec<(Option<u8>, i8, u8)>> {
        prop::collection::vec((prop::option::weighted(0.8, 0..7_u8), any::<i8>(), 1..5_u8), 2..40)
    }

    struct Case {
        values: Vec<f64>,
        pairs: Vec<Pair>,
        growth: Growth,
    }

    impl Case {
        fn new(rows: &[(Option<u8>, i8, u8)]) -> Self {
            let value = |value: &Option<u8>| value.map_or(f64::NAN, f64::from);
            Self {
                values: rows.iter().map(|(own, ..)| value(own)).collect(),
                pairs: rows
                    .iter()
                    .map(|(_, gradient, hessian)| Pair {
                        gradient: f32::from(*gradient),
                        hessian: f32::from(*hessian),
                    })
                    .collect(),
                growth: Growth {
                    min_rows_in_leaf: 3,
                    min_child_weight: 4.0,
                    l2: 0.5,
                    category_smooth: 0.0,
                    category_l2: 0.0,
                    ..Growth::default()
                },
            }
        }

        fn found(&self, categorical: bool) -> Option<f64> {
            let columns = [self.values.clone()];
            let binned = Binned::new(Columns { values: &columns, categorical: &[categorical] }, 255);
            let mut rounded: Vec<Rounded> = Vec::new();
            let unit = round(&self.pairs, &mut rounded);
            let rows: Vec<u32> = (0..self.values.len() as u32).collect();
            let mut scratch = Scratch::new();
            scratch.fill(&binned.columns[0], &rows, &rounded);
            let mut total = Sum::default();
            rounded.iter().for_each(|row| total.add_row(*row));
            let sums = Sums { feature: 0, by_bin: &*scratch.sums, occupied: &scratch.occupied, total };
            let chooser = Chooser { growth: &self.growth, unit };
            chooser.best(&binned, sums, 1e-6).map(|split| split.gain)
        }

        /// The gain of sending these rows left, in plain floating point.
        fn gain(&self, goes_left: impl Fn(f64) -> bool) -> Option<f64> {
            let mut sides = [(0.0, 0.0, 0); 2];
            for (value, pair) in self.values.iter().zip(&self.pairs) {
                let side = &mut sides[usize::from(!goes_left(*value))];
                *side = (side.0 + f64::from(pair.gradient), side.1 + f64::from(pair.hessian), side.2 + 1);
            }
            let [left, right] = sides;
            let worth = |g: f64, h: f64| g * g / (h + self.growth.l2);
            let fits = |side: (f64, f64, u32)| side.2 >= 3 && side.1 >= 4.0;
            let gain =
                worth(left.0, left.1) + worth(right.0, right.1) - worth(left.0 + right.0, left.1 + right.1);
            (fits(left) && fits(right) && gain > 1e-6).then_some(gain)
        }
    }

    fn same(found: Option<f64>, expected: Option<f64>) -> bool {
        match (found, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() <= 1e-4 * expected.max(1.0),
            (None, Some(gain)) | (Some(gain), None) => gain < 1e-3,
            (None, None) => true,
        }
    }

    proptest! {
        /// Every border, with the missing on either side.
        #[test]
        fn no_border_is_better_than_the_one_found(rows in rows()) {
            let case = Case::new(&rows);
            let borders = (0..8).map(|border| f64::from(border) - 0.5);
            let tried = borders.flat_map(|border| {
                [true, false].map(|missing| {
                    case.gain(|value| if value.is_nan() { missing } else { value < border })
                })
            });
            let expected = tried.flatten().reduce(f64::max);
            prop_assert!(same(case.found(false), expected), "{:?} {expected:?}", case.found(false));
        }

        /// Every subset of the categories, the missing as one of them: sorting finds the best (Fisher, 1958).
        #[test]
        fn no_set_of_categories_is_better_than_the_one_found(rows in rows()) {
            let mut case = Case::new(&rows);
            case.growth = Growth { min_rows_in_leaf: 1, min_child_weight: 0.0, l2: 0.0, ..case.growth };
            let worth = |g: f64, h: f64| if h > 0.0 { g * g / h } else { 0.0 };
            let (mut all, mut best) = ((0.0, 0.0), None::<f64>);
            case.pairs.iter().for_each(|pair| {
                all = (all.0 + f64::from(pair.gradient), all.1 + f64::from(pair.hessian));
            });
            for set in 0..256_u32 {
                let mut left = (0.0, 0.0);
                for (value, pair) in case.values.iter().zip(&case.pairs) {
                    let bit = if value.is_nan() { 7 } else { *value as u32 };
                    if set >> bit & 1 == 1 {
                        left = (left.0 + f64::from(pair.gradient), left.1 + f64::from(pair.hessian));
                    }
                }
                if left.1 > 0.0 && all.1 - left.1 > 0.0 {
                    let gain = worth(left.0, left.1) + worth(all.0 - left.0, all.1 - left.1)
                        - worth(all.0, all.1);
                    best = Some(best.map_or(gain, |best| best.max(gain)));
                }
            }
            prop_assert!(same(case.found(true), best), "{:?} {best:?}", case.found(true));
        }
    }

    #[test]
    fn what_was_never_missing_goes_with_the_more_rows() {
        let rows: Vec<(Option<u8>, i8, u8)> =
            (0..20).map(|row| (Some(row / 5), if row < 15 { -9 } else { 9 }, 2)).collect();
        let case = Case::new(&rows);
        let columns = [case.values.clone()];
        let binned = Binned::new(Columns::numbers(&columns), 255);
        let mut rounded = Vec::new();
        let unit = round(&case.pairs, &mut rounded);
        let mut scratch = Scratch::new();
        scratch.fill(&binned.columns[0], &(0..20).collect::<Vec<u32>>(), &rounded);
        let mut total = Sum::default();
        rounded.iter().for_each(|row| total.add_row(*row));
        let sums = Sums { feature: 0, by_bin: &*scratch.sums, occupied: &scratch.occupied, total };
        let split = Chooser { growth: &case.growth, unit }.best(&binned, sums, 0.0).unwrap();
        assert_eq!((split.last, split.left_sum.rows), (3, 15));
        assert_eq!(split.left, [0b1111, 0, 0, 0]);
    }
}
