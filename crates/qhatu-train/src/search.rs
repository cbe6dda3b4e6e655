//! `qhatu train --search`: each model's settings chosen before the test window begins, by successive halving.
//! (Jamieson & Talwalkar, AISTATS 2016; the resource is the share of the shoppers that a model learns from, as in
//! Li et al., Hyperband, JMLR 2018, section 4.)
//!
//! Trials are drawn from a grid, the settings at hand first. All begin with a small share of the shoppers; the best
//! third goes on with three times as many, until the last are judged with all. What is learned from ends where the test
//! window begins, and the days before that judge: the test's own days are never looked at. Every trial is a run in the
//! registry, and a search that was stopped takes finished runs over instead of repeating them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qhatu_eval::{Catalogue, Settings, judge};
use qhatu_models::{Interactions, Journey, Purchase};
use qhatu_registry::{NewRun, Registry, Run, RunStatus};
use qhatu_schema::Timestamp;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::TrainConfig;
use crate::data::ShopData;
use crate::error::TrainError;
use crate::fit;
use crate::judged::lists;
use crate::pipeline::{Place, Step};
use crate::split::TestSet;

/// The values of each setting that are tried; a dot leads into a section of its own.
pub type Grid = BTreeMap<String, Vec<Value>>;

/// The section `[train.search]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SearchConfig {
    /// Trials that a model begins with, the settings at hand among them.
    pub trials: usize,
    /// Of so many trials one goes on to the next, larger share of the shoppers.
    pub reduction: usize,
    /// Minutes after which no trial is begun any more, over all models; 0: no limit.
    pub minutes: f64,
    /// What is tried, by model; a model that is not named here has a grid of its own.
    pub space: BTreeMap<String, Grid>,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self { trials: 9, reduction: 3, minutes: 0.0, space: BTreeMap::new() }
    }
}

/// One trial, as far as it came.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// The settings.
    pub settings: Value,
    /// The largest share of the shoppers that it learned from.
    pub share: f64,
    /// The gate's metric there.
    pub figure: f64,
}

/// What a search found for one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// The model.
    pub model: String,
    /// The settings that the configuration had.
    pub present: Value,
    /// The metric that decided, as `target.metric`.
    pub metric: String,
    /// How the validation was set aside.
    pub validation: String,
    /// All trials: those that came farthest first, and of those the best first.
    pub trials: Vec<Trial>,
    /// Whether the time was up before all were judged.
    pub cut_short: bool,
}

impl Found {
    /// The settings that won.
    pub fn best(&self) -> Option<&Trial> {
        self.trials.first()
    }
}

/// Searches the settings of every model of the configuration that has any, and gives the configuration with the
/// winners in it.
///
/// # Errors
/// [`TrainError`]: settings that cannot be, too little data before the test window, and faults of fitting.
pub fn search(
    data: &ShopData,
    config: &TrainConfig,
    place: &Place,
    registry: &Registry,
    show: &mut dyn FnMut(Step),
) -> Result<(TrainConfig, Vec<Found>), TrainError> {
    config.check()?;
    check(&config.search)?;
    let before = before_test(data, &TestSet::new(data, config)?);
    let validation = TestSet::new(&before, config)?;
    let minutes = Some(config.search.minutes).filter(|minutes| *minutes > 0.0);
    let mut search = Search {
        data,
        config,
        place,
        registry,
        validation,
        done: finished(registry)?,
        deadline: minutes.map(|minutes| Instant::now() + Duration::from_secs_f64(60.0 * minutes)),
        show,
    };
    let mut chosen = config.clone();
    let mut found = Vec::new();
    for name in &config.models {
        let grid = grid_of(name, config);
        if grid.is_empty() {
            continue;
        }
        let one = search.model(name, &grid)?;
        if let Some(best) = one.best() {
            chosen = with_settings(&chosen, name, &best.settings)?;
        }
        found.push(one);
    }
    Ok((chosen, found))
}

/// The configurations of all trials: what is read of the shop must suffice for each of them.
///
/// # Errors
/// Settings that cannot be.
pub fn searched(config: &TrainConfig) -> Result<Vec<TrainConfig>, TrainError> {
    config.check()?;
    let mut all = Vec::new();
    for name in &config.models {
        for settings in drawn(name, config, &grid_of(name, config))? {
            all.push(with_settings(config, name, &settings)?);
        }
    }
    Ok(all)
}

/// What is tried of a model: what the configuration says, or else a grid of its own.
fn grid_of(name: &str, config: &TrainConfig) -> Grid {
    config.search.space.get(name).cloned().unwrap_or_else(|| grid(name))
}

