//! What is written is, name by name and bit by bit, what `transformers` wrote of the same model. That `transformers`
//! loads and runs it, and finds the same numbers, is checked by tests/python/export_check.py.

use std::fs;
use std::path::Path;

use qhatu_nn::tensor_file::TensorFile;
use serde_json::Value;

use crate::place;
use qhatu_text::TextEncoder;

/// Keys of `config.json` that say how the numbers are meant.
const MEANING: [&str; 8] = [
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "vocab_size",
];

/// What of a pre-trained file is no weight of the model: numbers of places, and the head that tells whether one sentence
/// follows another.
const LEFT_OUT: [&str; 2] = ["position_ids", "cls.seq_relationship"];

fn same(original: &Path) {
    let written = tempfile::tempdir().unwrap();
    TextEncoder::read(original).unwrap().write(written.path()).unwrap();
    let tensors = |folder: &Path| {
        TensorFile::from_bytes(&fs::read(folder.join("model.safetensors")).unwrap()).unwrap().tensors
    };
    let (theirs, ours) = (tensors(original), tensors(written.path()));
    let weights = theirs
        .iter()
        .filter(|(name, _)| !LEFT_OUT.iter().any(|part| name.contains(part)))
        .collect::<Vec<_>>();
    assert_eq!(weights, ours.iter().collect::<Vec<_>>(), "{}", original.display());
    let config = |folder: &Path| -> Value {
        serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap()
    };
    let (theirs, ours) = (config(original), config(written.path()));
    for key in MEANING {
        assert_eq!(ours[key], theirs[key], "{key} of {}", original.display());
    }
    let epsilon = |config: &Value| config["layer_norm_eps"].as_f64().unwrap() as f32;
    assert_eq!((epsilon(&ours), &ours["model_type"]), (epsilon(&theirs), &Value::from("bert")));
    let words = |folder: &Path| fs::read_to_string(folder.join("vocab.txt")).unwrap();
    assert_eq!(words(original).trim_end(), words(written.path()).trim_end());
}

#[test]
fn what_is_written_is_what_transformers_wrote() {
    same(&place::golden("tiny_bert"));
    if let Some(minilm) = place::minilm() {
        same(&minilm);
    }
}
