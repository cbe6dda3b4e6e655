//! Judges lists against what shoppers did next: every measure per model and target, with intervals, slices and the
//! comparison that decides.
//!
//! Two targets: `all` = everything the shopper bought in the test period; `new` = only products never bought by them
//! before, where a model cannot shine by repeating old purchases. A shopper with nothing relevant for a target is left out
//! of that target's accuracy measures. Coverage, diversity and novelty describe the lists themselves and take every
//! returning shopper's. Shoppers of whom nothing was known before stand in a slice of their own and in no other figure.
//!
//! Each model that is not a baseline is compared with the best baseline by NDCG, user by user, the best first: that one is
//! the winner. Picking the best of several on the same shoppers flatters the pick a little: the interval does not correct
//! for it.

use std::collections::{BTreeMap, HashSet};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::bootstrap::{Estimate, coverage_interval, interval, paired_interval};
use crate::title::TitleReading;
use crate::{metrics, slice};

/// The two targets, in the order they are reported.
pub const TARGETS: [&str; 2] = ["all", "new"];

/// One shopper of the test period.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Case {
    /// Orders known before the test period; 0 = a new shopper.
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

impl Lists {
    /// The list for a case; a missing one is empty.
    pub(crate) fn list(&self, target: &str, case: usize) -> &[u32] {
        let lists = if target == "new" { &self.new } else { &self.all };
        lists.get(case).map_or(&[], Vec::as_slice)
    }
}

/// Why lists cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// A list names an item twice, so that places are lost and counts are wrong.
    #[error(
        "model {model} lists item {item} twice for shopper {case} (target {target}); a list names an item once"
    )]
    Duplicate {
        /// The model.
        model: String,
        /// The target.
        target: &'static str,
        /// Number of the case.
        case: usize,
        /// The item.
        item: u32,
    },
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
    /// The training shoppers who bought the item, as rising numbers; without them there is no diversity.
    pub buyers: &'a [Vec<u32>],
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
    /// NDCG on parts of the shoppers and of what they bought.
    pub slices: Vec<Slice>,
    /// Each model that is no baseline against the best baseline; per target the winner first.
    pub comparisons: Vec<Comparison>,
    /// How the text model reads a few titles, filled by the caller where there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub titles: Vec<TitleReading>,
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

/// One group of shoppers, or of what they bought, and each model's NDCG on it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Slice {
    /// What the groups are cut by: `shopper`, `history_length`, `item_popularity`.
    pub by: String,
    /// The group: `new`, `21+`, `tail`.
    pub group: String,
    /// `all` or `new`.
    pub target: String,
    /// The metric: `ndcg_at_10`.
    pub metric: String,
    /// How many items are in a group of items; 0 for a group of shoppers.
    #[serde(default)]
    pub items: usize,
    /// Model name → estimate.
    pub models: BTreeMap<String, Estimate>,
}

/// A model against the best baseline on one target and metric.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// `all` or `new`.
    pub target: String,
    /// `ndcg_at_10`, `recall_at_10` or `hit_rate_at_10`.
    pub metric: String,
    /// The model; where all are baselines the best of them.
    pub model: String,
    /// Best baseline by NDCG.
    pub best_baseline: String,
    /// Model minus baseline, user by user.
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

/// Judges all models on the same cases. A missing list counts as an empty one. Runs on the caller's rayon pool.
///
/// # Errors
/// [`JudgeError::Duplicate`].
pub fn judge(
    models: &[Lists],
    cases: &[Case],
    catalogue: &Catalogue,
    settings: &Settings,
) -> Result<Report, JudgeError> {
    models.iter().try_for_each(|model| refuse_duplicates(model, settings.k))?;
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
    Ok(Report {
        about: BTreeMap::new(),
        k: settings.k,
        models: results,
        slices: slice::slices(models, cases, catalogue, settings),
        comparisons,
        titles: Vec::new(),
    })
}

/// Padding may repeat: it stands for items that the catalogue no longer has.
fn refuse_duplicates(model: &Lists, k: usize) -> Result<(), JudgeError> {
    for (target, lists) in [("all", &model.all), ("new", &model.new)] {
        for (case, list) in lists.iter().enumerate() {
            let mut seen = HashSet::new();
            let twice = list.iter().take(k).find(|item| **item != 0 && !seen.insert(**item));
            if let Some(&item) = twice {
                return Err(JudgeError::Duplicate { model: model.name.clone(), target, case, item });
            }
        }
    }
    Ok(())
}

