//! Fit, judge, register, gate: one training from end to end, going on where an earlier one stopped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use qhatu_eval::{Lists, Report, Settings, judge, paired_difference};
use qhatu_models::{History, ModelError, Recommender, TensorFile, load_model, saved, top_k};
use qhatu_registry::{ArtifactFile, Decision, Evidence, Gate, ModelVersion, NewRun, NewVersion, Registry};
use qhatu_schema::{ItemIdx, Timestamp};
use qhatu_store::write_atomic;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::config::{LEARNED, TrainConfig};
use crate::data::ShopData;
use crate::error::TrainError;
use crate::fit;
use crate::split::TestSet;

/// The model as it was judged, beside the one fitted on all data.
const JUDGED_FILE: &str = "judged.safetensors";

/// What is being done, for whoever shows progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A model is fitted, or loaded from an earlier, interrupted training; number from 0, and how many.
    Fit(String, usize, usize),
    /// Everything is judged.
    Judge,
    /// The winner is fitted on all data.
    Refit(String),
}

/// Where a training reads and writes beside the registry.
#[derive(Debug, Clone)]
pub struct Place {
    /// Fitted models of trainings that may go on.
    pub work: PathBuf,
    /// The model's name in the registry.
    pub model: String,
    /// The gate.
    pub gate: Gate,
    /// The program's version, for lineage.
    pub code_version: String,
}

/// What came of a training.
#[derive(Debug)]
pub struct Outcome {
    /// How good each model is.
    pub report: Report,
    /// The registered winner.
    pub version: ModelVersion,
    /// What the gate said.
    pub decision: Decision,
}

/// A fitted model with its lists for the test's shoppers.
struct Judged {
    model: Box<dyn Recommender>,
    lists: Lists,
}

/// Fits and judges the models of the configuration without registering any.
///
/// # Errors
/// [`TrainError`].
pub fn evaluate(
    data: &ShopData,
    config: &TrainConfig,
    work: &Path,
    show: &mut dyn FnMut(Step),
) -> Result<Report, TrainError> {
    config.check()?;
    let test = TestSet::new(data, config)?;
    let judged = fit_all(data, &test, config, work, show)?;
    show(Step::Judge);
    Ok(report(data, &test, &judged, config))
}

/// The whole training. A run is written down for each model; the best on the gate's metric is
/// registered, with the second as challenger, and promoted if the gate lets it.
///
/// # Errors
/// [`TrainError`]; models that were fitted stay in `place.work`, and the next call goes on from them.
pub fn train(
    data: &ShopData,
    config: &TrainConfig,
    place: &Place,
    registry: &Registry,
    show: &mut dyn FnMut(Step),
) -> Result<Outcome, TrainError> {
    config.check()?;
    let test = TestSet::new(data, config)?;
    let judged = fit_all(data, &test, config, &place.work, show)?;
    show(Step::Judge);
    let report = report(data, &test, &judged, config);
    let (target, metric) = place.gate.metric.split_once('.').unwrap_or(("all", &place.gate.metric));
    let figure = |name: &str| {
        let model = report.models.iter().find(|model| model.name == name)?;
        Some(model.targets.get(target)?.get(metric)?.mean)
    };
    let mut order: Vec<&Judged> = judged.iter().collect();
    order.sort_by(|a, b| {
        let of = |judged: &Judged| figure(&judged.lists.name).unwrap_or(f64::NEG_INFINITY);
        of(b).total_cmp(&of(a))
    });
    let metrics = runs(data, config, place, registry, &report)?;
    let winner = order[0];
    let lineage = Lineage { data, config, place, report: &report, test: &test, runs: &metrics };
    let evidence = evidence(&lineage, winner, &judged, registry, target, &figure)?;
    show(Step::Refit(winner.lists.name.clone()));
    let now = Timestamp::now();
    let version = lineage.register(registry, winner, config.refit, now)?;
    let decision = registry.promote(&version, &place.gate, &evidence, now)?;
    if let Some(second) = order.get(1) {
        let second = lineage.register(registry, second, false, now)?;
        registry.point(&second, "challenger", "second best of its training", now)?;
    }
    Ok(Outcome { report, version, decision })
}

/// What versions and runs say of where they come from.
struct Lineage<'a> {
    data: &'a ShopData,
    config: &'a TrainConfig,
    place: &'a Place,
    report: &'a Report,
    test: &'a TestSet,
    runs: &'a BTreeMap<String, String>,
}

