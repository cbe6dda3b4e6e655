//! What the models of a shopper's sequence share: how a history becomes tokens, the network around their encoder,
//! the objective, the training loop, and the answers. A model is a [`SequenceConfig`]: its published settings, and
//! what they mean as [`Settings`].
//!
//! ```text
//! history ─ reading ─► tokens ─ items' vectors ─► encoder ─► states of the queries ─ same vectors ─► logits
//!                                                                                   + own + trend
//! ```
//!
//! * The reading says what a token is and what is asked ([`Reading`]): orders without an order within, one item after
//!   another, or items of which some are hidden.
//! * The encoder is attention (causal, or in both directions for hidden items) or a recurrent cell ([`Encoder`]).
//! * In place of learned positions, attention has a bias by the time or the number of steps between two tokens.
//! * An item is known by its own vector, and by what its text, categories and price say ([`Inputs`]).
//! * The objective is the full softmax, or one against sampled negatives ([`Objective`]).
//! * Buying again is a part of the score by itself (`own`), and so is what sells now (`trend`); each may be left out.
//! * Sequences are packed without padding.

mod checkpoint;
mod encoder;
mod example;
mod inputs;
mod network;
mod own;
mod settings;
mod training;
mod trend;

use std::ops::ControlFlow;

use qhatu_nn::Parameters;
use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::example::Example;
pub use self::inputs::Inputs;
use self::network::{Network, Space};
pub use self::settings::{Distance, Encoder, Learning, Objective, Reading, Settings, Steps};
pub use self::training::{Context, Progress};
use self::trend::{SIGNS, combined};
use crate::error::{ModelError, misfit};
use crate::interactions::Interactions;
use crate::recommender::{self, History, Reason, Recommender, Scored, top_k};

/// The published settings of one of these models.
pub trait SequenceConfig: Serialize + DeserializeOwned + Clone + Send + Sync + std::fmt::Debug {
    /// The model's name in settings and files.
    const NAME: &'static str;

    /// What they mean.
    fn settings(&self) -> Settings;
}

/// The fitted model of a configuration.
#[derive(Debug)]
pub struct SequenceModel<C> {
    config: C,
    settings: Settings,
    network: Network,
    parameters: Parameters,
    /// How often each item was bought, from item 1.
    counts: Vec<u32>,
    /// Whether anything is known of it: it was bought, or something is said of it.
    known: Vec<bool>,
    /// What sold at the end of the data: see [`trend`]; empty without a trend.
    signs: Vec<f32>,
    /// Bias of each item at the end of the data.
    biases: Vec<f32>,
}

impl<C: SequenceConfig> SequenceModel<C> {
    /// Trains without a checkpoint, to the end. The same data, configuration and seed give the same model
    /// to the bit.
    ///
    /// # Errors
    /// For settings that make no sense, and where the loss is no number any more.
    pub fn fit(data: &Interactions, config: &C, seed: u64) -> Result<Self, ModelError> {
        let progress = &mut |_: &Progress| ControlFlow::Continue(());
        Self::fit_with(data, config, seed, &mut Context { checkpoint: None, progress })
    }

    /// Trains, going on from the checkpoint where there is one. The result is the same as that of
    /// [`SequenceModel::fit`].
    ///
    /// # Errors
    /// As [`SequenceModel::fit`]; where the checkpoint cannot be written or used; where progress says to stop.
    pub fn fit_with(
        data: &Interactions,
        config: &C,
        seed: u64,
        context: &mut Context,
    ) -> Result<Self, ModelError> {
        let settings = config.settings();
        settings.check()?;
        let (network, parameters, signs) = training::train(data, &settings, seed, context)?;
        let mut counts = vec![0_u32; data.items()];
        for item in data.sequences.iter().flat_map(|sequence| &sequence.items) {
            counts[item.row() - 1] = counts[item.row() - 1].saturating_add(1);
        }
        Ok(Self::new(config.clone(), (network, parameters), counts, signs))
    }

