//! Where a propensity model is kept: a folder, or a shop's registry.

use std::collections::BTreeMap;
use std::path::Path;

use qhatu_registry::{ArtifactFile, ModelVersion, NewRun, NewVersion, Registry};
use qhatu_schema::Timestamp;
use qhatu_serve::Foretold;
use qhatu_store::write_atomic;
use qhatu_train::propensity::{Examples, Scorer, Trained};
use serde_json::{Value, json};

use super::gate::{self, Way};
use crate::config::Project;
use crate::fault::Fault;
use crate::shop::{CODE_VERSION, registry};

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
    (examples, foretold): (&Examples, &Foretold),
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
        let project = Project::open(dir)?;
        let registry = registry(&project)?;
        let version = register(&registry, trained, (examples, foretold), files)?;
        said.push(format!("registered as {MODEL} {}", version.version));
        let way = match past_gate {
            true => Way::PastGate,
            false => Way::Gate { require_significant: project.config.registry.require_significant },
        };
        said.push(gate::ask(&registry, &version, (trained, examples), way)?);
    }
    Ok(said)
}

fn register(
    registry: &Registry,
    trained: &Trained,
    (examples, foretold): (&Examples, &Foretold),
    files: Vec<(&'static str, Vec<u8>)>,
) -> Result<ModelVersion, Fault> {
    let report = &trained.report;
    let kind = report.config.model.kind.name().to_owned();
    let texts = json!({ "columns": report.texts, "model": trained.scorer.texts.model() });
    let days = match foretold {
        Foretold::Shoppers { days } => Some(*days),
        Foretold::Column { .. } => None,
    };
    let config = json!({
        "config": report.config, "recipes": report.recipes, "texts": texts,
        "target": foretold.to_string(), "shoppers": days,
    });
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

/// What a version of this configuration foretells.
pub(super) fn foretold(config: &Value) -> Foretold {
    let target = config["target"].as_str().unwrap_or_default();
    // Versions of before say it in words alone.
    let in_words = || target.strip_prefix("a purchase within ")?.strip_suffix(" days")?.parse().ok();
    let days = match config.get("shoppers") {
        Some(days) => days.as_u64().and_then(|days| u32::try_from(days).ok()),
        None => in_words(),
    };
    match days {
        Some(days) => Foretold::Shoppers { days },
        None => Foretold::Column { target: target.to_owned() },
    }
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
    let registry = registry(&Project::open(place.dir.unwrap_or(Path::new(".")))?)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_says_what_it_foretells() {
        let shoppers = Foretold::Shoppers { days: 28 };
        let target = shoppers.to_string();
        assert_eq!(foretold(&json!({"target": target, "shoppers": 28})), shoppers);
        assert_eq!(foretold(&json!({"target": target})), shoppers, "a version of before");
        assert_eq!(foretold(&json!({"target": target, "shoppers": null})), Foretold::Column { target });
        let column = Foretold::Column { target: "Revenue".to_owned() };
        assert_eq!(foretold(&json!({"target": "Revenue"})), column);
    }
}
