//! What would another policy have earned, from what was logged under the one that ran? Off-policy estimates of the mean
//! reward of an impression, each with its bootstrap interval over impressions.
//!
//! With reward `r`, propensity `p` (the probability with which the logging policy showed what it showed), the
//! probability `π` with which the new policy would have shown the same, weight `w = π / p`, the reward `q` that a model
//! foretells for what was shown and `v` what it foretells for the new policy (its `q` averaged over all that the policy
//! may show):
//!
//! * IPS: mean of `w r`. Unbiased where every `p > 0`, and widely spread where weights are large. (Horvitz & Thompson,
//!   JASA 1952; Strehl et al., NIPS 2010.)
//! * SNIPS: `Σ w r / Σ w`. Slightly biased, steadier, and never beyond the rewards seen. (Swaminathan & Joachims, NIPS
//!   2015.)
//! * DM, the direct method: mean of `v`. As good as the model, and no better.
//! * DR, doubly robust: mean of `v + w (r − q)`. Unbiased where the propensities or the model are right. (Dudík,
//!   Langford & Li, ICML 2011.)
//!
//! Weights may be clipped at a bound, which trades bias for spread (Ionides, JCGS 2008). How far the estimates can be
//! trusted is told by the effective sample size `(Σ w)² / Σ w²` (Kish 1965), by the largest weight, and by the mean
//! weight, which is near 1 where the propensities are right and cover what the new policy shows.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use crate::bootstrap::{Estimate, draw, quantile};

/// One impression.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Impression {
    /// What it brought: 1 for a click, or money.
    pub reward: f64,
    /// The probability with which the logging policy showed it; above 0, at most 1.
    pub propensity: f64,
    /// The probability with which the new policy would have; 0 to 1.
    pub target: f64,
    /// What a model foretells, for DM and DR.
    #[serde(default)]
    pub foretold: Option<Foretold>,
}

/// A model's word on an impression.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Foretold {
    /// The reward of what was shown.
    pub shown: f64,
    /// The mean reward of what the new policy shows there.
    pub target: f64,
}

/// How estimates are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OffPolicySettings {
    /// Weights above this count as this; infinite: none is clipped.
    pub clip: f64,
    /// Resamples of the intervals.
    pub bootstrap_samples: usize,
    /// Seed of the resamples.
    pub seed: u64,
}

impl Default for OffPolicySettings {
    fn default() -> Self {
        Self { clip: f64::INFINITY, bootstrap_samples: 1000, seed: 42 }
    }
}

/// The estimates of a new policy's mean reward.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OffPolicy {
    /// The logging policy's own mean reward, as it was.
    pub logged: Estimate,
    /// Inverse propensity score.
    pub ips: Estimate,
    /// Self-normalized inverse propensity score.
    pub snips: Estimate,
    /// Direct method; only where every impression has what a model foretells.
    pub dm: Option<Estimate>,
    /// Doubly robust; likewise.
    pub dr: Option<Estimate>,
    /// `(Σ w)² / Σ w²`: how many impressions of the new policy's own these are worth.
    pub effective_sample_size: f64,
    /// The mean weight; far from 1, the propensities are wrong or leave out what the new policy shows.
    pub mean_weight: f64,
    /// The largest weight, before clipping.
    pub largest_weight: f64,
    /// Impressions whose weight was clipped.
    pub clipped: usize,
}

/// What cannot be estimated from.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OffPolicyError {
    /// There is nothing.
    #[error("no impression to estimate from")]
    Empty,
    /// A number that cannot be.
    #[error("impression {place}: {name} = {value}: {hint}")]
    Number {
        /// Which impression, from 0.
        place: usize,
        /// Which of its numbers.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What would make sense.
        hint: &'static str,
    },
    /// A clipping bound that is not above zero.
    #[error("clip = {0}: a bound above zero; leave it out and no weight is clipped")]
    Clip(f64),
    /// The new policy shows nothing of what was logged.
    #[error("the new policy would have shown nothing of what was logged: nothing can be said of it")]
    NoOverlap,
}

