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
use crate::interactions::{Interactions, Sequence};
use crate::journey::Journey;

const STAMP: &str = "training";
const STATE: &str = "state";
const AVERAGE: &str = "average/";
const BEST: &str = "best/";
const ANEW: &str = "remove it to train anew";

/// A number that is another one where anything else was bought, or at another time or in another order (FNV-1a).
fn purchases(data: &Interactions) -> u64 {
    let of = |own: &Sequence| {
        let lines = own.items.iter().zip(&own.times).zip(&own.orders);
        let lines = lines.map(|((item, time), order)| [u64::from(item.0), *time as u64, u64::from(*order)]);
        [[u64::from(own.user.0), own.items.len() as u64, 0]]
            .into_iter()
            .chain(lines)
            .flatten()
            .collect::<Vec<u64>>()
    };
    data.sequences.iter().flat_map(of).fold(FNV, hashed)
}

/// The same of all that was done.
fn deeds(data: &Interactions) -> u64 {
    let of = |own: &Journey| {
        let deeds = own
            .deeds
            .iter()
            .map(|deed| [u64::from(deed.item.0), deed.time as u64, u64::from(deed.order), deed.kind as u64]);
        let user = own.user.map_or(u64::MAX, |user| u64::from(user.0));
        [[user, own.deeds.len() as u64, 0, 0]].into_iter().chain(deeds).flatten().collect::<Vec<u64>>()
    };
    data.journeys.iter().flat_map(of).fold(FNV, hashed)
}

const FNV: u64 = 0xcbf2_9ce4_8422_2325;

fn hashed(hash: u64, number: u64) -> u64 {
    (hash ^ number).wrapping_mul(0x0100_0000_01b3)
}

/// Where a training is kept, if at all, and what it must agree with to be gone on from.
#[derive(Debug)]
pub(super) struct Checkpoint<'a> {
    model: &'static str,
    path: Option<&'a Path>,
    stamp: String,
}

impl<'a> Checkpoint<'a> {
    pub(super) fn new(path: Option<&'a Path>, data: &Interactions, settings: &Settings, seed: u64) -> Self {
        let about = (data.items(), data.sequences.len(), data.until, purchases(data));
        let reads = settings.inputs.has_sides() || settings.augmentation.reads_texts();
        let sides = reads.then(|| data.sides.fingerprint());
        let acts = settings.inputs.event_kind.then(|| deeds(data));
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use qhatu_schema::{EventKind, ItemId, ItemIdx, UserIdx};

    use super::*;
    use crate::interactions::{Purchase, Vocabulary};
    use crate::journey::Deed;

    fn shop(times: [i64; 2], items: [u32; 2]) -> Interactions {
        let names = (1..=3).map(|item| ItemId::new(format!("i{item}")).expect("not empty"));
        let lines = times.into_iter().zip(items).zip(0..);
        let lines: Vec<Purchase> = lines
            .map(|((time, item), order)| Purchase { time, user: 0, order, item: ItemIdx(item) })
            .collect();
        Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, 9)
    }

    #[test]
    fn other_data_of_the_same_counts_are_other_data() {
        let own = purchases(&shop([1, 2], [1, 2]));
        assert_eq!(own, purchases(&shop([1, 2], [1, 2])));
        assert_ne!(own, purchases(&shop([1, 3], [1, 2])));
        assert_ne!(own, purchases(&shop([1, 2], [1, 3])));
        let told = |kind| {
            let deed = Deed { time: 1, item: ItemIdx(1), order: 0, kind };
            let journey = Journey { user: Some(UserIdx(0)), deeds: vec![deed] };
            deeds(&shop([1, 2], [1, 2]).with_journeys(Arc::new(vec![journey])))
        };
        assert_ne!(told(EventKind::View), told(EventKind::AddToCart));
    }
}
