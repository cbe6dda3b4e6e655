//! The measures, one function each, over plain numbers.
//!
//! Ranking measures take one user's list (`ranked`, best first), what that user really bought afterwards
//! (`relevant`, a set), and `k`. Libraries disagree on denominators, so each function states its own. Four rules hold
//! for all of them: an item listed twice counts once, at its first place ([`judge`](crate::judge()) refuses such
//! lists); a list shorter than `k` is judged as it is (missing places are misses); a user with nothing relevant has no
//! measure, so the caller leaves that user out (the functions answer 0); `k = 0` answers 0. Ties have been decided by
//! whoever made the list.
//!
//! Classification measures take a score (a probability where it says so) and a true label per row.
//!
//! Sources: Järvelin & Kekäläinen 2002 (NDCG); Manning, Raghavan & Schütze, *Introduction to Information Retrieval*,
//! ch. 8; Vargas & Castells 2011 (novelty, diversity); Fawcett 2006 (ROC); Davis & Goadrich 2006 (PR); Guo et al. 2017
//! (calibration error). The test command holds all of them to 1e-9 against trec_eval (where it has the measure) and
//! against a second formulation in numpy: `tests/python/metrics_check.py`, on the cases of
//! `crates/qhatu-train/examples/shared_cases.rs`.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

/// Which of the first `k` places hit, and how many different items were relevant.
fn hits(ranked: &[u32], relevant: &[u32], k: usize) -> (Vec<bool>, usize) {
    let mut open: HashSet<u32> = relevant.iter().copied().collect();
    let total = open.len();
    (ranked.iter().take(k).map(|item| open.remove(item)).collect(), total)
}

/// Zero where there is no whole. A sum of nothing is −0 in floating point; adding 0 makes it 0.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole + 0.0 } else { 0.0 }
}

fn discount(place: usize) -> f64 {
    1.0 / (place as f64 + 2.0).log2()
}

/// Hits in the first `k` divided by **all** relevant items (so a user with more than `k` cannot reach 1). As trec_eval's
/// `recall_k`.
pub fn recall_at_k(ranked: &[u32], relevant: &[u32], k: usize) -> f64 {
    let (hits, total) = hits(ranked, relevant, k);
    ratio(hits.iter().filter(|hit| **hit).count() as f64, total as f64)
}

/// Σ 1/log₂(place + 1) over the hits in the first `k`, divided by the same sum for the best possible list, which has
/// min(`k`, relevant) hits in front. Binary gain; in \[0, 1\]. As trec_eval's `ndcg_cut_k`.
pub fn ndcg_at_k(ranked: &[u32], relevant: &[u32], k: usize) -> f64 {
    let (hits, total) = hits(ranked, relevant, k);
    let gained: f64 =
        hits.iter().enumerate().filter(|(_, hit)| **hit).map(|(place, _)| discount(place)).sum();
    ratio(gained, (0..total.min(k)).map(discount).sum())
}

/// 1 / place of the first hit in the first `k`; 0 without a hit. As trec_eval's `recip_rank` of a list cut to `k`.
pub fn mrr_at_k(ranked: &[u32], relevant: &[u32], k: usize) -> f64 {
    let (hits, _) = hits(ranked, relevant, k);
    hits.iter().position(|hit| *hit).map_or(0.0, |place| 1.0 / (place as f64 + 1.0))
}

/// Average precision: the precision at each hit's place, summed and divided by min(`k`, relevant), so that a perfect list
/// has 1. trec_eval's `map_cut_k` divides by all relevant items instead: where there are `r` > `k` of them its figure is
/// `k / r` times this one, otherwise the same.
pub fn map_at_k(ranked: &[u32], relevant: &[u32], k: usize) -> f64 {
    let (hits, total) = hits(ranked, relevant, k);
    let places = hits.iter().enumerate().filter(|(_, hit)| **hit).map(|(place, _)| place);
    let summed: f64 =
        places.enumerate().map(|(before, place)| (before as f64 + 1.0) / (place as f64 + 1.0)).sum();
    ratio(summed, total.min(k) as f64)
}

/// 1 when at least one of the first `k` is relevant, else 0. As trec_eval's `success_k`.
pub fn hit_rate_at_k(ranked: &[u32], relevant: &[u32], k: usize) -> f64 {
    let (hits, _) = hits(ranked, relevant, k);
    if hits.contains(&true) { 1.0 } else { 0.0 }
}

