//! The original TensorFlow BERT: `bert_config.json`, `vocab.txt` and `bert_model.ckpt` as a tensor
//! bundle; what keras-bert and the first BERT models load.
//!
//! Names as in Google's `modeling.py`; a kernel is inputs × outputs, so it is turned. `hidden_act` `gelu` is
//! taken as the exact one, as in Hugging Face's conversions of these checkpoints.

use std::path::{Path, PathBuf};

use super::place::assembled;
use super::tensor_bundle;
use super::weights::Weights;
use crate::file::read_bounded;
use crate::{BertConfig, TextEncoder, TextError, Tokenizer};

const CONFIG: &str = "bert_config.json";

/// The checkpoint's prefix in a folder, where there is exactly one.
pub(crate) fn prefix(folder: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found = files.filter(|path| path.extension().is_some_and(|end| end == "index"));
    let first = found.next()?.with_extension("");
    found.next().is_none().then_some(first)
}

/// Reads a folder.
pub(crate) fn read(folder: &Path, prefix: &Path) -> Result<TextEncoder, TextError> {
    let config = BertConfig::from_json(&read_bounded(&folder.join(CONFIG), 1 << 20)?)?;
    let tokenizer = Tokenizer::read(folder)?;
    let weights = tensor_bundle::read(prefix, |name| published(name).is_some())?;
    TextEncoder::new(tokenizer, assembled(config, turned(weights).renamed(published))?)
}

fn turned(weights: Weights) -> Weights {
    let turn = |(name, tensor): (String, super::weights::Tensor)| {
        let tensor = if name.ends_with("/kernel") { tensor.transposed() } else { tensor };
        (name, tensor)
    };
    Weights { tensors: weights.tensors.into_iter().map(turn).collect() }
}

/// Hugging Face's name of a tensor; nothing for an optimizer's moments and other heads.
fn published(name: &str) -> Option<String> {
    // What `tf.train.Checkpoint` writes bears this end.
    let name = name.strip_suffix("/.ATTRIBUTES/VARIABLE_VALUE").unwrap_or(name);
    if name == "cls/predictions/output_bias" {
        return Some("cls.predictions.bias".to_owned());
    }
    let own = name.strip_prefix("bert/");
    let inner = own.or_else(|| name.starts_with("cls/predictions/transform/").then_some(name))?;
    let (layer, part) = inner.rsplit_once('/')?;
    let (layer, part) = match part {
        "kernel" | "gamma" => (layer, "weight"),
        "bias" | "beta" => (layer, "bias"),
        "word_embeddings" | "position_embeddings" | "token_type_embeddings" => (inner, "weight"),
        _ => return None,
    };
    let layer = layer.replace("/layer_", "/layer/");
    Some(format!("{}.{part}", layer.replace('/', ".")))
}

#[cfg(test)]
mod tests {
    use super::published;

    #[test]
    fn names_are_those_of_hugging_face() {
        let pairs = [
            ("bert/embeddings/word_embeddings", "embeddings.word_embeddings.weight"),
            ("bert/embeddings/LayerNorm/gamma", "embeddings.LayerNorm.weight"),
            (
                "bert/encoder/layer_11/attention/self/query/kernel",
                "encoder.layer.11.attention.self.query.weight",
            ),
            ("bert/encoder/layer_0/output/LayerNorm/beta", "encoder.layer.0.output.LayerNorm.bias"),
            ("bert/pooler/dense/bias", "pooler.dense.bias"),
            ("cls/predictions/transform/dense/kernel", "cls.predictions.transform.dense.weight"),
            ("cls/predictions/output_bias", "cls.predictions.bias"),
        ];
        for (theirs, ours) in pairs {
            assert_eq!(published(theirs).as_deref(), Some(ours));
        }
        for other in
            ["global_step", "bert/pooler/dense/kernel/adam_m", "cls/seq_relationship/output_bias", ""]
        {
            assert_eq!(published(other), None);
        }
    }
}
