//! A recurrent network over the shopper's sequence: what comes next, from a state that each step changes.
//!
//! GRU4Rec (Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016), with an LSTM in
//! place of the GRU where the settings say so. Beside [`crate::sasrec`] for comparison: reading, objective, training and
//! answers are the same, and only what reads the tokens is another.
//!
//! Departures: sequences are whole histories, packed, in place of session-parallel batches cut off after each
//! step; cross-entropy over the catalogue (or against shared uniform negatives) in place of TOP1 and BPR-max; embeddings are
//! shared between input and output, with layer norm before the latter; AdamW. And, as in `sasrec`, orders without an order
//! within, buying again and what sells now as parts of the score, each of which may be left out.

use qhatu_nn::operation::recurrent::Cell;
use serde::{Deserialize, Serialize};

use crate::sequence::{
    ActWeights, Augmentation, Encoder, Inputs, Learning, Objective, Reading, SequenceConfig, SequenceModel,
    Settings, Steps,
};

/// The fitted model.
pub type Gru4Rec = SequenceModel<Config>;

/// The name in settings and files.
pub const NAME: &str = "gru4rec";

/// Hyper-parameters; names as in [`crate::sasrec::Config`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Columns of embeddings and states.
    pub hidden_size: usize,
    /// Recurrent layers, one above another.
    pub num_hidden_layers: usize,
    /// Their cell.
    pub cell: Cell,
    /// The last so many purchases are looked at.
    pub max_length: usize,
    /// Dropout of embeddings and layers.
    pub hidden_dropout_prob: f32,
    /// Share of the items that are left out of what is read, in training.
    pub item_dropout_prob: f32,
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
    /// Pieces into which each part of these is cut, one after another in memory. The result is the same but for the last digits
    /// where nothing is drawn; dropout and sampled negatives are drawn for each piece, so that with them it is another training.
    pub accumulation_steps: usize,
    /// Most epochs.
    pub epochs: u32,
    /// Epochs without improvement after which training stops.
    pub patience: u32,
    /// Days at the end of the data on which early stopping looks.
    pub validation_days: f64,
    /// Whether a second training, as long as the best, learns from these days too; without it the best epoch is the
    /// model.
    pub refit: bool,
    /// Days after which an order counts half in training; 0: all count alike.
    pub recency_half_life_days: f64,
    /// What is bought within so many days should be named; 0: the next order only.
    pub horizon_days: f64,
    /// Parts of a batch that threads work on; changes results in the last digits.
    pub parts: usize,
    /// What a step of the sequence is.
    pub steps: Steps,
    /// Whether buying again is a part of the score by itself.
    pub repeats: bool,
    /// Whether what sells now is.
    pub trend: bool,
    /// What an item is known by.
    pub inputs: Inputs,
    /// What a question for each act counts in training, with `inputs.event_kind`.
    pub act_weights: ActWeights,
    /// How histories are changed in training.
    pub augmentation: Augmentation,
    /// What is learned; sampled objectives want `repeats` and `trend` off.
    pub objective: Objective,
    /// Negatives of a sampled objective, shared by a part of a batch.
    pub negatives: usize,
    /// gBCE's calibration: 0 is BCE, 1 fully calibrated.
    pub gbce_t: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hidden_size: 64,
            num_hidden_layers: 1,
            cell: Cell::Gru,
            max_length: 128,
            hidden_dropout_prob: 0.5,
            item_dropout_prob: 0.3,
            learning_rate: 1e-3,
            weight_decay: 0.05,
            warmup_steps: 100,
            max_grad_norm: 1.0,
            ema_decay: 0.99,
            batch_size: 64,
            accumulation_steps: 1,
            epochs: 12,
            patience: 3,
            validation_days: 28.0,
            refit: true,
            recency_half_life_days: 60.0,
            horizon_days: 28.0,
            parts: 4,
            steps: Steps::Orders,
            repeats: true,
            trend: true,
            inputs: Inputs::default(),
            act_weights: ActWeights::default(),
            augmentation: Augmentation::default(),
            objective: Objective::Softmax,
            negatives: 256,
            gbce_t: 0.75,
        }
    }
}

impl SequenceConfig for Config {
    const NAME: &'static str = NAME;

    fn settings(&self) -> Settings {
        Settings {
            name: NAME,
            hidden_size: self.hidden_size,
            max_length: self.max_length,
            hidden_dropout_prob: self.hidden_dropout_prob,
            item_dropout_prob: self.item_dropout_prob,
            reading: Reading::Next(self.steps),
            inputs: self.inputs,
            act_weights: self.act_weights,
            augmentation: self.augmentation,
            encoder: Encoder::Recurrent { cell: self.cell, layers: self.num_hidden_layers },
            objective: self.objective,
            negatives: self.negatives,
            gbce_t: self.gbce_t,
            repeats: self.repeats,
            trend: self.trend,
            learning: Learning {
                learning_rate: self.learning_rate,
                weight_decay: self.weight_decay,
                warmup_steps: self.warmup_steps,
                max_grad_norm: self.max_grad_norm,
                ema_decay: self.ema_decay,
                batch_size: self.batch_size,
                accumulation_steps: self.accumulation_steps,
                epochs: self.epochs,
                patience: self.patience,
                validation_days: self.validation_days,
                refit: self.refit,
                recency_half_life_days: self.recency_half_life_days,
                horizon_days: self.horizon_days,
                parts: self.parts,
            },
        }
    }
}