/// A search that is under way.
struct Search<'a> {
    data: &'a ShopData,
    config: &'a TrainConfig,
    place: &'a Place,
    registry: &'a Registry,
    validation: TestSet,
    /// Finished runs, of earlier searches too.
    done: Vec<Run>,
    deadline: Option<Instant>,
    show: &'a mut dyn FnMut(Step),
}

impl Search<'_> {
    fn model(&mut self, name: &str, grid: &Grid) -> Result<Found, TrainError> {
        let settings = drawn(name, self.config, grid)?;
        let shares = shares(settings.len(), self.config.search.reduction);
        let mut trials: Vec<Trial> =
            settings.into_iter().map(|settings| Trial { settings, share: 0.0, figure: 0.0 }).collect();
        let (mut running, mut cut_short) = (trials.len(), false);
        for share in shares {
            for (number, trial) in trials.iter_mut().take(running).enumerate() {
                if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    cut_short = true;
                    break;
                }
                (self.show)(Step::Trial { model: name.to_owned(), number, of: running, share });
                trial.figure = self.trial(name, &trial.settings, share)?;
                trial.share = share;
            }
            trials.sort_by(|a, b| b.share.total_cmp(&a.share).then(b.figure.total_cmp(&a.figure)));
            if cut_short {
                break;
            }
            running = running.div_ceil(self.config.search.reduction);
        }
        trials.retain(|trial| trial.share > 0.0);
        let (metric, validation) = (self.place.gate.metric.clone(), self.validation.protocol.clone());
        let present = fit::settings(name, self.config);
        Ok(Found { model: name.to_owned(), present, metric, validation, trials, cut_short })
    }

    /// The gate's metric of a trial, from its run if there is one already.
    fn trial(&mut self, name: &str, settings: &Value, share: f64) -> Result<f64, TrainError> {
        let metric = &self.place.gate.metric;
        let new = NewRun {
            kind: name.to_owned(),
            config: json!({
                "settings": settings,
                "parts": fit::whole_settings(name, self.config).get("parts"),
                "search": { "share": share, "validation": self.validation.protocol },
            }),
            seed: self.config.seed,
            data_fingerprint: self.data.fingerprint.clone(),
            code_version: self.place.code_version.clone(),
        };
        let known = self.done.iter().find(|run| run.new == new).and_then(|run| run.metrics.get(metric));
        if let Some(figure) = known {
            return Ok(*figure);
        }
        let run = self.registry.start_run(new, Timestamp::now())?;
        let figures = self.figures(name, settings, share);
        let told = figures.as_ref().map(Clone::clone).map_err(ToString::to_string);
        let run = self.registry.finish_run(run, told, Timestamp::now())?;
        let figures = figures?;
        self.done.push(run);
        figures.get(metric).copied().ok_or_else(|| TrainError::Setting {
            key: "search",
            value: metric.clone(),
            hint: "the gate's metric ([registry] metric) is not among those of a report, such as all.ndcg_at_10",
        })
    }

    fn figures(
        &mut self,
        name: &str,
        settings: &Value,
        share: f64,
    ) -> Result<BTreeMap<String, f64>, TrainError> {
        let config = with_settings(self.config, name, settings)?;
        let train = of_share(&self.validation.train, share);
        let model = fit::fit(name, &train, &config, None, self.show)?;
        let lists = [lists(name, &*model, &self.validation, self.config.k)?];
        let catalogue = Catalogue { shares: &[], buyers: &[], categories: None };
        let settings = Settings { k: self.config.k, bootstrap_samples: 0, seed: self.config.seed };
        let report = judge(&lists, &self.validation.cases, &catalogue, &settings)?;
        let targets = report.models.iter().flat_map(|model| &model.targets);
        let pairs = targets.flat_map(|(target, metrics)| {
            metrics.iter().map(move |(metric, estimate)| (format!("{target}.{metric}"), estimate.mean))
        });
        Ok(pairs.filter(|(_, mean)| mean.is_finite()).collect())
    }
}

fn check(config: &SearchConfig) -> Result<(), TrainError> {
    let fault = |key, value: String, hint| Err(TrainError::Setting { key, value, hint });
    match config {
        SearchConfig { trials: 0, .. } => fault("search.trials", "0".to_owned(), "at least one trial"),
        SearchConfig { reduction: 0 | 1, .. } => {
            fault("search.reduction", config.reduction.to_string(), "at least 2; 3 is usual")
        }
        SearchConfig { minutes, .. } if !(minutes.is_finite() && *minutes >= 0.0) => {
            fault("search.minutes", minutes.to_string(), "minutes, or 0 for no limit")
        }
        _ => Ok(()),
    }
}