/// NDCG of `a` minus NDCG of `b` on `target` (`all` or `new`), returning shopper by returning shopper.
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
    let of = |model| per_user(model, cases, settings.k, target, measure, &is_returning);
    paired_interval(&of(a), &of(b), settings.bootstrap_samples, settings.seed)
}

pub(crate) fn name(measure: &str, k: usize) -> String {
    format!("{measure}_at_{k}")
}

pub(crate) fn relevant<'a>(case: &'a Case, target: &str) -> &'a [u32] {
    if target == "new" { &case.relevant_new } else { &case.relevant_all }
}

/// Whether anything was known of the shopper.
pub(crate) fn is_returning(case: &Case) -> bool {
    case.history_length > 0
}

/// The measure for each kept case that has something relevant.
pub(crate) fn per_user(
    model: &Lists,
    cases: &[Case],
    k: usize,
    target: &str,
    measure: Measure,
    keep: &dyn Fn(&Case) -> bool,
) -> Vec<f64> {
    let judged =
        cases.iter().enumerate().filter(|(_, case)| !relevant(case, target).is_empty() && keep(case));
    judged.map(|(at, case)| measure(model.list(target, at), relevant(case, target), k)).collect()
}

fn measures(
    model: &Lists,
    cases: &[Case],
    catalogue: &Catalogue,
    settings: &Settings,
    target: &str,
) -> BTreeMap<String, Estimate> {
    let Settings { k, bootstrap_samples: samples, seed } = *settings;
    let accuracy = |(measure, function): &(&str, Measure)| {
        let values = per_user(model, cases, k, target, *function, &is_returning);
        (name(measure, k), interval(&values, samples, seed))
    };
    let mut all: BTreeMap<String, Estimate> = MEASURES.iter().map(accuracy).collect();
    let returning = cases.iter().enumerate().filter(|(_, case)| is_returning(case));
    let lists: Vec<&[u32]> = returning.map(|(at, _)| model.list(target, at)).collect();
    let items = catalogue.shares.len().saturating_sub(1);
    all.insert(name("coverage", k), coverage_interval(&lists, items, k, samples, seed));
    let sold = catalogue.shares.iter().copied().filter(|share| *share > 0.0);
    let floor = sold.fold(1.0, f64::min);
    let mut describe = |measure: &str, of: &(dyn Fn(&[u32]) -> Option<f64> + Sync)| {
        let values: Vec<f64> = lists.par_iter().filter_map(|list| of(list)).collect();
        all.insert(name(measure, k), interval(&values, samples, seed));
    };
    describe("novelty", &|list| metrics::novelty_at_k(list, catalogue.shares, floor, k));
    if !catalogue.buyers.is_empty() {
        describe("diversity", &|list| metrics::diversity_at_k(list, catalogue.buyers, k));
    }
    if let Some(categories) = catalogue.categories {
        describe("category_diversity", &|list| metrics::category_diversity_at_k(list, categories, k));
    }
    all
}

/// Indices of the models of a kind, the best by NDCG first, the first of equals before the others.
fn by_ndcg(results: &[ModelResult], target: &str, k: usize, baseline: bool) -> Vec<usize> {
    let ndcg = |at: usize| {
        let found = results[at].targets.get(target).and_then(|found| found.get(&name("ndcg", k)));
        found.map_or(0.0, |found| found.mean)
    };
    let mut order: Vec<usize> = (0..results.len()).filter(|at| results[*at].baseline == baseline).collect();
    order.sort_by(|a, b| ndcg(*b).total_cmp(&ndcg(*a)));
    order
}

fn compare(
    models: &[Lists],
    results: &[ModelResult],
    cases: &[Case],
    settings: &Settings,
    target: &str,
) -> Vec<Comparison> {
    let Some(&base) = by_ndcg(results, target, settings.k, true).first() else { return Vec::new() };
    let mut learned = by_ndcg(results, target, settings.k, false);
    if learned.is_empty() {
        learned.push(base);
    }
    let pairs = learned.iter().flat_map(|at| MEASURES[..COMPARED].iter().map(move |measure| (*at, measure)));
    let comparison = |(at, (measure, function)): (usize, &(&str, Measure))| Comparison {
        target: target.to_owned(),
        metric: name(measure, settings.k),
        model: models[at].name.clone(),
        best_baseline: models[base].name.clone(),
        difference: difference(&models[at], &models[base], cases, settings, target, *function),
    };
    pairs.map(comparison).collect()
}
