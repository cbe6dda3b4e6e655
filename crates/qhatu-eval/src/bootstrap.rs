//! How sure is a mean: seeded percentile bootstrap (Efron & Tibshirani 1993, ch. 13) over users.
//!
//! Users are drawn with replacement, the mean is taken anew, and the middle 95 % of those means is the interval. Two models
//! are compared on the **same** users, so the interval of their difference is taken over the differences per user
//! (paired), which is much narrower than what two separate intervals suggest.
//!
//! Coverage is no mean: it counts products over all lists together, and a resample, which holds some 63 % of the
//! users, always shows fewer. The spread of the resamples is right, their place is not, so [`coverage_interval`] moves
//! it by the difference between their mean and the figure itself (the bias that the bootstrap estimates; ch. 10).

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::metrics::coverage_at_k;

/// A mean over users with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean; 0 when `n` is 0.
    pub mean: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// Users it was taken over.
    pub n: usize,
}

impl Estimate {
    /// A figure without sampling noise of its own: the interval is the point.
    pub fn point(value: f64, n: usize) -> Self {
        Self { mean: value, low: value, high: value, n }
    }
}

/// Mean of `values` with the interval of `samples` resamples. Same seed, same answer. No values: all zeros. O(n × samples).
pub fn interval(values: &[f64], samples: usize, seed: u64) -> Estimate {
    let n = values.len();
    if n == 0 {
        return Estimate::default();
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    if samples == 0 {
        return Estimate::point(mean, n);
    }
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut means: Vec<f64> = (0..samples).map(|_| resampled_mean(values, &mut random)).collect();
    means.sort_by(f64::total_cmp);
    Estimate { mean, low: quantile(&means, 0.025), high: quantile(&means, 0.975), n }
}

/// Mean of `a − b` user by user, with its interval. Users beyond the shorter slice are left out.
pub fn paired_interval(a: &[f64], b: &[f64], samples: usize, seed: u64) -> Estimate {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    interval(&differences, samples, seed)
}

/// Share of a catalogue of `items` that the lists' first `k` show together, with its interval; see the head for how.
/// Padding and indices above `items` do not count. O(lists × k × samples).
pub fn coverage_interval(lists: &[&[u32]], items: usize, k: usize, samples: usize, seed: u64) -> Estimate {
    let n = lists.len();
    let value = coverage_at_k(lists.iter().copied(), items, k);
    if n == 0 || samples == 0 {
        return Estimate::point(value, n);
    }
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    // The number of the last resample that showed the item.
    let mut shown = vec![0_usize; items + 1];
    let mut resample = |number: usize| {
        let mut count = 0_usize;
        for _ in 0..n {
            for &item in lists[draw(n, &mut random)].iter().take(k) {
                let place = item as usize;
                if place >= 1 && place <= items && shown[place] != number {
                    shown[place] = number;
                    count += 1;
                }
            }
        }
        count as f64 / items.max(1) as f64
    };
    let mut values: Vec<f64> = (1..=samples).map(&mut resample).collect();
    values.sort_by(f64::total_cmp);
    let bias = values.iter().sum::<f64>() / samples as f64 - value;
    // Where nearly all resamples are alike, their mean lies outside the interval; the figure itself never does.
    let end = |q| quantile(&values, q) - bias;
    Estimate { mean: value, low: end(0.025).clamp(0.0, value), high: end(0.975).clamp(value, 1.0), n }
}

fn resampled_mean(values: &[f64], random: &mut Xoshiro256PlusPlus) -> f64 {
    let n = values.len();
    (0..n).map(|_| values[draw(n, random)]).sum::<f64>() / n as f64
}

/// A place in 0..n. Multiply-shift of 32 random bits; the bias is below n / 2³².
pub(crate) fn draw(n: usize, random: &mut Xoshiro256PlusPlus) -> usize {
    (((random.next_u64() >> 32) * n as u64) >> 32) as usize
}

/// Linear interpolation between order statistics (Hyndman & Fan's type 7).
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    below + (sorted[place.ceil() as usize] - below) * place.fract()
}
