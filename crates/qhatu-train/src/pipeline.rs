//! Fit, judge, register, gate: one training from end to end, going on where an earlier one stopped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use qhatu_eval::{Catalogue, Lists, Report, Settings, judge};
use qhatu_models::{ModelError, saved, sequence};
use qhatu_registry::{
    ArtifactFile, Decision, Gate, ModelVersion, NewRun, NewVersion, Registry, RegistryError, Run,
};
use qhatu_schema::Timestamp;

use crate::config::{Split, TrainConfig};
use crate::data::ShopData;
use crate::error::TrainError;
use crate::evidence::{evidence, no_baseline};
use crate::fit;
use crate::judged::{Judged, Task, Watch, fit_all};
use crate::split::TestSet;

/// The model as it was judged, beside the one fitted on all data.
pub(crate) const JUDGED_FILE: &str = "judged.safetensors";

/// What is being done, for whoever shows progress.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Settings of a model are tried: which of how many trials, with what share of the shoppers.
    Trial {
        /// The model.
        model: String,
        /// The trial, from 0.
        number: usize,
        /// Trials with this share.
        of: usize,
        /// Share of the shoppers that it learns from.
        share: f64,
    },
    /// A model is fitted, or loaded from an earlier, interrupted training; number from 0, and how many.
    Fit(String, usize, usize),
    /// How far the model at hand is, for one that takes many epochs.
    Epoch(String, sequence::Progress),
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

/// How often the gate is asked again when somebody else moved the champion meanwhile.
const ATTEMPTS: usize = 3;

/// Fits and judges the models of the configuration without registering any. `code_version` says which program fits:
/// what another one left in `work` is not taken up.
///
/// # Errors
/// [`TrainError`].
pub fn evaluate(
    data: &ShopData,
    config: &TrainConfig,
    work: &Path,
    code_version: &str,
    show: &mut dyn FnMut(Step),
) -> Result<Report, TrainError> {
    config.check()?;
    let test = TestSet::new(data, config)?;
    let judged = fit_all(&Task { data, test: &test, config, work, code_version }, &mut Unwatched, show)?;
    show(Step::Judge);
    let buyers = test.buyers();
    report(data, &test, &judged, config, &catalogue(&buyers, &test.shares(&buyers)))
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
    let first = registry.alias(&place.model, "champion")?.is_none();
    if first && !config.models.contains(&place.gate.baseline) {
        return Err(no_baseline(&config.models));
    }
    let test = TestSet::new(data, config)?;
    let mut runs = Runs { registry, data, config, place, open: BTreeMap::new() };
    let task = Task { data, test: &test, config, work: &place.work, code_version: &place.code_version };
    let judged = fit_all(&task, &mut runs, show)?;
    show(Step::Judge);
    let buyers = test.buyers();
    let shares = test.shares(&buyers);
    let report = report(data, &test, &judged, config, &catalogue(&buyers, &shares))?;
    let runs = runs.finish(&report)?;
    let measured = Measured { task: &task, place, report: &report, runs, buyers, shares };
    let order = measured.best_first(&judged);
    let Some(winner) = order.first() else { return Err(no_baseline(&config.models)) };
    show(Step::Refit(winner.lists.name.clone()));
    let version = measured.register(registry, winner, config.refit, show)?;
    let decision = measured.ask_gate(registry, &version, winner, &judged)?;
    if let Some(second) = order.get(1) {
        let second = measured.register(registry, second, false, show)?;
        registry.point(&second, "challenger", "second best of its training", Timestamp::now())?;
    }
    Ok(Outcome { report, version, decision })
}

/// Everything that versions and the gate are told of a judgement.
pub(crate) struct Measured<'a> {
    pub(crate) task: &'a Task<'a>,
    pub(crate) place: &'a Place,
    pub(crate) report: &'a Report,
    /// Run ids by model.
    pub(crate) runs: BTreeMap<String, String>,
    pub(crate) buyers: Vec<Vec<u32>>,
    pub(crate) shares: Vec<f64>,
}