    /// Loads what [`Recommender::save`] gave.
    ///
    /// # Errors
    /// Where the file does not hold it, or its parts are of different catalogues.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let config: C = recommender::config(C::NAME, file)?;
        let settings = config.settings();
        settings.check()?;
        let counts = file.u32("counts")?.to_vec();
        // Before anything is made in the size that the settings ask for.
        if file.f32("items.weight")?.len() != (counts.len() + 1) * settings.hidden_size {
            return Err(misfit(C::NAME, "its embeddings are not as many as its items"));
        }
        let (network, mut parameters) = Network::new(&settings, counts.len(), qhatu_nn::Stream::new(0));
        parameters.load(file)?;
        let mut signs = Vec::new();
        if settings.trend {
            signs = file.f32("trend.signs")?.to_vec();
            if signs.len() != counts.len() * SIGNS || !signs.iter().all(|sign| sign.is_finite()) {
                return Err(misfit(C::NAME, "its trend is not of its items"));
            }
        }
        Ok(Self::new(config, (network, parameters), counts, signs))
    }

    fn new(
        config: C,
        (network, parameters): (Network, Parameters),
        counts: Vec<u32>,
        signs: Vec<f32>,
    ) -> Self {
        let settings = config.settings();
        let bias = network.item_bias().of(parameters.values());
        let factors = network.trend().map_or(&[][..], |slot| slot.of(parameters.values()));
        let biases = combined(&signs, bias, factors).collect();
        let rows = network.items(parameters.values()).chunks_exact(settings.hidden_size).skip(1);
        let said = |row: &[f32]| settings.inputs.has_sides() && row.iter().any(|number| *number != 0.0);
        let known = counts.iter().zip(rows).map(|(count, row)| *count > 0 || said(row)).collect();
        Self { config, settings, network, parameters, counts, known, signs, biases }
    }

    fn example(&self, history: &History) -> Example {
        Example::new(history, self.counts.len(), &self.settings, true)
    }

    /// The token that says most for an item.
    fn weighs_most(&self, history: &History, item: ItemIdx) -> Option<ItemIdx> {
        let example = self.example(history);
        let values = self.parameters.values();
        let said = self.network.attributions(values, &example, item.row(), &mut Space::default());
        let best = example.tokens.iter().zip(said).max_by(|a, b| a.1.total_cmp(&b.1))?;
        (best.1.is_finite() && *best.0 != example::QUERY).then_some(ItemIdx(*best.0))
    }
}

impl<C: SequenceConfig> Recommender for SequenceModel<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn catalogue_size(&self) -> usize {
        self.counts.len()
    }

    fn score(&self, history: &History, scores: &mut [f32]) {
        recommender::clear(scores, self.counts.len());
        scores[1..].copy_from_slice(&self.biases);
        let example = self.example(history);
        self.network.logits(self.parameters.values(), &[&example], &mut Space::default(), scores);
        to_log_probabilities(&mut scores[1..]);
        let known = scores[1..].iter().zip(&self.known).filter(|(_, known)| **known);
        let floor = known.map(|(score, _)| *score).fold(0.0, f32::min);
        for (score, known) in scores[1..].iter_mut().zip(&self.known) {
            if !known {
                *score = score.min(floor);
            }
        }
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        let table = self.network.items(self.parameters.values());
        if self.known.get(item.row().wrapping_sub(1)).is_none_or(|known| !known) {
            return Vec::new();
        }
        let width = self.settings.hidden_size;
        let own = &table[item.row() * width..][..width];
        let cosines: Vec<f32> = table.chunks_exact(width).map(|row| cosine(own, row)).collect();
        top_k(&cosines, k, |other| other == item || !self.known[other.row() - 1])
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
        let mut file = recommender::new_file(C::NAME, &self.config);
        self.parameters.save(&mut file);
        file.put_u32("counts", &[self.counts.len()], self.counts.clone());
        if self.settings.trend {
            file.put_f32("trend.signs", &[SIGNS, self.counts.len()], self.signs.clone());
        }
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
