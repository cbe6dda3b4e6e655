//! What sells at a moment, as a bias of every item: without it the network would have to keep a
//! season in its embeddings, and would learn last spring's.
//!
//! For each week back from the end of the data there are two numbers per item, as they were known
//! when that week began: `ln(1 + buyers who bought it for the first time in 28 days)` and
//! `ln(1 + sales, counting half after 7 days)`. A query's bias is `b + γ₁ t₁ + γ₂ t₂` with the item's own
//! `b` and two learned factors, of the last week that had begun when it was asked.

use std::ops::Range;

use rustc_hash::FxHashSet;

use super::settings::Settings;
use crate::DAY_MS;
use crate::interactions::Interactions;

/// How many numbers there are per item.
pub(super) const SIGNS: usize = 2;

const WEEK_MS: i64 = 7 * DAY_MS as i64;
const NEW_BUYERS_MS: i64 = 28 * DAY_MS as i64;
/// Most weeks; older queries take the oldest.
const MOST_WEEKS: i64 = 104;

/// The signs of all items at the beginning of each week.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trend {
    until: i64,
    size: usize,
    /// Weeks × signs × items; week 0 begins at the end of the data.
    signs: Vec<f32>,
}

impl Trend {
    /// What the settings want: without a trend there is one week, and no signs.
    pub(super) fn of(data: &Interactions, settings: &Settings) -> Self {
        match settings.trend {
            true => Self::fit(data),
            false => Self { until: data.until, size: data.items(), signs: Vec::new() },
        }
    }

    /// Counts, a week at a time.
    pub(super) fn fit(data: &Interactions) -> Self {
        let first = data.sequences.iter().filter_map(|sequence| sequence.times.first()).min();
        let span = first.map_or(0, |first| data.until.saturating_sub(*first));
        let weeks = (span / WEEK_MS + 1).clamp(1, MOST_WEEKS);
        let size = data.items();
        let mut own = Self { until: data.until, size, signs: vec![0.0; weeks as usize * SIGNS * size] };
        for sequence in &data.sequences {
            let mut bought = FxHashSet::default();
            for (item, time) in sequence.items.iter().zip(&sequence.times) {
                let new = bought.insert(*item);
                for week in 0..weeks {
                    let age = data.until.saturating_sub(week * WEEK_MS).saturating_sub(*time);
                    if age <= 0 {
                        break;
                    }
                    own.add(week as usize, item.row() - 1, age, new);
                }
            }
        }
        own.signs.iter_mut().for_each(|sign| *sign = sign.ln_1p());
        own
    }

    fn add(&mut self, week: usize, item: usize, age: i64, new: bool) {
        let place = week * SIGNS * self.size + item;
        if new && age <= NEW_BUYERS_MS {
            self.signs[place] += 1.0;
        }
        self.signs[place + self.size] += (-(age as f64 / DAY_MS) / 7.0).exp2() as f32;
    }

    /// How many weeks there are.
    pub(super) fn weeks(&self) -> usize {
        self.signs.len() / (SIGNS * self.size).max(1)
    }

    /// The week whose signs a query of a time may know.
    pub(super) fn week(&self, time: i64) -> u32 {
        let back = self.until.saturating_sub(time).max(0);
        let week = back / WEEK_MS + i64::from(back % WEEK_MS > 0);
        week.min(self.weeks().max(1) as i64 - 1) as u32
    }

    /// The signs at the end of the data, sign after sign.
    pub(super) fn latest(&self) -> &[f32] {
        &self.signs[..(SIGNS * self.size).min(self.signs.len())]
    }

    /// Weeks × items: the bias of each.
    pub(super) fn biases(&self, bias: &[f32], factors: &[f32]) -> Vec<f32> {
        if self.signs.is_empty() {
            return bias.to_vec();
        }
        let weeks = self.signs.chunks_exact((SIGNS * self.size).max(1));
        weeks.flat_map(|signs| combined(signs, bias, factors)).collect()
    }

