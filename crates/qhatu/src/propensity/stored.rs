//! Where a propensity model is kept: a folder, or a shop's registry.

use std::collections::BTreeMap;
use std::path::Path;

use qhatu_registry::{ArtifactFile, ModelVersion, NewRun, NewVersion};
use qhatu_schema::Timestamp;
use qhatu_store::write_atomic;
use qhatu_train::propensity::{Examples, Scorer, Trained};
use serde_json::json;

use super::gate;
use crate::fault::Fault;
use crate::shop::{CODE_VERSION, Shop};

/// The model's name in the registry.
pub(super) const MODEL: &str = "propensity";
pub(super) const REPORT_FILE: &str = "report.json";

/// Where to keep a model.
pub(super) struct Place<'a> {
    /// A folder for its files.
    pub(super) out: Option<&'a Path>,
    /// A shop project for a version of it.
    pub(super) dir: Option<&'a Path>,
}

/// Keeps a model of examples and of what it foretells of them, and says where.
pub(super) fn keep(
    place: &Place,
    trained: &Trained,
    (examples, target): (&Examples, &str),
    past_gate: bool,
) -> Result<Vec<String>, Fault> {
    let report =
        serde_json::to_vec_pretty(&trained.report).map_err(|fault| Fault::Said(fault.to_string()))?;
    let mut files = trained.scorer.to_files()?;
    files.push((REPORT_FILE, report));
    let mut said = Vec::new();
    if let Some(folder) = place.out {
        std::fs::create_dir_all(folder).map_err(Fault::io("create", folder))?;
        for (name, bytes) in &files {
            write_atomic(&folder.join(name), bytes)?;
        }
        said.push(format!("the model is in {}", folder.display()));
    }
    if let Some(dir) = place.dir {
        let shop = Shop::open(dir)?;
        let version = register(&shop, trained, (examples, target), files)?;
        said.push(format!("registered as {MODEL} {}", version.version));
        said.push(gate::ask(&shop, &version, (trained, examples), past_gate)?);
    }
    Ok(said)
}

fn register(
    shop: &Shop,
    trained: &Trained,
    (examples, target): (&Examples, &str),
    files: Vec<(&'static str, Vec<u8>)>,
) -> Result<ModelVersion, Fault> {
    let (registry, report) = (shop.registry(), &trained.report);
    let kind = json!(report.config.model.kind).as_str().unwrap_or(MODEL).to_owned();
    let texts = json!({ "columns": report.texts, "model": trained.scorer.texts.model() });
    let config =
        json!({ "config": report.config, "recipes": report.recipes, "texts": texts, "target": target });
    let data_fingerprint = examples.fingerprint();
    let run = registry.start_run(
        NewRun {
            kind: kind.clone(),
            config: config.clone(),
            seed: report.config.seed,
            data_fingerprint: data_fingerprint.clone(),
            code_version: CODE_VERSION.to_owned(),
        },
        Timestamp::now(),
    )?;
    let figures = report.over_folds.iter().map(|(name, found)| (format!("folds.{name}"), found.mean));
    let metrics: BTreeMap<String, f64> = figures.collect();
    let run = registry.finish_run(run, Ok(metrics.clone()), Timestamp::now())?;
    let new = NewVersion {
        kind,
        config,
        run_id: run.id,
        data_fingerprint,
        code_version: CODE_VERSION.to_owned(),
        protocol: report.protocol.clone(),
        metrics,
        baselines: BTreeMap::new(),
    };
    let files: Vec<ArtifactFile> =
        files.into_iter().map(|(name, bytes)| ArtifactFile { name: name.to_owned(), bytes }).collect();
    Ok(registry.register(MODEL, new, &files, Timestamp::now())?)
}

/// Reads a model from a folder, or the champion of a shop's registry.
pub(super) fn open(place: &Place) -> Result<Scorer, Fault> {
    if let Some(folder) = place.out {
        let mut files = BTreeMap::new();
        for name in Scorer::FILES {
            let path = folder.join(name);
            files.insert(name, std::fs::read(&path).map_err(Fault::io("read", &path))?);
        }
        return Ok(Scorer::from_files(|name| files.get(name).map(Vec::as_slice))?);
    }
    let shop = Shop::open(place.dir.unwrap_or(Path::new(".")))?;
    let registry = shop.registry();
    let Some(version) = registry.alias(MODEL, gate::CHAMPION)? else {
        let words = match registry.versions(MODEL)?.is_empty() {
            true => "there is no propensity model yet; `qhatu propensity fit --dir` makes one",
            false => {
                "no propensity model passed the gate yet; `qhatu propensity fit --dir … --past-gate` makes one champion \
                 all the same"
            }
        };
        return Err(Fault::Said(words.to_owned()));
    };
    let artifact = registry.open(&version)?;
    Ok(Scorer::from_files(|name| artifact.files.get(name).map(Vec::as_slice))?)
}
