//! Attention over the shopper's sequence: what comes next, from everything they did before, each
//! purchase weighed by what it is and how long ago it was.
//!
//! SASRec (Kang and McAuley, ICDM 2018): item embeddings, causal transformer blocks, and the product of
//! the last state with the same embeddings as the score; trained with cross-entropy over the whole catalogue
//! instead of sampled negatives (Klenitskiy and Vasilev, "Turning Dross Into Gold Loss", RecSys 2023).
//!
//! Departures, for shops where people buy baskets:
//! * The items of an order have no order among themselves; queries between the orders name the whole next
//!   order (`example`).
//! * In place of learned positions, attention has a bias by the time between two purchases: whether
//!   something is due again is a matter of weeks, not of places in a list. A query knows how long ago
//!   the last order was.
//! * Sequences are packed without padding.
//! * Buying again is a part of the score by itself (`own`), and so is what sells now (`trend`).

mod checkpoint;
mod example;
mod network;
mod own;
mod training;
mod trend;

use std::ops::ControlFlow;

use qhatu_nn::Parameters;
use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;
use serde::{Deserialize, Serialize};

use self::example::Example;
use self::network::{Network, Space};
pub use self::training::{Context, Progress};
use self::trend::{SIGNS, combined};
use crate::error::{ModelError, misfit};
use crate::interactions::Interactions;
use crate::recommender::{self, History, Reason, Recommender, Scored, top_k};

/// The name in settings and files.
pub const NAME: &str = "sasrec";

/// Hyper-parameters, with the names of published `config.json` files where they have one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Columns of embeddings and blocks.
    pub hidden_size: usize,
    /// Transformer blocks.
    pub num_hidden_layers: usize,
    /// Heads of each; must divide `hidden_size`.
    pub num_attention_heads: usize,
    /// Inner width of the feed-forward layers.
    pub intermediate_size: usize,
    /// The last so many purchases are looked at.
    pub max_length: usize,
    /// Dropout of embeddings and layers.
    pub hidden_dropout_prob: f32,
    /// Share of the items that are left out of what is read, in training.
    pub item_dropout_prob: f32,
    /// Dropout of attention.
    pub attention_probs_dropout_prob: f32,
    /// AdamW's rate after the warm-up.
    pub learning_rate: f32,
    /// AdamW's decay of weights.
    pub weight_decay: f32,
    /// Steps in which the learning rate rises.
    pub warmup_steps: u32,
    /// Longest gradient; 0 for no clipping.
    pub max_grad_norm: f32,
    /// Share of the parameters' moving average that stays from step to step; 0: the last step's are taken.
    pub ema_decay: f32,
    /// Shoppers of a step.
    pub batch_size: usize,
    /// Most epochs.
    pub epochs: u32,
    /// Epochs without improvement after which training stops.
    pub patience: u32,
    /// Days at the end of the data on which early stopping looks.
    pub validation_days: f64,
    /// Days after which an order counts half in training; 0: all count alike.
    pub recency_half_life_days: f64,
    /// What is bought within so many days should be named; 0: the next order only.
    pub horizon_days: f64,
    /// Parts of a batch that threads work on; changes results in the last digits.
    pub parts: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hidden_size: 64,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            intermediate_size: 128,
            max_length: 128,
            hidden_dropout_prob: 0.5,
            item_dropout_prob: 0.3,
            attention_probs_dropout_prob: 0.1,
            learning_rate: 5e-4,
            weight_decay: 0.05,
            warmup_steps: 100,
            max_grad_norm: 1.0,
            ema_decay: 0.99,
            batch_size: 64,
            epochs: 12,
            patience: 3,
            validation_days: 28.0,
            recency_half_life_days: 60.0,
            horizon_days: 28.0,
            parts: 4,
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), ModelError> {
        let fault = |key: &'static str, value: String, hint: &'static str| {
            Err(ModelError::Setting { model: NAME, key, value, hint })
        };
        let heads = self.num_attention_heads;
        let whole = (1..=4096).contains(&self.hidden_size) && (1..=65_536).contains(&self.intermediate_size);
        let share = |rate: f32| (0.0..1.0).contains(&rate);
        if !whole {
            return fault(
                "hidden_size",
                self.hidden_size.to_string(),
                "1 to 4096, and intermediate_size 1 to 65536",
            );
        }
        if heads == 0 || !self.hidden_size.is_multiple_of(heads) {
            return fault("num_attention_heads", heads.to_string(), "a divisor of hidden_size");
        }
        if self.num_hidden_layers > 64 {
            return fault("num_hidden_layers", self.num_hidden_layers.to_string(), "at most 64");
        }
        if !(1..=16_384).contains(&self.max_length) {
            return fault("max_length", self.max_length.to_string(), "1 to 16384 purchases");
        }
        if !share(self.ema_decay) {
            return fault("ema_decay", self.ema_decay.to_string(), "0 to below 1, such as 0.99");
        }
        if !share(self.item_dropout_prob) {
            return fault("item_dropout_prob", self.item_dropout_prob.to_string(), "0 to below 1");
        }
        if !(0.0..36_525.0).contains(&self.horizon_days) {
            return fault("horizon_days", self.horizon_days.to_string(), "0 or a number of days, such as 28");
        }
        if !share(self.hidden_dropout_prob) || !share(self.attention_probs_dropout_prob) {
            return fault(
                "hidden_dropout_prob",
                self.hidden_dropout_prob.to_string(),
                "0 to below 1, as attention_probs_dropout_prob",
            );
        }
        if !(self.learning_rate > 0.0 && self.learning_rate < 1.0) {
            return fault(
                "learning_rate",
                self.learning_rate.to_string(),
                "above 0 and below 1, such as 0.001",
            );
        }
        if !(self.validation_days > 0.0 && self.validation_days < 36_525.0) {
            return fault(
                "validation_days",
                self.validation_days.to_string(),
                "a number of days above 0, such as 28",
            );
        }
        if !(1..=256).contains(&self.parts) {
            return fault("parts", self.parts.to_string(), "1 to 256");
        }
        Ok(())
    }
}