/// The share of a catalogue of `items` products that appears in at least one list's first `k`. Index 0 (padding) and
/// indices above `items` do not count.
pub fn coverage_at_k<'a>(lists: impl IntoIterator<Item = &'a [u32]>, items: usize, k: usize) -> f64 {
    let known = |item: &u32| *item > 0 && *item as usize <= items;
    let seen: HashSet<u32> =
        lists.into_iter().flat_map(|list| list.iter().take(k).copied()).filter(known).collect();
    ratio(seen.len() as f64, items as f64)
}

/// How different the first `k` are in who buys them: the mean over pairs of 1 − |buyers of both| / √(|buyers of one| ·
/// |buyers of the other|), which is the cosine distance of their columns in the matrix of shoppers and items. 0 = the
/// same shoppers buy all of them, 1 = no shopper buys two. `buyers` holds by item index the shoppers who bought it,
/// rising; an item without buyers differs wholly from any other. Fewer than two items have no pair: `None`.
pub fn diversity_at_k(ranked: &[u32], buyers: &[Vec<u32>], k: usize) -> Option<f64> {
    let of = |item: &u32| buyers.get(*item as usize).map_or(&[][..], Vec::as_slice);
    let lists: Vec<&[u32]> = ranked.iter().take(k).map(of).collect();
    let pairs =
        lists.iter().enumerate().flat_map(|(place, a)| lists[place + 1..].iter().map(move |b| (*a, *b)));
    let distances: Vec<f64> = pairs.map(|(a, b)| 1.0 - ratio(met(a, b) as f64, root(a, b))).collect();
    (!distances.is_empty()).then(|| distances.iter().sum::<f64>() / distances.len() as f64)
}

fn root(a: &[u32], b: &[u32]) -> f64 {
    (a.len() as f64 * b.len() as f64).sqrt()
}

/// How many numbers two rising lists share.
fn met(a: &[u32], b: &[u32]) -> usize {
    let (mut i, mut j, mut met) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        met += usize::from(a[i] == b[j]);
        let (left, right) = (a[i], b[j]);
        i += usize::from(left <= right);
        j += usize::from(right <= left);
    }
    met
}

/// The share of pairs in the first `k` whose categories differ: 0 = all alike, 1 = all different. `categories` is by
/// item index; a pair with an item outside it counts as different. A list of fewer than two items has no pair: `None`.
pub fn category_diversity_at_k(ranked: &[u32], categories: &[u32], k: usize) -> Option<f64> {
    let of: Vec<Option<&u32>> = ranked.iter().take(k).map(|item| categories.get(*item as usize)).collect();
    let pairs = of.len() * of.len().saturating_sub(1) / 2;
    let alike = |i: usize| of[i + 1..].iter().filter(|other| other.is_some() && **other == of[i]).count();
    (pairs > 0).then(|| 1.0 - (0..of.len()).map(alike).sum::<usize>() as f64 / pairs as f64)
}

/// Mean of −log₂(share of shoppers who bought the item) over the first `k`: 1 bit = half of them did, 10 bits = one in
/// a thousand. An item nobody bought would be infinitely new, so no share counts below `floor` (give the smallest
/// positive share). `None` for an empty list.
pub fn novelty_at_k(ranked: &[u32], shares: &[f64], floor: f64, k: usize) -> Option<f64> {
    let share =
        |item: &u32| shares.get(*item as usize).copied().unwrap_or(0.0).max(floor).max(f64::MIN_POSITIVE);
    let bits: Vec<f64> = ranked.iter().take(k).map(|item| -share(item).log2()).collect();
    (!bits.is_empty()).then(|| bits.iter().sum::<f64>() / bits.len() as f64)
}

/// The four counts of a yes/no prediction against the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Confusion {
    /// Predicted yes, and it was.
    pub true_positive: usize,
    /// Predicted yes, but it was not.
    pub false_positive: usize,
    /// Predicted no, and it was not.
    pub true_negative: usize,
    /// Predicted no, but it was.
    pub false_negative: usize,
}