/// Estimates a new policy's mean reward per impression. O(impressions × resamples).
///
/// # Errors
/// [`OffPolicyError`]: the first impression whose numbers cannot be, or no overlap at all.
pub fn off_policy(
    impressions: &[Impression],
    settings: &OffPolicySettings,
) -> Result<OffPolicy, OffPolicyError> {
    if impressions.is_empty() {
        return Err(OffPolicyError::Empty);
    }
    if settings.clip.is_nan() || settings.clip <= 0.0 {
        return Err(OffPolicyError::Clip(settings.clip));
    }
    impressions.iter().enumerate().try_for_each(|(place, impression)| check(place, impression))?;
    let raw: Vec<f64> = impressions.iter().map(|it| it.target / it.propensity).collect();
    let weights: Vec<f64> = raw.iter().map(|weight| weight.min(settings.clip)).collect();
    let total: f64 = weights.iter().sum();
    if total == 0.0 {
        return Err(OffPolicyError::NoOverlap);
    }
    let ones = vec![1.0; impressions.len()];
    let mean = |of: &dyn Fn(&Impression, f64) -> f64| {
        let values: Vec<f64> = impressions.iter().zip(&weights).map(|(it, weight)| of(it, *weight)).collect();
        ratio(&values, &ones, settings)
    };
    let weighted: Vec<f64> =
        impressions.iter().zip(&weights).map(|(it, weight)| weight * it.reward).collect();
    let is_foretold = impressions.iter().all(|impression| impression.foretold.is_some());
    let squares: f64 = weights.iter().map(|weight| weight * weight).sum();
    Ok(OffPolicy {
        logged: mean(&|it, _| it.reward),
        ips: ratio(&weighted, &ones, settings),
        snips: ratio(&weighted, &weights, settings),
        dm: is_foretold.then(|| mean(&|it, _| it.foretold.map_or(0.0, |model| model.target))),
        dr: is_foretold.then(|| {
            mean(&|it, weight| {
                it.foretold.map_or(0.0, |model| model.target + weight * (it.reward - model.shown))
            })
        }),
        effective_sample_size: total * total / squares,
        mean_weight: total / impressions.len() as f64,
        largest_weight: raw.iter().copied().fold(0.0, f64::max),
        clipped: raw.iter().filter(|weight| **weight > settings.clip).count(),
    })
}

fn check(place: usize, impression: &Impression) -> Result<(), OffPolicyError> {
    let fault = |name, value, hint| Err(OffPolicyError::Number { place, name, value, hint });
    let Impression { reward, propensity, target, foretold } = *impression;
    if !(propensity > 0.0 && propensity <= 1.0) {
        return fault("propensity", propensity, "above 0 and at most 1: what was shown had a chance to be");
    }
    if !(0.0..=1.0).contains(&target) {
        return fault("target", target, "a probability, from 0 to 1");
    }
    if !reward.is_finite() {
        return fault("reward", reward, "a finite number");
    }
    let foretold = foretold.into_iter().flat_map(|model| [model.shown, model.target]);
    match foretold.into_iter().find(|value| !value.is_finite()) {
        Some(value) => fault("foretold", value, "a finite number"),
        None => Ok(()),
    }
}

