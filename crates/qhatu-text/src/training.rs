//! What pre-training and fine-tuning share: shards, gradients, steps, and a state that goes on after an
//! interruption to the same result.
//!
//! A batch is cut into [`SHARDS`] parts of sequences, whatever the number of threads, each with gradients of
//! its own that are added in order: so the result depends on the seed alone. Memory: weights ×
//! (1 + 2 moments + SHARDS gradients) floats, what the passes keep of a batch, and the tokens of all texts.

use std::path::Path;

use qhatu_nn::tensor_file::{TensorFile, TensorFileError};
use qhatu_nn::{AdamW, AdamWConfig, Decay, Schedule, clip};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::bert::{Bert, BertSaved};
use crate::file::{read_bounded, write_whole};
use crate::{Batch, Encoding, TextError};

/// Parts of a batch that are computed side by side.
pub(crate) const SHARDS: usize = 2;
const MOST_BYTES: u64 = 16 << 30;
const WHAT: &str = "training";
const WEIGHTS: &str = "weights/";

/// How weights move; the same for pre-training and fine-tuning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Times that every text or pair is seen.
    pub epochs: u32,
    /// Texts or pairs of a step.
    pub batch_size: usize,
    /// The highest learning rate.
    pub learning_rate: f32,
    /// Share of the steps in which it rises to that; it falls to 0 in a straight line afterwards.
    pub warm_up: f32,
    /// Weight decay of AdamW.
    pub weight_decay: f32,
    /// Longest gradient; 0 for no bound.
    pub max_grad_norm: f32,
    /// Longest text in tokens.
    pub max_length: usize,
    /// What all random numbers come from.
    pub seed: u64,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            epochs: 1,
            batch_size: 32,
            learning_rate: 5e-5,
            warm_up: 0.1,
            weight_decay: 0.01,
            max_grad_norm: 1.0,
            max_length: 64,
            seed: 1,
        }
    }
}

impl TrainingConfig {
    pub(crate) fn check(&self) -> Result<(), TextError> {
        let fault = |setting, value: String, fault: &str| {
            Err(TextError::Setting { setting, value, fault: fault.to_owned() })
        };
        if self.epochs == 0 {
            return fault("epochs", "0".to_owned(), "it must be 1 at least, or nothing is learned");
        }
        if self.batch_size == 0 || self.batch_size > 65_536 {
            return fault("batch_size", self.batch_size.to_string(), "it must lie between 1 and 65536");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate < 1.0) {
            return fault("learning_rate", self.learning_rate.to_string(), "it must lie between 0 and 1");
        }
        if !(0.0..=1.0).contains(&self.warm_up) {
            return fault("warm_up", self.warm_up.to_string(), "it is a share, 0 to 1");
        }
        if self.max_length < 3 {
            return fault("max_length", self.max_length.to_string(), "it must be 3 at least");
        }
        Ok(())
    }
}

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done, of all.
    pub step: u32,
    /// Steps in all.
    pub steps: u32,
    /// The step's mean loss.
    pub loss: f64,
}

/// What the caller wants after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Continue,
    /// Stop here; what was trained stays.
    Stop,
}

/// Optimizer, gradients and place in a training.
#[derive(Debug)]
pub(crate) struct Training {
    pub(crate) config: TrainingConfig,
    schedule: Schedule,
    optimizer: AdamW,
    gradients: Vec<Vec<f32>>,
    /// Which training this is: a state of another is not taken.
    what: String,
}

/// A shard's sequences, and room to work.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    pub(crate) batch: Batch,
    pub(crate) saved: BertSaved,
    pub(crate) d: Vec<f32>,
}

impl Training {
    /// Before the first step of a training over `examples` texts or pairs; `what` tells it from others.
    pub(crate) fn new(
        bert: &Bert,
        config: TrainingConfig,
        examples: usize,
        what: String,
    ) -> Result<Self, TextError> {
        config.check()?;
        let steps = steps_per_epoch(examples, config.batch_size).saturating_mul(config.epochs);
        let schedule = Schedule {
            peak: config.learning_rate,
            floor: 0.0,
            warm_up: (steps as f32 * config.warm_up) as u32,
            total: steps,
            decay: Decay::Linear,
        };
        let adamw = AdamWConfig { weight_decay: config.weight_decay, ..AdamWConfig::default() };
        let optimizer = AdamW::new(bert.parameters(), adamw);
        let gradients = vec![vec![0.0; bert.parameters().len()]; SHARDS];
        Ok(Self { config, schedule, optimizer, gradients, what })
    }