impl Confusion {
    /// Counts rows; a score at or above `threshold` is a yes.
    pub fn at(scores: &[f64], labels: &[bool], threshold: f64) -> Self {
        let mut counts = Self::default();
        for (score, label) in scores.iter().zip(labels) {
            match (*score >= threshold, *label) {
                (true, true) => counts.true_positive += 1,
                (true, false) => counts.false_positive += 1,
                (false, false) => counts.true_negative += 1,
                (false, true) => counts.false_negative += 1,
            }
        }
        counts
    }

    /// Right answers / all rows.
    pub fn accuracy(&self) -> f64 {
        let right = self.true_positive + self.true_negative;
        ratio(right as f64, (right + self.false_positive + self.false_negative) as f64)
    }

    /// Of those predicted yes, how many were; 0 when none was predicted.
    pub fn precision(&self) -> f64 {
        ratio(self.true_positive as f64, (self.true_positive + self.false_positive) as f64)
    }

    /// Of those that were, how many were predicted yes; 0 when there was none.
    pub fn recall(&self) -> f64 {
        ratio(self.true_positive as f64, (self.true_positive + self.false_negative) as f64)
    }

    /// Harmonic mean of precision and recall; 0 when both are 0.
    pub fn f1(&self) -> f64 {
        let wrong = self.false_positive + self.false_negative;
        ratio(2.0 * self.true_positive as f64, (2 * self.true_positive + wrong) as f64)
    }
}

/// (positives, negatives) per distinct score, highest score first.
fn steps(scores: &[f64], labels: &[bool]) -> Vec<(f64, f64)> {
    let mut rows: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let count = |tie: &[(f64, bool)]| {
        let positive = tie.iter().filter(|row| row.1).count();
        (positive as f64, (tie.len() - positive) as f64)
    };
    rows.chunk_by(|a, b| a.0 == b.0).map(count).collect()
}

/// The chance that a random positive scores above a random negative; a tie counts half. `None` unless both kinds occur.
/// O(n log n).
pub fn auc_roc(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let (mut above, mut won, mut negatives) = (0.0, 0.0, 0.0);
    for (positive, negative) in steps(scores, labels) {
        won += negative * (above + positive / 2.0);
        above += positive;
        negatives += negative;
    }
    (above > 0.0 && negatives > 0.0).then(|| won / (above * negatives))
}

/// Average precision, the step-wise area under the precision-recall curve (no interpolation between points); rows of
/// equal score enter together. `None` without a positive.
pub fn auc_pr(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let (mut found, mut taken, mut area) = (0.0, 0.0, 0.0);
    for (positive, negative) in steps(scores, labels) {
        found += positive;
        taken += positive + negative;
        area += positive * found / taken;
    }
    (found > 0.0).then(|| area / found)
}

fn mean_over(rows: &[f64], labels: &[bool], loss: impl Fn(f64, bool) -> f64) -> Option<f64> {
    let n = rows.len().min(labels.len());
    (n > 0).then(|| rows.iter().zip(labels).map(|(p, label)| loss(*p, *label)).sum::<f64>() / n as f64)
}

/// Mean −ln(probability given to what happened); probabilities are kept 2⁻⁵² away from 0 and 1. `None` without rows.
pub fn log_loss(probabilities: &[f64], labels: &[bool]) -> Option<f64> {
    mean_over(probabilities, labels, |p, label| {
        let p = p.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
        if label { -p.ln() } else { -(1.0 - p).ln() }
    })
}

/// Mean squared distance between the probability and what happened (1 or 0). `None` without rows.
pub fn brier(probabilities: &[f64], labels: &[bool]) -> Option<f64> {
    mean_over(probabilities, labels, |p, label| (p - f64::from(u8::from(label))).powi(2))
}

/// Expected calibration error: rows fall into `bins` equally wide bins of probability (left edge included, 1 in the last);
/// the mean over bins, weighted by rows, of |mean probability − share that happened|. `None` without rows or bins.
pub fn ece(probabilities: &[f64], labels: &[bool], bins: usize) -> Option<f64> {
    let n = probabilities.len().min(labels.len());
    if n == 0 || bins == 0 {
        return None;
    }
    let mut gap = vec![0.0; bins];
    for (p, label) in probabilities.iter().zip(labels) {
        let bin = ((p * bins as f64) as usize).min(bins - 1);
        gap[bin] += p - f64::from(u8::from(*label));
    }
    Some(gap.iter().map(|g: &f64| g.abs()).sum::<f64>() / n as f64)
}