    /// Adds to the gradients of the items' own biases and of the factors, from those of [`Trend::biases`].
    pub(super) fn backward(&self, d_biases: &[f32], d_bias: &mut [f32], d_factors: &mut [f32]) {
        let width = self.size.max(1);
        for (week, d) in d_biases.chunks_exact(width).enumerate() {
            d_bias.iter_mut().zip(d).for_each(|(sum, d)| *sum += d);
            for (sign, d_factor) in d_factors.iter_mut().enumerate() {
                let signs = &self.signs[self.range(week, sign)];
                *d_factor += signs.iter().zip(d).map(|(sign, d)| sign * d).sum::<f32>();
            }
        }
    }

    fn range(&self, week: usize, sign: usize) -> Range<usize> {
        let start = (week * SIGNS + sign) * self.size;
        start..start + self.size
    }
}

/// The bias of each item from the signs of one moment; without signs it is its own.
pub(super) fn combined<'a>(
    signs: &'a [f32],
    bias: &'a [f32],
    factors: &'a [f32],
) -> impl Iterator<Item = f32> + 'a {
    let size = bias.len();
    let of = move |item: usize| {
        (0..factors.len()).map(|sign| factors[sign] * signs[sign * size + item]).sum::<f32>() + bias[item]
    };
    (0..size).map(of)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use qhatu_schema::{ItemId, ItemIdx};

    use super::*;
    use crate::{Purchase, Vocabulary};

    const DAY: i64 = DAY_MS as i64;

    fn data() -> Interactions {
        let names = (1..=2).map(|item| ItemId::new(format!("i{item}")).expect("not empty"));
        let line = |user: u32, day: i64, item: u32| Purchase {
            time: day * DAY,
            user,
            order: user * 100 + day as u32,
            item: ItemIdx(item),
        };
        let lines = [line(0, 0, 1), line(0, 20, 1), line(1, 26, 1), line(1, 26, 2)];
        Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, 30 * DAY)
    }

    #[test]
    fn each_week_knows_what_was_before_it_and_no_more() {
        let trend = Trend::fit(&data());
        assert_eq!(trend.weeks(), 5);
        assert_eq!([30, 29, 23, 22, 0, -500].map(|day| trend.week(day * DAY)), [0, 1, 1, 2, 4, 4]);
        let week = |week: usize, sign: usize| &trend.signs[trend.range(week, sign)];
        // At day 30 the first buyer's first purchase is 30 days old, so one new buyer of each counts.
        assert_eq!(week(0, 0), [2.0_f32.ln(), 2.0_f32.ln()]);
        // At day 23 only the purchases of days 0 and 20.
        assert_eq!(week(1, 0), [2.0_f32.ln(), 0.0]);
        let sold = (-3.0_f32 / 7.0).exp2() + (-23.0_f32 / 7.0).exp2();
        assert!((week(1, 1)[0] - sold.ln_1p()).abs() < 1e-6);
        assert_eq!(trend.latest(), [week(0, 0), week(0, 1)].concat());
    }

    #[test]
    fn gradients_are_those_of_the_sum() {
        let trend = Trend::fit(&data());
        let (bias, factors) = ([0.1, 0.2], [0.5, -1.0]);
        let biases = trend.biases(&bias, &factors);
        assert_eq!(biases.len(), 10);
        let expected = 0.2 + 0.5 * trend.signs[1] - trend.signs[3];
        assert!((biases[1] - expected).abs() < 1e-6);
        let d: Vec<f32> = (0..10).map(|place| place as f32 - 4.0).collect();
        let (mut d_bias, mut d_factors) = ([0.0; 2], [0.0; 2]);
        trend.backward(&d, &mut d_bias, &mut d_factors);
        let loss =
            |factors: &[f32]| trend.biases(&bias, factors).iter().zip(&d).map(|(b, d)| b * d).sum::<f32>();
        assert_eq!(d_bias, [0.0, 5.0]);
        let slope = loss(&[0.5, 0.0]) - loss(&[0.5, -1.0]);
        assert!((d_factors[1] - slope).abs() < 1e-3, "{d_factors:?} {slope}");
    }

    #[test]
    fn an_empty_shop_has_no_trend() {
        let trend = Trend::fit(&Interactions::from_purchases(Arc::default(), &[], 0));
        assert!(trend.latest().is_empty() && trend.biases(&[], &[1.0, 1.0]).is_empty());
        assert_eq!(trend.week(-5), 0);
    }
}
