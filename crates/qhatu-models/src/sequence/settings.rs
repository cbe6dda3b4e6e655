//! The settings of a sequence model as its network and its training take them, and their check.

use serde::{Deserialize, Serialize};

use super::augmentation::Augmentation;
use super::example::Query;
use super::inputs::Inputs;
use super::kinds::ActWeights;
use crate::error::ModelError;
use qhatu_nn::operation::recurrent::Cell;

/// What a step of the sequence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Steps {
    /// An order: its items have no order among themselves, and a query between two orders names the next one.
    #[default]
    Orders,
    /// An item, as in the papers and their protocols: each names the next one.
    Items,
}

/// By what two tokens are apart, for attention's bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// The time between them: whether something is due again is a matter of weeks.
    #[default]
    Time,
    /// The steps between them, for sequences that have an order and no times.
    Steps,
}

/// What is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Cross-entropy over the whole catalogue.
    #[default]
    Softmax,
    /// Cross-entropy against sampled negatives, with the correction of sampling.
    SampledSoftmax,
    /// Binary cross-entropy against sampled negatives, calibrated (gSASRec).
    Gbce,
}

/// How a history is read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Reading {
    /// What comes next, from what came before.
    Next(Steps),
    /// What is hidden, from both sides; each item is hidden with this probability.
    Hidden(f32),
}

/// What reads the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Encoder {
    /// Transformer blocks.
    Attention {
        /// How many.
        layers: usize,
        /// Heads of each.
        heads: usize,
        /// Inner width of the feed-forward layers.
        intermediate_size: usize,
        /// Dropout of the probabilities.
        dropout: f32,
        /// What the bias goes by.
        distance: Distance,
    },
    /// Recurrent cells, one above another.
    Recurrent {
        /// Which.
        cell: Cell,
        /// How many.
        layers: usize,
    },
}

/// How it is trained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Learning {
    /// AdamW's rate after the warm-up.
    pub learning_rate: f32,
    /// AdamW's decay of weights.
    pub weight_decay: f32,
    /// Steps in which the learning rate rises.
    pub warmup_steps: u32,
    /// Longest gradient; 0 for no clipping.
    pub max_grad_norm: f32,
    /// Share of the parameters' moving average that stays from step to step.
    pub ema_decay: f32,
    /// Shoppers of a step.
    pub batch_size: usize,
    /// Pieces into which a step's shoppers are cut, one after another in memory.
    pub accumulation_steps: usize,
    /// Most epochs.
    pub epochs: u32,
    /// Epochs without improvement after which training stops.
    pub patience: u32,
    /// Days at the end of the data on which early stopping looks.
    pub validation_days: f64,
    /// Whether a second training learns from these days too.
    pub refit: bool,
    /// Days after which a step counts half; 0: all count alike.
    pub recency_half_life_days: f64,
    /// What is bought within so many days should be named; 0: the next order only. For orders.
    pub horizon_days: f64,
    /// Parts of a batch that threads work on.
    pub parts: usize,
}

/// Everything.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Settings {
    /// The model.
    pub name: &'static str,
    /// Columns of embeddings and encoder.
    pub hidden_size: usize,
    /// The last so many purchases are looked at.
    pub max_length: usize,
    /// Dropout of embeddings and layers.
    pub hidden_dropout_prob: f32,
    /// Share of the items that are left out of what is read, in training.
    pub item_dropout_prob: f32,
    /// How a history is read.
    pub reading: Reading,
    /// What an item is known by.
    pub inputs: Inputs,
    /// What a question for each act counts, where acts are read.
    pub act_weights: ActWeights,
    /// How histories are changed in training.
    pub augmentation: Augmentation,
    /// What reads it.
    pub encoder: Encoder,
    /// What is learned.
    pub objective: Objective,
    /// Negatives that a part of a batch shares, where they are sampled.
    pub negatives: usize,
    /// gBCE's calibration, 0 (BCE) to 1.
    pub gbce_t: f32,
    /// Whether buying again is a part of the score by itself.
    pub repeats: bool,
    /// Whether what sells now is.
    pub trend: bool,
    /// How it is trained.
    pub learning: Learning,
}

impl Settings {
    /// What a query counts beside others.
    pub(super) fn weight_of(&self, query: &Query) -> f32 {
        if self.inputs.event_kind { self.act_weights.of(query.act) } else { 1.0 }
    }

    /// How many layers there are, and of how many weights each at least.
    pub(super) fn layers(&self) -> (usize, usize) {
        let width = self.hidden_size;
        match self.encoder {
            Encoder::Attention { layers, intermediate_size, .. } => {
                (layers, 4 * width * width + 2 * width * intermediate_size)
            }
            Encoder::Recurrent { layers, .. } => (layers, 6 * width * width),
        }
    }

    /// Refuses what makes no sense.
    pub(super) fn check(&self) -> Result<(), ModelError> {
        self.check_network()?;
        self.check_inputs()?;
        self.check_objective()?;
        self.check_learning()
    }

    fn fault(&self, key: &'static str, value: impl ToString, hint: &'static str) -> Result<(), ModelError> {
        Err(ModelError::Setting { model: self.name, key, value: value.to_string(), hint })
    }

