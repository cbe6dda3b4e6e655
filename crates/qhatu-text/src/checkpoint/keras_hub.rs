//! KerasHub's BERT: a preset's folder (`config.json`, `model.weights.h5`) or a `.keras` archive of a
//! `BertBackbone`, with the vocabulary beside it.
//!
//! A kernel is inputs × outputs, an attention's also cut into heads; both are turned. KerasHub computes
//! GELU by its approximation and norms with ε = 1e-12, whatever the file says, since it says neither.

use std::path::{Path, PathBuf};

use qhatu_nn::operation::activation::Activation;
use serde::Deserialize;

use super::place::assembled;
use super::weights::{Tensor, Weights};
use super::{hdf5, zip};
use crate::file::{read_bounded, read_json_if_there};
use crate::{BertConfig, Normalizer, TextEncoder, TextError, Tokenizer, Vocabulary};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.weights.h5";
const MOST_BYTES: u64 = 5 << 30;

#[derive(Deserialize)]
struct Saved {
    class_name: String,
    config: Backbone,
}

#[derive(Deserialize)]
struct Backbone {
    vocabulary_size: usize,
    num_layers: usize,
    num_heads: usize,
    hidden_dim: usize,
    intermediate_dim: usize,
    dropout: f32,
    max_sequence_length: usize,
    num_segments: usize,
}

/// `tokenizer.json` of a preset; a `BertTokenizer` keeps case unless told otherwise.
#[derive(Deserialize, Default)]
struct SavedTokenizer {
    #[serde(default)]
    config: TokenizerSettings,
}

#[derive(Deserialize, Default)]
struct TokenizerSettings {
    #[serde(default)]
    lowercase: bool,
    #[serde(default)]
    strip_accents: Option<bool>,
}