impl Measured<'_> {
    /// Target and metric that decide.
    pub(crate) fn gate_metric(&self) -> (&str, &str) {
        self.place.gate.metric.split_once('.').unwrap_or(("all", &self.place.gate.metric))
    }

    /// A model's figure on the gate's metric.
    pub(crate) fn figure(&self, name: &str) -> Option<f64> {
        let (target, metric) = self.gate_metric();
        let model = self.report.models.iter().find(|model| model.name == name)?;
        Some(model.targets.get(target)?.get(metric)?.mean)
    }

    fn best_first<'j>(&self, judged: &'j [Judged]) -> Vec<&'j Judged> {
        let of = |judged: &Judged| self.figure(&judged.lists.name).unwrap_or(f64::NEG_INFINITY);
        let mut order: Vec<&Judged> = judged.iter().collect();
        order.sort_by(|a, b| of(b).total_cmp(&of(a)));
        order
    }

    /// Asks again, with new evidence, where another training made its version champion meanwhile.
    fn ask_gate(
        &self,
        registry: &Registry,
        version: &ModelVersion,
        winner: &Judged,
        judged: &[Judged],
    ) -> Result<Decision, TrainError> {
        let mut attempts = 0;
        loop {
            let evidence = evidence(self, winner, judged, registry)?;
            attempts += 1;
            match registry.promote(version, &self.place.gate, &evidence, Timestamp::now()) {
                Err(RegistryError::Moved { .. }) if attempts < ATTEMPTS => {}
                decided => return Ok(decided?),
            }
        }
    }

    fn register(
        &self,
        registry: &Registry,
        judged: &Judged,
        refit: bool,
        show: &mut dyn FnMut(Step),
    ) -> Result<ModelVersion, TrainError> {
        let name = judged.lists.name.as_str();
        let vocabulary = &self.task.data.vocabulary;
        let mut files = match refit {
            true => saved::to_files(&*self.task.refit(name, show)?, vocabulary)?,
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
            config: fit::whole_settings(name, self.task.config),
            run_id: self.runs.get(name).cloned().unwrap_or_default(),
            data_fingerprint: self.task.data.fingerprint.clone(),
            code_version: self.place.code_version.clone(),
            protocol: self.task.test.protocol.clone(),
            metrics: figures(self.report, name),
            baselines: baselines.map(|m| (m.name.clone(), figures(self.report, &m.name))).collect(),
        };
        Ok(registry.register(&self.place.model, new, &files, Timestamp::now())?)
    }
}

/// The runs of a training: begun before a model is fitted, so that an interrupted one leaves its trace.
struct Runs<'a> {
    registry: &'a Registry,
    data: &'a ShopData,
    config: &'a TrainConfig,
    place: &'a Place,
    open: BTreeMap<String, Run>,
}

impl Watch for Runs<'_> {
    fn begin(&mut self, name: &str) -> Result<(), TrainError> {
        let new = NewRun {
            kind: name.to_owned(),
            config: fit::whole_settings(name, self.config),
            seed: self.config.seed,
            data_fingerprint: self.data.fingerprint.clone(),
            code_version: self.place.code_version.clone(),
        };
        let run = self.registry.start_run(new, Timestamp::now())?;
        self.open.insert(name.to_owned(), run);
        Ok(())
    }

    fn failed(&mut self, name: &str, fault: &TrainError) -> Result<(), TrainError> {
        if let Some(run) = self.open.remove(name) {
            self.registry.finish_run(run, Err(fault.to_string()), Timestamp::now())?;
        }
        Ok(())
    }
}

impl Runs<'_> {
    /// Writes the figures down; run ids by model.
    fn finish(self, report: &Report) -> Result<BTreeMap<String, String>, TrainError> {
        let mut ids = BTreeMap::new();
        for (name, run) in self.open {
            let run = self.registry.finish_run(run, Ok(figures(report, &name)), Timestamp::now())?;
            ids.insert(name, run.id);
        }
        Ok(ids)
    }
}

/// For judging without a registry.
struct Unwatched;

impl Watch for Unwatched {
    fn begin(&mut self, _: &str) -> Result<(), TrainError> {
        Ok(())
    }

    fn failed(&mut self, _: &str, _: &TrainError) -> Result<(), TrainError> {
        Ok(())
    }
}

pub(crate) fn settings(config: &TrainConfig) -> Settings {
    Settings { k: config.k, bootstrap_samples: config.bootstrap_samples, seed: config.seed }
}

pub(crate) fn catalogue<'a>(buyers: &'a [Vec<u32>], shares: &'a [f64]) -> Catalogue<'a> {
    Catalogue { shares, buyers, categories: None }
}

fn report(
    data: &ShopData,
    test: &TestSet,
    judged: &[Judged],
    config: &TrainConfig,
    catalogue: &Catalogue,
) -> Result<Report, TrainError> {
    let lists: Vec<Lists> = judged.iter().map(|judged| judged.lists.clone()).collect();
    let mut report = judge(&lists, &test.cases, catalogue, &settings(config))?;
    let split = match config.split {
        Split::Time => "time",
        Split::LeaveOneOut => "leave_one_out",
    };
    let mut about = vec![
        ("split", split.to_owned()),
        ("returning_shoppers", test.returning().to_string()),
        ("new_shoppers", (test.cases.len() - test.returning()).to_string()),
        ("shoppers_learned_from", test.train.sequences.len().to_string()),
        ("items", data.vocabulary.len().to_string()),
        ("purchases", data.purchases.len().to_string()),
        ("seed", config.seed.to_string()),
        ("data_fingerprint", data.fingerprint.clone()),
    ];
    if let Some((first, last)) = test.window {
        about.push(("test_window", format!("{first} – {last}")));
    }
    report.about.extend(about.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Ok(report)
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
