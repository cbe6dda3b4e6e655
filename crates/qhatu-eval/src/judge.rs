//! Judges lists against what shoppers did next: every measure per model and target, with intervals, slices and the
//! comparison that decides.
//!
//! Two targets: `all` = everything the shopper bought in the test period; `new` = only products never bought by them
//! before, where a model cannot shine by repeating old purchases. A shopper with nothing relevant for a target is left out
//! of that target's accuracy measures. Coverage, diversity and novelty describe the lists themselves and take every shopper's.
//!
//! The winner is the best model that is not a baseline, by NDCG; it is compared with the best baseline, user by user. Picking
//! the best of several on the same shoppers flatters the pick a little: the interval does not correct for it.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::bootstrap::{Estimate, interval, paired_interval};
use crate::metrics;

/// The two targets, in the order they are reported.
pub const TARGETS: [&str; 2] = ["all", "new"];

/// One shopper of the test period.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Case {
    /// Events known before the test period.
    pub history_length: usize,
    /// Everything bought in the test period, as item indices.
    pub relevant_all: Vec<u32>,
    /// Of those, the ones never bought before.
    pub relevant_new: Vec<u32>,
}

/// What one model recommended: a list per case, in case order, for each target.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lists {
    /// The model's name.
    pub name: String,
    /// Whether it is a simple rule to be beaten.
    pub baseline: bool,
    /// Lists with earlier purchases allowed.
    pub all: Vec<Vec<u32>>,
    /// Lists without earlier purchases.
    pub new: Vec<Vec<u32>>,
}

/// How to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Length of the judged list.
    pub k: usize,
    /// Resamples per interval; 0 = no intervals.
    pub bootstrap_samples: usize,
    /// Seed of the resampling.
    pub seed: u64,
}

/// What is known of the products, by item index; index 0 is padding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Catalogue<'a> {
    /// Share of training shoppers who bought the item.
    pub shares: &'a [f64],
    /// Category of the item, if the shop has categories.
    pub categories: Option<&'a [u32]>,
}

/// The outcome, as written to disk and shown to people.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Where it comes from, filled by the caller: shop, dates, counts, split, data fingerprint, seed, code version.
    pub about: BTreeMap<String, String>,
    /// Length of the judged lists.
    pub k: usize,
    /// One per model, in the order given.
    pub models: Vec<ModelResult>,
    /// NDCG by how much is known of the shopper.
    pub slices: Vec<Slice>,
    /// The winner against the best baseline.
    pub comparisons: Vec<Comparison>,
}

/// One model's measures.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ModelResult {
    /// The model's name.
    pub name: String,
    /// Whether it is a simple rule to be beaten.
    pub baseline: bool,
    /// Target (`all`, `new`) → metric (`ndcg_at_10`) → estimate.
    pub targets: BTreeMap<String, BTreeMap<String, Estimate>>,
}

/// One group of shoppers and each model's NDCG on it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Slice {
    /// What the groups are cut by: `history_length`.
    pub by: String,
    /// The group: `1-2`, `21+`.
    pub group: String,
    /// `all` or `new`.
    pub target: String,
    /// The metric: `ndcg_at_10`.
    pub metric: String,
    /// Model name → estimate.
    pub models: BTreeMap<String, Estimate>,
}

/// The winner against the best baseline on one target and metric.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// `all` or `new`.
    pub target: String,
    /// `ndcg_at_10`, `recall_at_10` or `hit_rate_at_10`.
    pub metric: String,
    /// Best model by NDCG that is not a baseline; the best baseline if there is no other.
    pub winner: String,
    /// Best baseline by NDCG.
    pub best_baseline: String,
    /// Winner minus baseline, user by user.
    pub difference: Estimate,
}

impl Comparison {
    /// Whether the interval lies wholly above zero.
    pub fn is_better(&self) -> bool {
        self.difference.low > 0.0
    }

    /// Whether the interval lies wholly below zero.
    pub fn is_worse(&self) -> bool {
        self.difference.high < 0.0
    }
}

type Measure = fn(&[u32], &[u32], usize) -> f64;

const MEASURES: [(&str, Measure); 5] = [
    ("ndcg", metrics::ndcg_at_k),
    ("recall", metrics::recall_at_k),
    ("hit_rate", metrics::hit_rate_at_k),
    ("mrr", metrics::mrr_at_k),
    ("map", metrics::map_at_k),
];

/// Measures that decide and are compared: the first three of `MEASURES`.
const COMPARED: usize = 3;

/// Groups of shoppers by events known before: (name, from, to).
const HISTORY: [(&str, usize, usize); 5] =
    [("0", 0, 0), ("1-2", 1, 2), ("3-5", 3, 5), ("6-20", 6, 20), ("21+", 21, usize::MAX)];

/// Judges all models on the same cases. A missing list counts as an empty one. Runs on the caller's rayon pool.
pub fn judge(models: &[Lists], cases: &[Case], catalogue: &Catalogue, settings: &Settings) -> Report {
    let result = |model: &Lists| ModelResult {
        name: model.name.clone(),
        baseline: model.baseline,
        targets: TARGETS
            .iter()
            .map(|target| ((*target).to_owned(), measures(model, cases, catalogue, settings, target)))
            .collect(),
    };
    let results: Vec<ModelResult> = models.par_iter().map(result).collect();
    let comparisons =
        TARGETS.iter().flat_map(|target| compare(models, &results, cases, settings, target)).collect();
    Report {
        about: BTreeMap::new(),
        k: settings.k,
        models: results,
        slices: slices(models, cases, settings),
        comparisons,
    }
}