impl Lineage<'_> {
    fn register(
        &self,
        registry: &Registry,
        judged: &Judged,
        refit: bool,
        now: Timestamp,
    ) -> Result<ModelVersion, TrainError> {
        let name = judged.lists.name.as_str();
        let vocabulary = &self.data.vocabulary;
        let mut files = match refit {
            true => {
                let all = self.data.interactions(self.data.end());
                saved::to_files(&*fit::fit(name, &all, self.config)?, vocabulary)?
            }
            false => saved::to_files(&*judged.model, vocabulary)?,
        };
        if refit {
            files.push((JUDGED_FILE, judged.model.save().to_bytes().map_err(ModelError::from)?));
        }
        let files: Vec<ArtifactFile> =
            files.into_iter().map(|(name, bytes)| ArtifactFile { name: name.to_owned(), bytes }).collect();
        let baselines = self.report.models.iter().filter(|model| model.baseline);
        let new = NewVersion {
            kind: name.to_owned(),
            config: fit::settings(name, self.config),
            run_id: self.runs.get(name).cloned().unwrap_or_default(),
            data_fingerprint: self.data.fingerprint.clone(),
            code_version: self.place.code_version.clone(),
            protocol: self.test.protocol.clone(),
            metrics: figures(self.report, name),
            baselines: baselines.map(|m| (m.name.clone(), figures(self.report, &m.name))).collect(),
        };
        Ok(registry.register(&self.place.model, new, &files, now)?)
    }
}

/// What the gate is shown: the champion judged on the same test, or the gate's baseline.
fn evidence(
    lineage: &Lineage,
    winner: &Judged,
    judged: &[Judged],
    registry: &Registry,
    target: &str,
    figure: &dyn Fn(&str) -> Option<f64>,
) -> Result<Evidence, TrainError> {
    let settings = settings(lineage.config);
    let against = |name: String, lists: &Lists, reference: f64| {
        let candidate = figure(&winner.lists.name).unwrap_or(f64::NAN);
        let gap = paired_difference(&winner.lists, lists, &lineage.test.cases, &settings, target);
        Evidence { candidate, against: name, reference, interval: Some((gap.low, gap.high)) }
    };
    if let Some(champion) = registry.alias(&lineage.place.model, "champion")? {
        let lists = champion_lists(lineage, registry, &champion)?;
        let name = format!("champion v{} ({})", champion.version, champion.new.kind);
        let alone = judge(
            std::slice::from_ref(&lists),
            &lineage.test.cases,
            &catalogue(&lineage.test.shares()),
            &settings,
        );
        let metric = lineage.place.gate.metric.split_once('.').map_or("ndcg_at_10", |(_, metric)| metric);
        let found = alone.models.first().and_then(|model| model.targets.get(target)?.get(metric));
        return Ok(against(name, &lists, found.map_or(f64::NAN, |estimate| estimate.mean)));
    }
    let baseline = lineage.place.gate.baseline.as_str();
    let Some(found) = judged.iter().find(|judged| judged.lists.name == baseline) else {
        return Err(TrainError::Setting {
            key: "models",
            value: lineage.config.models.join(", "),
            hint: "the gate's baseline must be among them, for the first champion is held against it",
        });
    };
    Ok(against(baseline.to_owned(), &found.lists, figure(baseline).unwrap_or(f64::NAN)))
}

/// The champion's lists for this test, by the model as it was judged then.
fn champion_lists(
    lineage: &Lineage,
    registry: &Registry,
    champion: &ModelVersion,
) -> Result<Lists, TrainError> {
    let artifact = registry.open(champion)?;
    let judged = artifact.files.get(JUDGED_FILE).or(artifact.files.get(saved::MODEL_FILE));
    let file = |name: &str| match name {
        saved::MODEL_FILE => judged.map(Vec::as_slice),
        name => artifact.files.get(name).map(Vec::as_slice),
    };
    let (vocabulary, model) = saved::from_files(file)?;
    let theirs = |item: &ItemIdx| {
        lineage.data.vocabulary.item(*item).and_then(|id| vocabulary.idx(id)).unwrap_or(ItemIdx::PADDING)
    };
    let ours: Vec<u32> = std::iter::once(0)
        .chain(vocabulary.items().iter().map(|id| lineage.data.vocabulary.idx(id).map_or(0, |idx| idx.0)))
        .collect();
    let mut translated = lineage.test.clone();
    for shopper in &mut translated.shoppers {
        shopper.items.iter_mut().for_each(|item| *item = theirs(item));
    }
    let mut lists = lists("champion", &*model, &translated, lineage.config.k);
    for list in lists.all.iter_mut().chain(&mut lists.new) {
        list.iter_mut().for_each(|item| *item = ours[*item as usize]);
    }
    Ok(lists)
}