    fn check_network(&self) -> Result<(), ModelError> {
        if !(1..=4096).contains(&self.hidden_size) {
            return self.fault(
                "hidden_size",
                self.hidden_size,
                "1 to 4096, and intermediate_size 1 to 65536",
            );
        }
        let layers = match self.encoder {
            Encoder::Attention { layers, heads, intermediate_size, dropout, .. } => {
                if !(1..=65_536).contains(&intermediate_size) {
                    return self.fault("intermediate_size", intermediate_size, "1 to 65536");
                }
                if heads == 0 || !self.hidden_size.is_multiple_of(heads) {
                    return self.fault("num_attention_heads", heads, "a divisor of hidden_size");
                }
                if !share(dropout) {
                    return self.fault("attention_probs_dropout_prob", dropout, "0 to below 1");
                }
                layers
            }
            Encoder::Recurrent { layers: 0, .. } => {
                return self.fault("num_hidden_layers", 0, "at least 1, for a recurrent network");
            }
            Encoder::Recurrent { layers, .. } => layers,
        };
        if layers > 64 {
            return self.fault("num_hidden_layers", layers, "at most 64");
        }
        if self.learning.epochs == 0 {
            return self.fault(
                "epochs",
                0,
                "at least one; early stopping ends most trainings before the last",
            );
        }
        if !(1..=16_384).contains(&self.max_length) {
            return self.fault("max_length", self.max_length, "1 to 16384 purchases");
        }
        if !share(self.item_dropout_prob) {
            return self.fault("item_dropout_prob", self.item_dropout_prob, "0 to below 1");
        }
        if !share(self.hidden_dropout_prob) {
            return self.fault("hidden_dropout_prob", self.hidden_dropout_prob, "0 to below 1");
        }
        Ok(())
    }

    fn check_inputs(&self) -> Result<(), ModelError> {
        self.check_acts()?;
        let Inputs { item_id, id_dropout_prob, time_gap, .. } = self.inputs;
        if time_gap && self.reading == Reading::Next(Steps::Orders) {
            let hint = "with items as steps or hidden items; a query between orders knows its gap as it is";
            return self.fault("inputs.time_gap", time_gap, hint);
        }
        if let Some((key, value)) = self.augmentation.shares().into_iter().find(|(_, value)| !chance(*value))
        {
            return self.fault(key, value, "a probability, 0 to 1");
        }
        if !share(id_dropout_prob) {
            return self.fault("inputs.id_dropout_prob", id_dropout_prob, "0 to below 1, such as 0.2");
        }
        if id_dropout_prob > 0.0 && !self.inputs.has_sides() {
            let hint = "with text, category or price_band beside the item's own vector only; set it to 0";
            return self.fault("inputs.id_dropout_prob", id_dropout_prob, hint);
        }
        if !item_id && !self.inputs.has_sides() {
            return self.fault("inputs.item_id", item_id, "true, or one of text, category and price_band is");
        }
        Ok(())
    }

    fn check_acts(&self) -> Result<(), ModelError> {
        if !self.inputs.event_kind {
            return Ok(());
        }
        if self.reading == Reading::Next(Steps::Orders) {
            let hint = "with steps = \"items\", for each event is a step then; or set it to false";
            return self.fault("inputs.event_kind", true, hint);
        }
        let weight = |(_, weight): &(_, f32)| !(0.0..=1e6).contains(weight);
        if let Some((key, value)) = self.act_weights.each().into_iter().find(weight) {
            return self.fault(key, value, "0 (not asked) or more, such as 0.2");
        }
        if self.act_weights.bought <= 0.0 {
            return self.fault(
                "act_weights.bought",
                self.act_weights.bought,
                "above 0: it is what is answered",
            );
        }
        match self.augmentation.shares().into_iter().find(|(_, share)| *share > 0.0) {
            Some((key, value)) => {
                self.fault(key, value, "0 with inputs.event_kind: orders are moved, not events")
            }
            None => Ok(()),
        }
    }

    fn check_objective(&self) -> Result<(), ModelError> {
        if let Reading::Hidden(rate) = self.reading
            && !(rate > 0.0 && rate < 1.0)
        {
            return self.fault("mask_prob", rate, "above 0 and below 1, such as 0.2");
        }
        if self.objective == Objective::Softmax {
            return Ok(());
        }
        if !(1..=1_000_000).contains(&self.negatives) {
            return self.fault("negatives", self.negatives, "1 to 1000000, such as 256");
        }
        if !(0.0..=1.0).contains(&self.gbce_t) {
            return self.fault("gbce_t", self.gbce_t, "0 to 1, such as 0.75");
        }
        if self.repeats || self.trend {
            let hint = "with objective \"softmax\" only; set repeats = false and trend = false";
            return self.fault("repeats, trend", format!("{}, {}", self.repeats, self.trend), hint);
        }
        Ok(())
    }

    fn check_learning(&self) -> Result<(), ModelError> {
        let learning = &self.learning;
        if !share(learning.ema_decay) {
            return self.fault("ema_decay", learning.ema_decay, "0 to below 1, such as 0.99");
        }
        if !(0.0..36_525.0).contains(&learning.horizon_days) {
            return self.fault("horizon_days", learning.horizon_days, "0 or a number of days, such as 28");
        }
        if !(learning.learning_rate > 0.0 && learning.learning_rate < 1.0) {
            return self.fault("learning_rate", learning.learning_rate, "above 0 and below 1, such as 0.001");
        }
        if !(learning.validation_days > 0.0 && learning.validation_days < 36_525.0) {
            return self.fault(
                "validation_days",
                learning.validation_days,
                "a number of days above 0, such as 28",
            );
        }
        if !(1..=256).contains(&learning.parts) {
            return self.fault("parts", learning.parts, "1 to 256");
        }
        if !(1..=4096).contains(&learning.accumulation_steps) {
            return self.fault("accumulation_steps", learning.accumulation_steps, "1 to 4096");
        }
        Ok(())
    }
}

fn share(rate: f32) -> bool {
    (0.0..1.0).contains(&rate)
}

fn chance(rate: f32) -> bool {
    (0.0..=1.0).contains(&rate)
}