/// The data as it was when the test window began: what the test's own models learn from.
fn before_test(data: &ShopData, test: &TestSet) -> ShopData {
    let mut orders = 0;
    let mut purchases = Vec::new();
    for sequence in &test.train.sequences {
        for basket in sequence.baskets() {
            purchases.extend(basket.map(|line| Purchase {
                time: sequence.times[line],
                user: sequence.user.0,
                order: orders,
                item: sequence.items[line],
            }));
            orders += 1;
        }
    }
    purchases.sort_unstable();
    data.of_purchases(purchases, Arc::clone(&test.train.journeys))
}

fn finished(registry: &Registry) -> Result<Vec<Run>, TrainError> {
    let mut runs = registry.runs()?;
    runs.retain(|run| run.status == RunStatus::Finished && run.new.config.get("search").is_some());
    Ok(runs)
}

/// A share of the shoppers, the same ones for every trial, and each smaller share within the larger ones.
fn of_share(data: &Interactions, share: f64) -> Interactions {
    let is_in = |user: u32| {
        let mixed = u64::from(user).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = (mixed >> 11) as f64 / (1_u64 << 53) as f64;
        place < share
    };
    let sequences = data.sequences.iter().filter(|sequence| is_in(sequence.user.0)).cloned().collect();
    let share = data.of_sequences(sequences, data.until);
    // Visits are known by their places alone.
    let who = |place: usize, own: &Journey| own.user.map_or(u32::MAX - place as u32, |user| user.0);
    let journeys = data.journeys.iter().enumerate().filter(|(place, own)| is_in(who(*place, own)));
    let journeys = journeys.map(|(_, own)| own.clone()).collect();
    share.with_journeys(Arc::new(journeys))
}

/// The shares of the shoppers, smallest first: as many steps as leave one of `trials`, at most three.
fn shares(trials: usize, reduction: usize) -> Vec<f64> {
    let mut steps = 1;
    let mut left = trials;
    while left > 1 && steps < 3 {
        left = left.div_ceil(reduction);
        steps += 1;
    }
    (0..steps).rev().map(|step| (reduction as f64).powi(-step)).collect()
}

/// The settings at hand, then others of the grid drawn by the seed, each once.
fn drawn(name: &str, config: &TrainConfig, grid: &Grid) -> Result<Vec<Value>, TrainError> {
    let present = fit::settings(name, config);
    let cells = grid.values().map(|values| values.len().max(1)).try_fold(1_usize, usize::checked_mul);
    let cells = cells.unwrap_or(usize::MAX);
    let mut seen = FxHashSet::default();
    seen.insert(present.to_string());
    let mut found = vec![present.clone()];
    let mut random = Xoshiro256PlusPlus::seed_from_u64(config.seed);
    // By multiplying and shifting; the bias is below n / 2³².
    let mut below = |n: usize| (((random.next_u64() >> 32) * n as u64) >> 32) as usize;
    // Beyond so many draws the grid holds nothing more that is new.
    for _ in 0..cells.saturating_mul(8).min(10_000) {
        if found.len() >= config.search.trials {
            break;
        }
        let mut settings = present.clone();
        for (key, values) in grid.iter().filter(|(_, values)| !values.is_empty()) {
            set(name, &mut settings, key, values[below(values.len())].clone())?;
        }
        if seen.insert(settings.to_string()) {
            with_settings(config, name, &settings)?;
            found.push(settings);
        }
    }
    Ok(found)
}

/// Sets a value that is there already, by its path.
fn set(model: &str, settings: &mut Value, path: &str, value: Value) -> Result<(), TrainError> {
    let unknown = || TrainError::ModelConfig {
        model: model.to_owned(),
        fault: format!("[train.search.space.{model}] {path}: the model has no such setting"),
    };
    let place = path.split('.').try_fold(settings, |inner, key| inner.get_mut(key)).ok_or_else(unknown)?;
    // 200 in a grid means 200.0 where the setting has decimals.
    *place = match (&*place, value.as_f64()) {
        (Value::Number(old), Some(number)) if old.is_f64() => json!(number),
        _ => value,
    };
    Ok(())
}

/// The configuration with other settings for one model.
fn with_settings(config: &TrainConfig, name: &str, settings: &Value) -> Result<TrainConfig, TrainError> {
    let fault = |fault: serde_json::Error| TrainError::ModelConfig {
        model: name.to_owned(),
        fault: fault.to_string(),
    };
    let mut whole = serde_json::to_value(config).map_err(fault)?;
    if let Some(own) = whole.as_object_mut().and_then(|whole: &mut Map<String, Value>| whole.get_mut(name)) {
        own.clone_from(settings);
    }
    serde_json::from_value(whole).map_err(fault)
}