/// The fitted model.
#[derive(Debug)]
pub struct SasRec {
    config: Config,
    network: Network,
    parameters: Parameters,
    /// How often each item was bought, from item 1.
    counts: Vec<u32>,
    /// What sold at the end of the data: see [`trend`].
    signs: Vec<f32>,
    /// Bias of each item at the end of the data.
    biases: Vec<f32>,
}

impl SasRec {
    /// Trains without a checkpoint, to the end. The same data, configuration and seed give the same model
    /// to the bit.
    ///
    /// # Errors
    /// For settings that make no sense, and where the loss is no number any more.
    pub fn fit(data: &Interactions, config: &Config, seed: u64) -> Result<Self, ModelError> {
        let progress = &mut |_: &Progress| ControlFlow::Continue(());
        Self::fit_with(data, config, seed, &mut Context { checkpoint: None, progress })
    }

    /// Trains, going on from the checkpoint where there is one. The result is the same as that of
    /// [`SasRec::fit`].
    ///
    /// # Errors
    /// As [`SasRec::fit`]; where the checkpoint cannot be written or used; where progress says to stop.
    pub fn fit_with(
        data: &Interactions,
        config: &Config,
        seed: u64,
        context: &mut Context,
    ) -> Result<Self, ModelError> {
        config.check()?;
        let (network, parameters, signs) = training::train(data, config, seed, context)?;
        let mut counts = vec![0_u32; data.items()];
        for item in data.sequences.iter().flat_map(|sequence| &sequence.items) {
            counts[item.row() - 1] = counts[item.row() - 1].saturating_add(1);
        }
        Ok(Self::new(*config, (network, parameters), counts, signs))
    }