/// NDCG of `a` minus NDCG of `b` on `target` (`all` or `new`), user by user.
pub fn paired_difference(
    a: &Lists,
    b: &Lists,
    cases: &[Case],
    settings: &Settings,
    target: &str,
) -> Estimate {
    difference(a, b, cases, settings, target, metrics::ndcg_at_k)
}

fn difference(
    a: &Lists,
    b: &Lists,
    cases: &[Case],
    settings: &Settings,
    target: &str,
    measure: Measure,
) -> Estimate {
    let of = |model| per_user(model, cases, settings.k, target, measure, &|_| true);
    paired_interval(&of(a), &of(b), settings.bootstrap_samples, settings.seed)
}

fn name(measure: &str, k: usize) -> String {
    format!("{measure}_at_{k}")
}

fn list<'a>(model: &'a Lists, target: &str, case: usize) -> &'a [u32] {
    let lists = if target == "new" { &model.new } else { &model.all };
    lists.get(case).map_or(&[], Vec::as_slice)
}

fn relevant<'a>(case: &'a Case, target: &str) -> &'a [u32] {
    if target == "new" { &case.relevant_new } else { &case.relevant_all }
}

/// The measure for each kept case that has something relevant.
fn per_user(
    model: &Lists,
    cases: &[Case],
    k: usize,
    target: &str,
    measure: Measure,
    keep: &dyn Fn(&Case) -> bool,
) -> Vec<f64> {
    let judged =
        cases.iter().enumerate().filter(|(_, case)| !relevant(case, target).is_empty() && keep(case));
    judged.map(|(at, case)| measure(list(model, target, at), relevant(case, target), k)).collect()
}

fn measures(
    model: &Lists,
    cases: &[Case],
    catalogue: &Catalogue,
    settings: &Settings,
    target: &str,
) -> BTreeMap<String, Estimate> {
    let Settings { k, bootstrap_samples, seed } = *settings;
    let estimate = |values: Vec<f64>| interval(&values, bootstrap_samples, seed);
    let accuracy = |(measure, function): &(&str, Measure)| {
        (name(measure, k), estimate(per_user(model, cases, k, target, *function, &|_| true)))
    };
    let mut all: BTreeMap<String, Estimate> = MEASURES.iter().map(accuracy).collect();

    let lists = || (0..cases.len()).map(|case| list(model, target, case));
    let items = catalogue.shares.len().saturating_sub(1);
    all.insert(name("coverage", k), Estimate::point(metrics::coverage_at_k(lists(), items, k), cases.len()));
    let sold = catalogue.shares.iter().copied().filter(|share| *share > 0.0);
    let floor = sold.fold(1.0, f64::min);
    let novelty =
        lists().filter_map(|list| metrics::novelty_at_k(list, catalogue.shares, floor, k)).collect();
    all.insert(name("novelty", k), estimate(novelty));
    if let Some(categories) = catalogue.categories {
        let diversity =
            lists().filter_map(|list| metrics::intra_list_diversity_at_k(list, categories, k)).collect();
        all.insert(name("diversity", k), estimate(diversity));
    }
    all
}

/// Index of the best model by NDCG among those of a kind; the first of equals.
fn best(results: &[ModelResult], target: &str, k: usize, baseline: bool) -> Option<usize> {
    let ndcg = |at: usize| {
        results[at]
            .targets
            .get(target)
            .and_then(|found| found.get(&name("ndcg", k)))
            .map_or(0.0, |found| found.mean)
    };
    (0..results.len())
        .rev()
        .filter(|at| results[*at].baseline == baseline)
        .max_by(|a, b| ndcg(*a).total_cmp(&ndcg(*b)))
}

fn compare(
    models: &[Lists],
    results: &[ModelResult],
    cases: &[Case],
    settings: &Settings,
    target: &str,
) -> Vec<Comparison> {
    let Some(base) = best(results, target, settings.k, true) else { return Vec::new() };
    let winner = best(results, target, settings.k, false).unwrap_or(base);
    let comparison = |(measure, function): &(&str, Measure)| Comparison {
        target: target.to_owned(),
        metric: name(measure, settings.k),
        winner: models[winner].name.clone(),
        best_baseline: models[base].name.clone(),
        difference: difference(&models[winner], &models[base], cases, settings, target, *function),
    };
    MEASURES[..COMPARED].iter().map(comparison).collect()
}

fn slices(models: &[Lists], cases: &[Case], settings: &Settings) -> Vec<Slice> {
    let groups = TARGETS.iter().flat_map(|target| HISTORY.iter().map(move |group| (*target, *group)));
    let slice = |(target, (group, from, to)): (&str, (&str, usize, usize))| {
        let keep = |case: &Case| (from..=to).contains(&case.history_length);
        let estimate = |model: &Lists| {
            let values = per_user(model, cases, settings.k, target, metrics::ndcg_at_k, &keep);
            (model.name.clone(), interval(&values, settings.bootstrap_samples, settings.seed))
        };
        Slice {
            by: "history_length".to_owned(),
            group: group.to_owned(),
            target: target.to_owned(),
            metric: name("ndcg", settings.k),
            models: models.par_iter().map(estimate).collect(),
        }
    };
    groups.map(slice).filter(|slice| slice.models.values().any(|found| found.n > 0)).collect()
}
