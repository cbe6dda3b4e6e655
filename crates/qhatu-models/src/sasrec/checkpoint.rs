//! A training on disk: parameters, the optimizer's state, and how far it is. Written whole or not at
//! all: beside the file first, then renamed.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use qhatu_nn::tensor_file::TensorFile;
use serde_json::json;

use super::training::{State, Trained};
use super::{Config, NAME};
use crate::error::ModelError;
use crate::interactions::Interactions;

const STAMP: &str = "training";
const STATE: &str = "state";
const AVERAGE: &str = "average/";

/// What a checkpoint must agree with to be gone on from.
pub(super) fn stamp(data: &Interactions, config: &Config, seed: u64) -> String {
    let purchases: usize = data.sequences.iter().map(|sequence| sequence.items.len()).sum();
    let about = (data.items(), data.sequences.len(), purchases, data.until);
    json!({ "config": config, "seed": seed, "data": about }).to_string()
}

/// Keeps a training; without a path it does nothing.
pub(super) fn save(path: Option<&Path>, stamp: &str, trained: &Trained) -> Result<(), ModelError> {
    let Some(path) = path else { return Ok(()) };
    let mut file = TensorFile::default();
    file.settings.insert(STAMP.to_owned(), stamp.to_owned());
    file.settings.insert(STATE.to_owned(), json!(trained.state).to_string());
    trained.parameters.save(&mut file);
    trained.optimizer.save(&trained.parameters, &mut file);
    trained.parameters.put(&mut file, AVERAGE, trained.average.values());
    let bytes = file.to_bytes()?;
    let written = write_whole(path, &bytes);
    written.map_err(|fault| refused(path, fault, "make room or give another work folder"))
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

/// Goes on from a training that was kept; where there is no file nothing changes.
pub(super) fn load(path: &Path, stamp: &str, trained: &mut Trained) -> Result<(), ModelError> {
    let anew = "remove it to train anew";
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(()),
        Err(fault) => return Err(refused(path, fault, anew)),
    };
    let file = TensorFile::from_bytes(&bytes).map_err(|fault| refused(path, fault, anew))?;
    if file.settings.get(STAMP).map(String::as_str) != Some(stamp) {
        return Err(refused(path, "it is of other data or settings", anew));
    }
    let state = file.settings.get(STATE).map_or("", String::as_str);
    let state: State = serde_json::from_str(state).map_err(|fault| refused(path, fault, anew))?;
    trained.parameters.load(&file).map_err(|fault| refused(path, fault, anew))?;
    trained.optimizer.load(&trained.parameters, &file).map_err(|fault| refused(path, fault, anew))?;
    let average = trained.average.values_mut();
    trained.parameters.take(&file, AVERAGE, average).map_err(|fault| refused(path, fault, anew))?;
    trained.state = state;
    Ok(())
}

fn refused(path: &Path, fault: impl ToString, hint: &'static str) -> ModelError {
    ModelError::Checkpoint { model: NAME, path: path.to_owned(), fault: fault.to_string(), hint }
}