    /// Loads what [`Recommender::save`] gave.
    ///
    /// # Errors
    /// Where the file does not hold it, or its parts are of different catalogues.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let config: Config = recommender::config(NAME, file)?;
        config.check()?;
        let counts = file.u32("counts")?.to_vec();
        // Before anything is made in the size that the settings ask for.
        if file.f32("items.weight")?.len() != (counts.len() + 1) * config.hidden_size {
            return Err(misfit(NAME, "its embeddings are not as many as its items"));
        }
        let (network, mut parameters) = Network::new(&config, counts.len(), qhatu_nn::Stream::new(0));
        parameters.load(file)?;
        let signs = file.f32("trend.signs")?.to_vec();
        if signs.len() != counts.len() * SIGNS || !signs.iter().all(|sign| sign.is_finite()) {
            return Err(misfit(NAME, "its trend is not of its items"));
        }
        Ok(Self::new(config, (network, parameters), counts, signs))
    }

    fn new(
        config: Config,
        (network, parameters): (Network, Parameters),
        counts: Vec<u32>,
        signs: Vec<f32>,
    ) -> Self {
        let [bias, factors] = [network.item_bias(), network.trend()].map(|slot| slot.of(parameters.values()));
        let biases = combined(&signs, bias, factors).collect();
        Self { config, network, parameters, counts, signs, biases }
    }

    fn example(&self, history: &History, ask: bool) -> Example {
        Example::new(history, self.counts.len(), self.config.max_length, ask)
    }

    /// The token that says most for an item.
    fn weighs_most(&self, history: &History, item: ItemIdx) -> Option<ItemIdx> {
        let example = self.example(history, true);
        let values = self.parameters.values();
        let said = self.network.attributions(values, &example, item.row(), &mut Space::default());
        let best = example.tokens.iter().zip(said).max_by(|a, b| a.1.total_cmp(&b.1))?;
        (best.1.is_finite() && *best.0 != example::QUERY).then_some(ItemIdx(*best.0))
    }
}

impl Recommender for SasRec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn catalogue_size(&self) -> usize {
        self.counts.len()
    }

    fn score(&self, history: &History, scores: &mut [f32]) {
        recommender::clear(scores, self.counts.len());
        scores[1..].copy_from_slice(&self.biases);
        let example = self.example(history, true);
        self.network.logits(self.parameters.values(), &example, &mut Space::default(), scores);
        to_log_probabilities(&mut scores[1..]);
        let known = scores[1..].iter().zip(&self.counts).filter(|(_, count)| **count > 0);
        let floor = known.map(|(score, _)| *score).fold(0.0, f32::min);
        for (score, count) in scores[1..].iter_mut().zip(&self.counts) {
            if *count == 0 {
                *score = score.min(floor);
            }
        }
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        let table = self.network.items(self.parameters.values());
        if self.counts.get(item.row().wrapping_sub(1)).is_none_or(|count| *count == 0) {
            return Vec::new();
        }
        let own = &table[item.row() * self.config.hidden_size..][..self.config.hidden_size];
        let cosines: Vec<f32> =
            table.chunks_exact(self.config.hidden_size).map(|row| cosine(own, row)).collect();
        top_k(&cosines, k, |other| other == item || self.counts[other.row() - 1] == 0)
    }

    fn because(&self, history: &History, item: ItemIdx) -> Reason {
        if !(1..=self.counts.len()).contains(&item.row()) {
            return Reason::Popular;
        }
        let own = history.known(self.counts.len()).filter(|(bought, _)| *bought == item);
        let (times, last) = own.fold((0, i64::MIN), |(times, last), (_, time)| (times + 1, last.max(time)));
        if times > 0 {
            return Reason::BoughtBefore { times, last };
        }
        match self.weighs_most(history, item) {
            Some(item) => Reason::Sequence { item },
            None => Reason::Popular,
        }
    }

    fn save(&self) -> TensorFile {
        let mut file = recommender::new_file(NAME, &self.config);
        self.parameters.save(&mut file);
        file.put_u32("counts", &[self.counts.len()], self.counts.clone());
        file.put_f32("trend.signs", &[SIGNS, self.counts.len()], self.signs.clone());
        file
    }
}

/// `ln softmax`, so that a score means the same from shopper to shopper.
fn to_log_probabilities(scores: &mut [f32]) {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = scores.iter().map(|score| (score - top).exp()).sum();
    let whole = top + sum.ln();
    scores.iter_mut().for_each(|score| *score -= whole);
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}