/// What is tried of a model where the configuration does not say.
fn grid(name: &str) -> Grid {
    let days = json!([0.0, 30.0, 60.0, 120.0, 365.0]);
    let grid = match name {
        "recent_popularity" => json!({ "days": [3.0, 5.0, 7.0, 10.0, 14.0, 21.0, 28.0, 56.0] }),
        "department_popularity" => json!({
            "half_life_days": [5.0, 7.0, 10.0, 14.0, 21.0, 28.0, 56.0],
            "prior": [10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0],
        }),
        "own_frequency" => json!({ "half_life_days": [0.0, 30.0, 60.0, 120.0, 180.0, 365.0] }),
        "decayed_markov" => {
            json!({ "window": [1, 3, 10, 30], "k": [50, 500], "normalization": [0.0, 0.25, 0.5, 0.75, 1.0] })
        }
        "item_knn" => {
            json!({ "k": [1, 3, 10, 50, 200], "shrinkage": [0.0, 10.0, 50.0], "history_half_life_days": days })
        }
        "ease" => {
            json!({ "regularization": [30.0, 100.0, 200.0, 400.0, 800.0], "history_half_life_days": days })
        }
        "als" => json!({
            "factors": [32, 64, 128], "regularization": [5.0, 10.0, 20.0, 50.0], "alpha": [1.0, 2.0, 5.0, 20.0],
            "history_half_life_days": days,
        }),
        "vmis_knn" => {
            json!({ "m": [100, 200, 500, 1000], "k": [100, 200, 500], "max_length": [10, 30, 100] })
        }
        "vstan" => json!({
            "k": [100, 200, 500, 1000], "lambda_spw": [0.5, 1.0, 2.0, 4.0, 8.0], "lambda_ipw": [0.5, 1.0, 2.0, 4.0, 8.0],
            "lambda_inh": [0.0, 1.0, 2.0, 4.0, 8.0], "lambda_snh": [0.0, 10.0, 30.0, 100.0],
            "lambda_idf": [0.0, 0.5, 1.0, 2.0, 5.0],
        }),
        "lambda_mart" => json!({ "retrieve": [20, 50, 100], "held_out_days": [14.0, 28.0, 56.0] }),
        "sasrec" => json!({
            "hidden_size": [32, 64, 128], "num_hidden_layers": [1, 2], "learning_rate": [5e-4, 1e-3, 2e-3],
            "hidden_dropout_prob": [0.1, 0.2, 0.4],
        }),
        _ => json!({}),
    };
    serde_json::from_value(grid).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_begin_with_the_settings_at_hand_and_are_each_another() {
        let config = TrainConfig::default();
        for name in &config.models {
            let found = drawn(name, &config, &grid(name)).unwrap();
            assert_eq!(found[0], fit::settings(name, &config), "{name}");
            let distinct: FxHashSet<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(distinct.len(), found.len(), "{name}");
            let wanted = if grid(name).is_empty() { 1 } else { 6 };
            assert!(found.len() >= wanted, "{name}: {}", found.len());
        }
    }

    #[test]
    fn a_setting_that_is_not_there_is_named_and_a_whole_number_is_taken_for_one_with_decimals() {
        let config = TrainConfig::default();
        let with = |text: &str| -> Grid { serde_json::from_str(text).unwrap() };
        let said = drawn("ease", &config, &with(r#"{"lambda": [1]}"#)).unwrap_err().to_string();
        assert!(said.contains("train.search.space.ease") && said.contains("lambda"), "{said}");
        let said = drawn("als", &config, &with(r#"{"factors": ["many"]}"#)).unwrap_err().to_string();
        assert!(said.contains("als"), "{said}");
        let found = drawn("ease", &config, &with(r#"{"regularization": [7]}"#)).unwrap();
        assert_eq!(with_settings(&config, "ease", &found[1]).unwrap().ease.regularization, 7.0);
    }

    #[test]
    fn shares_grow_by_the_reduction_and_end_with_all() {
        assert_eq!(shares(1, 3), [1.0]);
        assert_eq!(shares(3, 3), [1.0 / 3.0, 1.0]);
        assert_eq!(shares(9, 3), [1.0 / 9.0, 1.0 / 3.0, 1.0]);
        assert_eq!(shares(100, 2), [0.25, 0.5, 1.0]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(check(&SearchConfig { trials: 0, ..Default::default() }).is_err());
        assert!(check(&SearchConfig { reduction: 1, ..Default::default() }).is_err());
        assert!(check(&SearchConfig { minutes: f64::NAN, ..Default::default() }).is_err());
        assert!(check(&SearchConfig::default()).is_ok());
    }
}