fn fit_all(
    data: &ShopData,
    test: &TestSet,
    config: &TrainConfig,
    work: &Path,
    show: &mut dyn FnMut(Step),
) -> Result<Vec<Judged>, TrainError> {
    let mut judged = Vec::new();
    for (number, name) in config.models.iter().enumerate() {
        show(Step::Fit(name.clone(), number, config.models.len()));
        let model = fit_or_load(name, data, test, config, work)?;
        let lists = lists(name, &*model, test, config.k);
        judged.push(Judged { model, lists });
    }
    Ok(judged)
}

/// A model that an earlier training of the same data, split and settings fitted is loaded.
fn fit_or_load(
    name: &str,
    data: &ShopData,
    test: &TestSet,
    config: &TrainConfig,
    work: &Path,
) -> Result<Box<dyn Recommender>, TrainError> {
    let mut hash = Sha256::new();
    let settings = fit::settings(name, config).to_string();
    let seed = config.seed.to_string();
    for text in [&data.fingerprint, &test.protocol, &settings, &seed, env!("CARGO_PKG_VERSION")] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let stamp: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let path = work.join(format!("{name}-{stamp}.safetensors"));
    if let Ok(bytes) = fs::read(&path) {
        let damaged = |fault: ModelError| TrainError::Work { path: path.clone(), fault: fault.to_string() };
        let file = TensorFile::from_bytes(&bytes).map_err(|fault| damaged(fault.into()))?;
        return load_model(&file).map_err(damaged);
    }
    let model = fit::fit(name, &test.train, config)?;
    write_atomic(&path, &model.save().to_bytes().map_err(ModelError::from)?)?;
    Ok(model)
}

/// The lists of a model for every shopper of the test, on all threads.
fn lists(name: &str, model: &dyn Recommender, test: &TestSet, k: usize) -> Lists {
    let of = |shopper: &crate::split::Asked| {
        let mut scores = vec![0.0; model.catalogue_size() + 1];
        model.score(&History { items: &shopper.items, times: &shopper.times, now: shopper.now }, &mut scores);
        let known: rustc_hash::FxHashSet<ItemIdx> = shopper.items.iter().copied().collect();
        let items = |exclude: &dyn Fn(ItemIdx) -> bool| -> Vec<u32> {
            top_k(&scores, k, exclude).into_iter().map(|scored| scored.item.0).collect()
        };
        (items(&|_| false), items(&|item| known.contains(&item)))
    };
    let (all, new) = test.shoppers.par_iter().map(of).unzip();
    Lists { name: name.to_owned(), baseline: !LEARNED.contains(&name), all, new }
}

fn settings(config: &TrainConfig) -> Settings {
    Settings { k: config.k, bootstrap_samples: config.bootstrap_samples, seed: config.seed }
}

fn catalogue(shares: &[f64]) -> qhatu_eval::Catalogue<'_> {
    qhatu_eval::Catalogue { shares, categories: None }
}

fn report(data: &ShopData, test: &TestSet, judged: &[Judged], config: &TrainConfig) -> Report {
    let lists: Vec<Lists> = judged.iter().map(|judged| judged.lists.clone()).collect();
    let mut report = judge(&lists, &test.cases, &catalogue(&test.shares()), &settings(config));
    for (key, value) in [
        ("split", test.protocol.clone()),
        ("shoppers judged", test.cases.len().to_string()),
        ("shoppers learned from", test.train.sequences.len().to_string()),
        ("items", data.vocabulary.len().to_string()),
        ("purchases", data.purchases.len().to_string()),
        ("seed", config.seed.to_string()),
        ("data fingerprint", data.fingerprint.clone()),
    ] {
        report.about.insert(key.to_owned(), value);
    }
    report
}

/// `target.metric` and its mean, for the registry.
fn figures(report: &Report, name: &str) -> BTreeMap<String, f64> {
    let model = report.models.iter().find(|model| model.name == name);
    let targets = model.into_iter().flat_map(|model| &model.targets);
    let pairs = targets.flat_map(|(target, metrics)| {
        metrics.iter().map(move |(metric, estimate)| (format!("{target}.{metric}"), estimate.mean))
    });
    pairs.filter(|(_, mean)| mean.is_finite()).collect()
}

/// Writes a run down for each model; run ids by model.
fn runs(
    data: &ShopData,
    config: &TrainConfig,
    place: &Place,
    registry: &Registry,
    report: &Report,
) -> Result<BTreeMap<String, String>, TrainError> {
    let mut ids = BTreeMap::new();
    for model in &report.models {
        let new = NewRun {
            kind: model.name.clone(),
            config: fit::settings(&model.name, config),
            seed: config.seed,
            data_fingerprint: data.fingerprint.clone(),
            code_version: place.code_version.clone(),
        };
        let run = registry.start_run(new, Timestamp::now())?;
        let run = registry.finish_run(run, Ok(figures(report, &model.name)), Timestamp::now())?;
        ids.insert(model.name.clone(), run.id);
    }
    Ok(ids)
}