/// `Σ upper / Σ lower` with the percentile interval of resampled impressions. A resample whose `Σ lower` is 0
/// says nothing and is left out.
fn ratio(upper: &[f64], lower: &[f64], settings: &OffPolicySettings) -> Estimate {
    let n = upper.len();
    let mean = upper.iter().sum::<f64>() / lower.iter().sum::<f64>();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(settings.seed);
    let mut resampled = || {
        let (mut above, mut below) = (0.0, 0.0);
        for _ in 0..n {
            let place = draw(n, &mut random);
            above += upper[place];
            below += lower[place];
        }
        (below > 0.0).then(|| above / below)
    };
    let mut means: Vec<f64> = (0..settings.bootstrap_samples).filter_map(|_| resampled()).collect();
    if means.is_empty() {
        return Estimate::point(mean, n);
    }
    means.sort_by(f64::total_cmp);
    Estimate { mean, low: quantile(&means, 0.025), high: quantile(&means, 0.975), n }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: OffPolicySettings =
        OffPolicySettings { clip: f64::INFINITY, bootstrap_samples: 200, seed: 1 };

    fn impression(reward: f64, propensity: f64, target: f64) -> Impression {
        Impression { reward, propensity, target, foretold: None }
    }

    #[test]
    fn a_case_by_hand() {
        let log = [impression(1.0, 0.5, 0.25), impression(0.0, 0.25, 0.5), impression(1.0, 0.25, 0.25)];
        let found = off_policy(&log, &SETTINGS).unwrap();
        // Weights 1/2, 2, 1.
        assert_eq!(found.ips.mean, 0.5);
        assert_eq!(found.snips.mean, 1.5 / 3.5);
        assert_eq!(found.effective_sample_size, 3.5 * 3.5 / 5.25);
        assert_eq!((found.mean_weight, found.largest_weight), (3.5 / 3.0, 2.0));
        assert_eq!((found.dm, found.dr), (None, None));
        let clipped = off_policy(&log, &OffPolicySettings { clip: 1.0, ..SETTINGS }).unwrap();
        assert_eq!((clipped.clipped, clipped.snips.mean), (1, 1.5 / 2.5));
    }

    #[test]
    fn the_logging_policy_itself_earns_what_it_earned() {
        let log: Vec<Impression> = (0..50).map(|place| impression(f64::from(place % 7), 0.1, 0.1)).collect();
        let found = off_policy(&log, &SETTINGS).unwrap();
        assert_eq!((found.ips, found.snips), (found.logged, found.logged));
        assert_eq!(found.effective_sample_size.round(), 50.0);
    }

    /// Over many logs the doubly robust mean is the truth where either side is right, and the direct method's is not
    /// where the model is wrong.
    #[test]
    fn doubly_robust_is_right_where_either_side_is() {
        // Two things to show, rewards 1 and 3; logging shows the second with .25, the new policy always.
        let (rewards, chances, wrong) = ([1.0, 3.0], [0.75, 0.25], [2.0, 0.0]);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
        let (mut right_propensity, mut right_model, mut direct) = (0.0, 0.0, 0.0);
        for _ in 0..200 {
            let logs = |propensities: [f64; 2], model: [f64; 2], random: &mut Xoshiro256PlusPlus| {
                let one = |_| {
                    let shown = usize::from(draw(4, random) == 3);
                    Impression {
                        reward: rewards[shown] + draw(3, random) as f64 - 1.0,
                        propensity: propensities[shown],
                        target: shown as f64,
                        foretold: Some(Foretold { shown: model[shown], target: model[1] }),
                    }
                };
                let log: Vec<Impression> = (0..100).map(one).collect();
                off_policy(&log, &OffPolicySettings { bootstrap_samples: 0, ..SETTINGS }).unwrap()
            };
            let found = logs(chances, wrong, &mut random);
            right_propensity += found.dr.unwrap().mean / 200.0;
            direct += found.dm.unwrap().mean / 200.0;
            right_model += logs([0.2, 0.8], rewards, &mut random).dr.unwrap().mean / 200.0;
        }
        assert!((right_propensity - 3.0).abs() < 0.1, "{right_propensity}");
        assert!((right_model - 3.0).abs() < 0.1, "{right_model}");
        assert_eq!(direct.round(), 0.0);
    }

    #[test]
    fn numbers_that_cannot_be_are_named() {
        let fault = |log: &[Impression]| off_policy(log, &SETTINGS).unwrap_err().to_string();
        assert!(fault(&[]).contains("no impression"));
        assert!(
            fault(&[impression(1.0, 0.5, 0.5), impression(1.0, 0.0, 0.5)])
                .contains("impression 1: propensity = 0")
        );
        assert!(fault(&[impression(1.0, 0.5, 1.5)]).contains("target = 1.5"));
        assert!(fault(&[impression(f64::NAN, 0.5, 0.5)]).contains("reward = NaN"));
        assert!(fault(&[impression(1.0, 0.5, 0.0)]).contains("nothing of what was logged"));
        let log = [impression(1.0, 0.5, 0.5)];
        assert!(off_policy(&log, &OffPolicySettings { clip: 0.0, ..SETTINGS }).is_err());
    }
}