    /// Steps done, and steps in all.
    pub(crate) fn place(&self) -> (u32, u32) {
        (self.optimizer.steps(), self.schedule.total)
    }

    /// Work on each shard with its gradients, side by side.
    pub(crate) fn each_shard<T: Send>(
        &mut self,
        shards: &mut [Shard],
        work: impl Fn(usize, &mut Shard, &mut [f32]) -> T + Sync,
    ) -> Vec<T> {
        let both = shards.par_iter_mut().zip(&mut self.gradients).enumerate();
        both.map(|(place, (shard, gradients))| work(place, shard, gradients)).collect()
    }

    /// One step of the weights along the shards' gradients, which are 0 afterwards.
    pub(crate) fn step(&mut self, bert: &mut Bert) {
        let (first, rest) = self.gradients.split_at_mut(1);
        let sum = &mut first[0];
        for other in rest {
            sum.par_chunks_mut(1 << 16).zip(other.par_chunks_mut(1 << 16)).for_each(|(sum, other)| {
                sum.iter_mut().zip(&*other).for_each(|(sum, value)| *sum += value);
                other.fill(0.0);
            });
        }
        let scale = clip::scale(clip::global_norm(sum), self.config.max_grad_norm);
        let rate = self.schedule.rate(self.optimizer.steps());
        self.optimizer.step(bert.parameters_mut(), sum, rate, scale);
        sum.par_chunks_mut(1 << 16).for_each(|part| part.fill(0.0));
    }

    /// Writes weights, moments and place.
    pub(crate) fn save(&self, bert: &Bert, path: &Path) -> Result<(), TextError> {
        let mut file = TensorFile::default();
        file.settings.insert(WHAT.to_owned(), self.what.clone());
        let parameters = bert.parameters();
        parameters.put(&mut file, WEIGHTS, parameters.values());
        self.optimizer.save(parameters, &mut file);
        let bytes = file.to_bytes().map_err(|fault| TextError::file(path.display().to_string(), fault))?;
        write_whole(path, &bytes)
    }

    /// Takes up where [`Training::save`] left off. A state of a training with other settings, texts or
    /// model is refused.
    pub(crate) fn load(&mut self, bert: &mut Bert, path: &Path) -> Result<(), TextError> {
        let fault = |fault: TensorFileError| TextError::file(path.display().to_string(), fault);
        let file = TensorFile::from_bytes(&read_bounded(path, MOST_BYTES)?).map_err(fault)?;
        if file.settings.get(WHAT) != Some(&self.what) {
            let text = "is the state of another training (texts, settings or model differ); \
                        remove it to begin anew";
            return Err(TextError::file(path.display().to_string(), text));
        }
        self.optimizer.load(bert.parameters(), &file).map_err(fault)?;
        let mut values = bert.parameters().values().to_vec();
        bert.parameters().take(&file, WEIGHTS, &mut values).map_err(fault)?;
        bert.parameters_mut().values_mut().copy_from_slice(&values);
        Ok(())
    }
}

/// Steps of an epoch; the last one may be smaller.
pub(crate) fn steps_per_epoch(examples: usize, batch_size: usize) -> u32 {
    u32::try_from(examples.div_ceil(batch_size.max(1))).unwrap_or(u32::MAX)
}

/// Cuts sequences into shards of about equal numbers of sequences.
pub(crate) fn fill_shards(
    shards: &mut [Shard],
    sequences: &[Encoding],
    bert: &Bert,
) -> Result<(), TextError> {
    let each = sequences.len().div_ceil(shards.len().max(1)).max(1);
    for (place, shard) in shards.iter_mut().enumerate() {
        let from = (place * each).min(sequences.len());
        let to = (from + each).min(sequences.len());
        shard.batch = Batch::new(&sequences[from..to], bert.config())?;
    }
    Ok(())
}
