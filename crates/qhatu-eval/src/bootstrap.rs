//! How sure is a mean: seeded percentile bootstrap (Efron & Tibshirani 1993, ch. 13) over users.
//!
//! Users are drawn with replacement, the mean is taken anew, and the middle 95 % of those means is the interval. Two models
//! are compared on the **same** users, so the interval of their difference is taken over the differences per user
//! (paired), which is much narrower than what two separate intervals suggest.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

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

fn resampled_mean(values: &[f64], random: &mut Xoshiro256PlusPlus) -> f64 {
    let n = values.len() as u64;
    // Multiply-shift maps 32 random bits to 0..n; the bias is below n / 2³².
    let draw = |_| values[(((random.next_u64() >> 32) * n) >> 32) as usize];
    (0..n).map(draw).sum::<f64>() / n as f64
}

/// Linear interpolation between order statistics (Hyndman & Fan's type 7).
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    below + (sorted[place.ceil() as usize] - below) * place.fract()
}
