//! A training on disk: parameters, the optimizer's state, and how far it is. Written whole or not at
//! all: beside the file first, then renamed.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use qhatu_nn::tensor_file::{TensorFile, TensorFileError};
use serde_json::json;

use super::settings::Settings;
use super::training::{State, Trained};
use crate::error::ModelError;
use crate::interactions::Interactions;

const STAMP: &str = "training";
const STATE: &str = "state";
const AVERAGE: &str = "average/";
const BEST: &str = "best/";
const ANEW: &str = "remove it to train anew";

/// Where a training is kept, if at all, and what it must agree with to be gone on from.
#[derive(Debug)]
pub(super) struct Checkpoint<'a> {
    model: &'static str,
    path: Option<&'a Path>,
    stamp: String,
}

impl<'a> Checkpoint<'a> {
    pub(super) fn new(path: Option<&'a Path>, data: &Interactions, settings: &Settings, seed: u64) -> Self {
        let purchases: usize = data.sequences.iter().map(|sequence| sequence.items.len()).sum();
        let about = (data.items(), data.sequences.len(), purchases, data.until);
        let reads = settings.inputs.has_sides() || settings.augmentation.reads_texts();
        let sides = reads.then(|| data.sides.fingerprint());
        let deeds = || data.journeys.iter().map(|journey| journey.deeds.len()).sum::<usize>();
        let acts = settings.inputs.event_kind.then(|| (data.journeys.len(), deeds()));
        let stamp = json!({ "config": settings, "seed": seed, "data": about, "sides": sides, "acts": acts });
        let stamp = stamp.to_string();
        Self { model: settings.name, path, stamp }
    }

    /// Keeps a training; without a path it does nothing.
    pub(super) fn save(&self, trained: &Trained) -> Result<(), ModelError> {
        let Some(path) = self.path else { return Ok(()) };
        let mut file = TensorFile::default();
        file.settings.insert(STAMP.to_owned(), self.stamp.clone());
        file.settings.insert(STATE.to_owned(), json!(trained.state).to_string());
        trained.parameters.save(&mut file);
        trained.optimizer.save(&trained.parameters, &mut file);
        trained.parameters.put(&mut file, AVERAGE, trained.average.values());
        if let Some(best) = &trained.best {
            trained.parameters.put(&mut file, BEST, best);
        }
        let bytes = file.to_bytes()?;
        let written = write_whole(path, &bytes);
        written.map_err(|fault| self.refused(path, fault, "make room or give another work folder"))
    }

    /// Goes on from a training that was kept; where there is no file nothing changes.
    pub(super) fn load(&self, trained: &mut Trained) -> Result<(), ModelError> {
        let Some(path) = self.path else { return Ok(()) };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(()),
            Err(fault) => return Err(self.refused(path, fault, ANEW)),
        };
        let file = TensorFile::from_bytes(&bytes).map_err(|fault| self.refused(path, fault, ANEW))?;
        if file.settings.get(STAMP) != Some(&self.stamp) {
            return Err(self.refused(path, "it is of other data or settings", ANEW));
        }
        let state = file.settings.get(STATE).map_or("", String::as_str);
        let state: State = serde_json::from_str(state).map_err(|fault| self.refused(path, fault, ANEW))?;
        self.take(&file, state, trained).map_err(|fault| self.refused(path, fault, ANEW))
    }

    fn take(&self, file: &TensorFile, state: State, trained: &mut Trained) -> Result<(), TensorFileError> {
        trained.parameters.load(file)?;
        trained.optimizer.load(&trained.parameters, file)?;
        trained.parameters.take(file, AVERAGE, trained.average.values_mut())?;
        if file.tensors.keys().any(|name| name.starts_with(BEST)) {
            let mut best = vec![0.0; trained.parameters.len()];
            trained.parameters.take(file, BEST, &mut best)?;
            trained.best = Some(best);
        }
        trained.state = state;
        Ok(())
    }

    fn refused(&self, path: &Path, fault: impl ToString, hint: &'static str) -> ModelError {
        ModelError::Checkpoint { model: self.model, path: path.to_owned(), fault: fault.to_string(), hint }
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("part");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