/// The one `.keras` archive of a folder.
pub(crate) fn archive(folder: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found = files.filter(|path| path.extension().is_some_and(|end| end == "keras"));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Whether a folder holds a preset.
pub(crate) fn is_preset(folder: &Path) -> bool {
    folder.join(WEIGHTS).exists()
}

/// Reads a preset's folder.
pub(crate) fn read_preset(folder: &Path) -> Result<TextEncoder, TextError> {
    let config = read_bounded(&folder.join(CONFIG), 1 << 20)?;
    let path = folder.join(WEIGHTS);
    let weights = read_bounded(&path, MOST_BYTES)?;
    read(folder, &path, &config, &weights)
}

/// Reads a `.keras` archive; the vocabulary lies in its folder.
pub(crate) fn read_archive(folder: &Path, path: &Path) -> Result<TextEncoder, TextError> {
    let bytes = read_bounded(path, MOST_BYTES)?;
    let member =
        |name| zip::member(&bytes, name).map_err(|fault| TextError::file(path.display().to_string(), fault));
    read(folder, path, member(CONFIG)?, member(WEIGHTS)?)
}

fn read(folder: &Path, path: &Path, config: &[u8], weights: &[u8]) -> Result<TextEncoder, TextError> {
    let saved: Saved = serde_json::from_slice(config).map_err(|fault| TextError::file(CONFIG, fault))?;
    if saved.class_name != "BertBackbone" {
        let fault = format!("holds a {}; only a BertBackbone is read here", saved.class_name);
        return Err(TextError::file(CONFIG, fault));
    }
    let config = shape(&saved.config);
    config.check()?;
    let weights = hdf5::read(weights).map_err(|fault| TextError::file(path.display().to_string(), fault))?;
    TextEncoder::new(tokenizer(folder)?, assembled(config, published(weights, saved.config.hidden_dim))?)
}

fn shape(saved: &Backbone) -> BertConfig {
    BertConfig {
        vocab_size: saved.vocabulary_size,
        hidden_size: saved.hidden_dim,
        num_hidden_layers: saved.num_layers,
        num_attention_heads: saved.num_heads,
        intermediate_size: saved.intermediate_dim,
        hidden_act: Activation::GeluTanh,
        hidden_dropout_prob: saved.dropout,
        attention_probs_dropout_prob: saved.dropout,
        max_position_embeddings: saved.max_sequence_length,
        type_vocab_size: saved.num_segments,
        ..BertConfig::default()
    }
}

fn tokenizer(folder: &Path) -> Result<Tokenizer, TextError> {
    let inside = folder.join("assets/tokenizer/vocabulary.txt");
    if !inside.exists() {
        return Tokenizer::read(folder);
    }
    let saved: SavedTokenizer = read_json_if_there(&folder.join("tokenizer.json"))?.unwrap_or_default();
    let TokenizerSettings { lowercase, strip_accents } = saved.config;
    Tokenizer::new(Vocabulary::read(&inside)?, Normalizer { lowercase, strip_accents, ..Normalizer::CASED })
}

/// Hugging Face's names and orientation.
fn published(weights: Weights, width: usize) -> Weights {
    let one = |(path, tensor): (String, Tensor)| Some((name(&path)?, oriented(&path, tensor, width)));
    Weights { tensors: weights.tensors.into_iter().filter_map(one).collect() }
}

/// An attention's heads become one dimension again, and kernels are turned.
fn oriented(path: &str, tensor: Tensor, width: usize) -> Tensor {
    let count = tensor.values.len();
    let shape = match (path.contains("/_self_attention_layer/"), tensor.shape.len()) {
        (true, 3) => vec![width, count / width.max(1)],
        (true, 2) => vec![count],
        _ => tensor.shape,
    };
    let tensor = Tensor { shape, values: tensor.values };
    let is_table = path.contains("embedding");
    if is_table || tensor.shape.len() != 2 { tensor } else { tensor.transposed() }
}

fn name(path: &str) -> Option<String> {
    let path = path.strip_prefix("layers/")?;
    let (layer, part) = path.split_once('/')?;
    let (part, number) = part.split_once("vars/")?;
    let end = match number {
        "0" => "weight",
        "1" => "bias",
        _ => return None,
    };
    let name = match layer {
        "reversible_embedding" => "embeddings.word_embeddings".to_owned(),
        "position_embedding" => "embeddings.position_embeddings".to_owned(),
        "embedding" => "embeddings.token_type_embeddings".to_owned(),
        "layer_normalization" => "embeddings.LayerNorm".to_owned(),
        "dense" => "pooler.dense".to_owned(),
        _ => {
            let number = match layer.strip_prefix("transformer_encoder")? {
                "" => "0",
                number => number.strip_prefix('_')?,
            };
            format!("encoder.layer.{number}.{}", part_name(part.trim_end_matches('/'))?)
        }
    };
    Some(format!("{name}.{end}"))
}

fn part_name(part: &str) -> Option<&'static str> {
    Some(match part {
        "_self_attention_layer/query_dense" => "attention.self.query",
        "_self_attention_layer/key_dense" => "attention.self.key",
        "_self_attention_layer/value_dense" => "attention.self.value",
        "_self_attention_layer/output_dense" => "attention.output.dense",
        "_self_attention_layer_norm" => "attention.output.LayerNorm",
        "_feedforward_intermediate_dense" => "intermediate.dense",
        "_feedforward_output_dense" => "output.dense",
        "_feedforward_layer_norm" => "output.LayerNorm",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names_are_those_of_hugging_face() {
        let pairs = [
            ("layers/reversible_embedding/vars/0", "embeddings.word_embeddings.weight"),
            (
                "layers/transformer_encoder/_feedforward_layer_norm/vars/1",
                "encoder.layer.0.output.LayerNorm.bias",
            ),
            (
                "layers/transformer_encoder_11/_self_attention_layer/output_dense/vars/0",
                "encoder.layer.11.attention.output.dense.weight",
            ),
            ("layers/dense/vars/0", "pooler.dense.weight"),
        ];
        for (theirs, ours) in pairs {
            assert_eq!(name(theirs).as_deref(), Some(ours));
        }
        for other in [
            "layers/dropout/vars/0",
            "layers/dense/vars/2",
            "optimizer/vars/0",
            "layers/transformer_encoderx/vars/0",
        ] {
            assert_eq!(name(other), None);
        }
    }
}
