//! Hidden items: what stands here, from what came before and after; asked behind the last item, it is what comes next.
//!
//! BERT4Rec (Sun et al., CIKM 2019): the transformer of [`crate::sasrec`] in both directions, trained to name items that are
//! hidden at random (Devlin et al., 2019), and now and then the last one of a beginning alone, for that is what is asked. Petrov
//! and Macdonald ("A Systematic Review and Replicability Study of BERT4Rec", RecSys 2022) found that it wants much longer
//! training than it is usually given. So it is here: on MovieLens-1M (`examples/leave_one_out.rs`, seed 1) the validation
//! items' NDCG@10 was .154 after 103 epochs and still rising, where `sasrec` passes .175 within 40.
//!
//! Departures: a hidden item always becomes the query token; attention has a bias by time or steps, another one for either
//! side, in place of learned positions; no projection before the output. As in `sasrec`: sampled objectives, buying again
//! and what sells now as parts of the score, each of which may be left out.

use serde::{Deserialize, Serialize};

use crate::sequence::{
    ActWeights, Augmentation, Distance, Encoder, Inputs, Learning, Objective, Reading, SequenceConfig,
    SequenceModel, Settings,
};

/// The fitted model.
pub type Bert4Rec = SequenceModel<Config>;

/// The name in settings and files.
pub const NAME: &str = "bert4rec";

/// Hyper-parameters; names as in [`crate::sasrec::Config`].
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
    /// Share of the items that are hidden in training.
    pub mask_prob: f32,
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
    /// Parts of a batch that threads work on; changes results in the last digits.
    pub parts: usize,
    /// What attention's bias goes by.
    pub attention_bias: Distance,
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
            num_hidden_layers: 2,
            num_attention_heads: 2,
            intermediate_size: 128,
            mask_prob: 0.2,
            max_length: 128,
            hidden_dropout_prob: 0.3,
            item_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.1,
            learning_rate: 1e-3,
            weight_decay: 0.05,
            warmup_steps: 100,
            max_grad_norm: 1.0,
            ema_decay: 0.99,
            batch_size: 64,
            accumulation_steps: 1,
            epochs: 40,
            patience: 3,
            validation_days: 28.0,
            refit: true,
            recency_half_life_days: 60.0,
            parts: 4,
            attention_bias: Distance::Time,
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
            reading: Reading::Hidden(self.mask_prob),
            inputs: self.inputs,
            act_weights: self.act_weights,
            augmentation: self.augmentation,
            encoder: Encoder::Attention {
                layers: self.num_hidden_layers,
                heads: self.num_attention_heads,
                intermediate_size: self.intermediate_size,
                dropout: self.attention_probs_dropout_prob,
                distance: self.attention_bias,
            },
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
                horizon_days: 0.0,
                parts: self.parts,
            },
        }
    }
}
