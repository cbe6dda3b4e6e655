//! The registry itself: runs and versions in, aliases moved, artifacts out.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use qhatu_schema::Timestamp;
use qhatu_store::{Documents, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ulid::Ulid;

use crate::artifact::{self, ArtifactFile, OpenArtifact};
use crate::error::RegistryError;
use crate::gate::{Decision, Evidence, Gate};
use crate::run::{NewRun, Run, RunStatus};
use crate::version::{Alias, AliasMove, ModelVersion, NewVersion};

const RUN: &str = "run";
const VERSION: &str = "model_version";
const ALIAS: &str = "model_alias";
/// The alias that serves.
pub(crate) const CHAMPION: &str = "champion";
const PAGE: usize = 500;

/// Runs, versions and aliases; cheap to clone, safe to share.
#[derive(Clone)]
pub struct Registry {
    documents: Arc<dyn Documents>,
    artifacts: PathBuf,
}

impl Registry {
    /// The registry whose metadata is in `documents` and whose files are in `artifacts`.
    pub fn new(documents: Arc<dyn Documents>, artifacts: impl Into<PathBuf>) -> Self {
        Self { documents, artifacts: artifacts.into() }
    }

    /// Writes down that a run begins.
    pub fn start_run(&self, new: NewRun, now: Timestamp) -> Result<Run, RegistryError> {
        let run = Run {
            id: Ulid::generate().to_string(),
            new,
            status: RunStatus::Running,
            started: now,
            finished: None,
            metrics: BTreeMap::new(),
            fault: None,
        };
        self.put(RUN, &run.id, &run)?;
        Ok(run)
    }

    /// Writes down how a run ended: its metrics, or its fault.
    pub fn finish_run(
        &self,
        mut run: Run,
        outcome: Result<BTreeMap<String, f64>, String>,
        now: Timestamp,
    ) -> Result<Run, RegistryError> {
        run.finished = Some(now);
        match outcome {
            Ok(metrics) => (run.status, run.metrics) = (RunStatus::Finished, metrics),
            Err(fault) => (run.status, run.fault) = (RunStatus::Failed, Some(fault)),
        }
        self.put(RUN, &run.id, &run)?;
        Ok(run)
    }

    /// One run.
    pub fn run(&self, id: &str) -> Result<Option<Run>, RegistryError> {
        self.get(RUN, id)
    }

    /// All aliases of a model, by name.
    pub fn aliases(&self, model: &str) -> Result<Vec<Alias>, RegistryError> {
        self.all(ALIAS, &format!("{model}/"))
    }

    /// All runs, oldest first.
    pub fn runs(&self) -> Result<Vec<Run>, RegistryError> {
        self.all(RUN, "")
    }

    /// Registers a version with its files and gives it the next number.
    pub fn register(
        &self,
        model: &str,
        new: NewVersion,
        files: &[ArtifactFile],
        now: Timestamp,
    ) -> Result<ModelVersion, RegistryError> {
        artifact::check_name(model)?;
        let folder = self.artifacts.join(model);
        fs::create_dir_all(&folder).map_err(RegistryError::io("create", &folder))?;
        let staging = folder.join(format!(".new-{}", Ulid::generate()));
        let mut version =
            ModelVersion { model: model.to_owned(), version: self.next_number(model)?, created: now, new };
        let written = loop {
            if let Err(error) = artifact::write(&staging, &version, files) {
                break Err(error);
            }
            let place = folder.join(version.version.to_string());
            match fs::rename(&staging, &place) {
                Ok(()) => break Ok(()),
                Err(_) if place.exists() => version.version += 1,
                Err(source) => {
                    break Err(RegistryError::Io { action: "rename", path: staging.clone(), source });
                }
            }
        };
        if let Err(error) = written {
            // What cannot be removed now only takes room; the fault that matters is the first one.
            drop(fs::remove_dir_all(&staging));
            return Err(error);
        }
        artifact::sync_folder(&folder)?;
        self.put(VERSION, &version_key(model, version.version), &version)?;
        Ok(version)
    }

    /// All versions of a model, oldest first.
    pub fn versions(&self, model: &str) -> Result<Vec<ModelVersion>, RegistryError> {
        self.all(VERSION, &format!("{model}/"))
    }

    /// One version.
    pub fn version(&self, model: &str, version: u64) -> Result<ModelVersion, RegistryError> {
        self.get(VERSION, &version_key(model, version))?
            .ok_or_else(|| RegistryError::NotFound { what: "version", name: format!("{model} {version}") })
    }

    /// The version that an alias points to, if it points to one.
    pub fn alias(&self, model: &str, alias: &str) -> Result<Option<ModelVersion>, RegistryError> {
        match self.alias_history(model, alias)?.version() {
            Some(version) => self.version(model, version).map(Some),
            None => Ok(None),
        }
    }

    /// An alias with all its moves; one never set has none.
    pub fn alias_history(&self, model: &str, alias: &str) -> Result<Alias, RegistryError> {
        let kept = self.get(ALIAS, &format!("{model}/{alias}"))?;
        Ok(kept.unwrap_or_else(|| Alias { name: alias.to_owned(), moves: Vec::new() }))
    }

    /// Makes `version` champion if the gate lets it, and says why or why not.
    ///
    /// # Errors
    /// [`RegistryError::Moved`] where the champion is no longer the one of the evidence, and what opening the version
    /// gives: what cannot be loaded is not promoted.
    pub fn promote(
        &self,
        version: &ModelVersion,
        gate: &Gate,
        evidence: &Evidence,
        now: Timestamp,
    ) -> Result<Decision, RegistryError> {
        let decision = gate.decide(evidence);
        if decision.promoted {
            self.open(version)?;
            let step = AliasMove {
                version: version.version,
                at: now,
                reason: decision.reason.clone(),
                rollback: false,
            };
            self.move_alias(&version.model, CHAMPION, |alias| {
                let expected = alias.version() == evidence.champion;
                if expected { Ok(step) } else { Err(moved(&version.model, CHAMPION)) }
            })?;
        }
        Ok(decision)
    }

    /// Points an alias to a version, without a gate: for `challenger` and the like.
    pub fn point(
        &self,
        version: &ModelVersion,
        alias: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        self.version(&version.model, version.version)?;
        let step =
            AliasMove { version: version.version, at: now, reason: reason.to_owned(), rollback: false };
        self.move_alias(&version.model, alias, |_| Ok(step))
    }

    /// Makes the champion before this one champion again.
    ///
    /// # Errors
    /// Where there is none, and what opening it gives: a damaged version does not come back.
    pub fn rollback(&self, model: &str, reason: &str, now: Timestamp) -> Result<ModelVersion, RegistryError> {
        self.move_alias(model, CHAMPION, |alias| {
            let version =
                alias.earlier().ok_or_else(|| RegistryError::NoEarlier { model: model.to_owned() })?;
            self.open(&self.version(model, version)?)?;
            Ok(AliasMove { version, at: now, reason: reason.to_owned(), rollback: true })
        })?;
        self.alias(model, CHAMPION)?.ok_or_else(|| RegistryError::NoEarlier { model: model.to_owned() })
    }

    /// Opens a version's files after checking each against its checksum.
    pub fn open(&self, version: &ModelVersion) -> Result<OpenArtifact, RegistryError> {
        artifact::check_name(&version.model)?;
        let folder = self.artifacts.join(&version.model).join(version.version.to_string());
        artifact::open(&folder, version)
    }

    fn move_alias(
        &self,
        model: &str,
        name: &str,
        step: impl FnOnce(&Alias) -> Result<AliasMove, RegistryError>,
    ) -> Result<(), RegistryError> {
        let key = format!("{model}/{name}");
        let kept = self.documents.get(ALIAS, &key)?;
        let revision = kept.as_ref().map_or(0, |document| document.revision);
        let mut alias = match kept {
            Some(document) => parse(ALIAS, &key, document.body)?,
            None => Alias { name: name.to_owned(), moves: Vec::new() },
        };
        let step = step(&alias)?;
        alias.moves.push(step);
        match self.documents.put_if(ALIAS, &key, revision, &body(ALIAS, &key, &alias)?) {
            Ok(_) => Ok(()),
            Err(StoreError::Conflict { .. }) => Err(moved(model, name)),
            Err(error) => Err(error.into()),
        }
    }

    /// One more than any number that a document or a folder has.
    fn next_number(&self, model: &str) -> Result<u64, RegistryError> {
        let known = self.versions(model)?.last().map_or(0, |version| version.version);
        let folder = self.artifacts.join(model);
        let entries = fs::read_dir(&folder).map_err(RegistryError::io("list", &folder))?;
        let on_disk =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok()).max();
        Ok(known.max(on_disk.unwrap_or(0)) + 1)
    }

    fn put<T: Serialize>(&self, kind: &'static str, key: &str, thing: &T) -> Result<(), RegistryError> {
        self.documents.put(kind, key, &body(kind, key, thing)?)?;
        Ok(())
    }

    fn get<T: DeserializeOwned>(&self, kind: &'static str, key: &str) -> Result<Option<T>, RegistryError> {
        self.documents.get(kind, key)?.map(|document| parse(kind, key, document.body)).transpose()
    }

    fn all<T: DeserializeOwned>(&self, kind: &'static str, prefix: &str) -> Result<Vec<T>, RegistryError> {
        let mut found = Vec::new();
        let mut after: Option<String> = (!prefix.is_empty()).then(|| prefix.to_owned());
        loop {
            let page = self.documents.list(kind, after.as_deref(), PAGE)?;
            let full = page.len() == PAGE;
            for document in page {
                if !document.key.starts_with(prefix) {
                    return Ok(found);
                }
                after = Some(document.key.clone());
                found.push(parse(kind, &document.key, document.body)?);
            }
            if !full {
                return Ok(found);
            }
        }
    }
}

fn moved(model: &str, alias: &str) -> RegistryError {
    RegistryError::Moved { model: model.to_owned(), alias: alias.to_owned() }
}

/// Zeros in front, so that the order of keys is the order of numbers.
fn version_key(model: &str, version: u64) -> String {
    format!("{model}/{version:010}")
}

fn body<T: Serialize>(kind: &'static str, key: &str, thing: &T) -> Result<serde_json::Value, RegistryError> {
    serde_json::to_value(thing).map_err(|error| RegistryError::Document {
        kind,
        key: key.to_owned(),
        fault: error.to_string(),
    })
}

fn parse<T: DeserializeOwned>(
    kind: &'static str,
    key: &str,
    body: serde_json::Value,
) -> Result<T, RegistryError> {
    serde_json::from_value(body).map_err(|error| RegistryError::Document {
        kind,
        key: key.to_owned(),
        fault: error.to_string(),
    })
}
