//! The shape of a BERT, with the names of the published `config.json`.

use qhatu_nn::operation::activation::Activation;
use serde::{Deserialize, Serialize};

use crate::TextError;

/// The shape of a BERT. Absent settings have the values of BERT-base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BertConfig {
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// Width of a token's vector.
    pub hidden_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads of the attention; they share the width.
    pub num_attention_heads: usize,
    /// Width inside the feed-forward part.
    pub intermediate_size: usize,
    /// Its function.
    pub hidden_act: Activation,
    /// Dropout after each part, in training.
    pub hidden_dropout_prob: f32,
    /// Dropout of the attention's probabilities, in training.
    pub attention_probs_dropout_prob: f32,
    /// Longest sequence in tokens.
    pub max_position_embeddings: usize,
    /// Kinds of texts in a sequence (first, second).
    pub type_vocab_size: usize,
    /// Deviation of initial weights.
    pub initializer_range: f32,
    /// Added to the variance before its root.
    pub layer_norm_eps: f32,
    /// Number of the token that fills up.
    pub pad_token_id: u32,
}

impl Default for BertConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3_072,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            pad_token_id: 0,
        }
    }
}

/// More weights than any BERT has (BERT-large: 336 million): 4 GiB of F32.
const MOST_WEIGHTS: usize = 1 << 30;

impl BertConfig {
    /// Reads a `config.json`, or TensorFlow BERT's `bert_config.json`.
    ///
    /// # Errors
    /// Where it is no BERT's, or a setting is outside its range.
    pub fn from_json(text: &[u8]) -> Result<Self, TextError> {
        /// What must be so for the rest to mean what it does here.
        #[derive(Deserialize)]
        struct Kind {
            model_type: Option<String>,
            position_embedding_type: Option<String>,
        }
        let file = |fault: serde_json::Error| TextError::file("config.json", fault);
        let kind: Kind = serde_json::from_slice(text).map_err(file)?;
        if let Some(other) = kind.model_type.filter(|kind| kind != "bert") {
            return Err(setting("model_type", other, "only bert is read here"));
        }
        if let Some(other) = kind.position_embedding_type.filter(|kind| kind != "absolute") {
            return Err(setting("position_embedding_type", other, "only absolute is read here"));
        }
        let config: Self = serde_json::from_slice(text).map_err(file)?;
        config.check()?;
        Ok(config)
    }

    /// Whether a BERT of this shape can be.
    ///
    /// # Errors
    /// [`TextError::Setting`] with the first setting that cannot.
    pub fn check(&self) -> Result<(), TextError> {
        let sizes = [
            ("vocab_size", self.vocab_size, 4 << 20),
            ("hidden_size", self.hidden_size, 16_384),
            ("num_hidden_layers", self.num_hidden_layers, 256),
            ("num_attention_heads", self.num_attention_heads, 256),
            ("intermediate_size", self.intermediate_size, 65_536),
            ("max_position_embeddings", self.max_position_embeddings, 32_768),
            ("type_vocab_size", self.type_vocab_size, 256),
        ];
        for (name, value, most) in sizes {
            if !(1..=most).contains(&value) {
                return Err(setting(name, value, format!("it must lie between 1 and {most}")));
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let heads = self.num_attention_heads;
            return Err(setting("hidden_size", self.hidden_size, format!("{heads} heads cannot share it")));
        }
        let rates = [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
        ];
        for (name, rate) in rates {
            if !(0.0..1.0).contains(&rate) {
                return Err(setting(name, rate, "it must be at least 0 and below 1"));
            }
        }
        for (name, value) in
            [("initializer_range", self.initializer_range), ("layer_norm_eps", self.layer_norm_eps)]
        {
            if !(value.is_finite() && value > 0.0 && value < 1.0) {
                return Err(setting(name, value, "it must lie between 0 and 1"));
            }
        }
        let weights = self.weights();
        if weights > MOST_WEIGHTS {
            return Err(setting(
                "vocab_size",
                self.vocab_size,
                format!("{weights} weights in all are too many"),
            ));
        }
        Ok(())
    }

    /// How many weights the encoder has, with its pooler.
    pub fn weights(&self) -> usize {
        let (h, f) = (self.hidden_size, self.intermediate_size);
        let embeddings = (self.vocab_size + self.max_position_embeddings + self.type_vocab_size + 2) * h;
        let block = 4 * h * (h + 1) + f * (h + 1) + h * (f + 1) + 4 * h;
        embeddings + self.num_hidden_layers * block + h * (h + 1)
    }
}

fn setting(name: &'static str, value: impl ToString, fault: impl ToString) -> TextError {
    TextError::Setting { setting: name, value: value.to_string(), fault: fault.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_settings_are_those_of_bert_base() {
        let config = BertConfig::from_json(b"{}").unwrap();
        assert_eq!(config, BertConfig::default());
        assert_eq!(config.weights(), 109_482_240, "as published, with the pooler");
    }

    #[test]
    fn what_is_no_bert_is_refused() {
        let refused = |text: &str| BertConfig::from_json(text.as_bytes()).unwrap_err().to_string();
        assert!(refused(r#"{"model_type": "roberta"}"#).contains("roberta"));
        assert!(refused(r#"{"position_embedding_type": "relative_key"}"#).contains("relative_key"));
        assert!(refused(r#"{"hidden_act": "swish"}"#).contains("swish"));
        assert!(refused(r#"{"hidden_size": 0}"#).contains("hidden_size is 0"));
        assert!(refused(r#"{"hidden_size": 770}"#).contains("12 heads"));
        assert!(refused(r#"{"vocab_size": 4000000, "hidden_size": 1200}"#).contains("too many"));
        assert!(refused(r#"{"vocab_size": -1}"#).contains("config.json"));
        assert!(refused(r#"{"layer_norm_eps": 0}"#).contains("layer_norm_eps"));
        assert!(refused(r#"{"hidden_dropout_prob": 1.0}"#).contains("hidden_dropout_prob"));
        assert!(refused("[").contains("config.json"));
    }
}
