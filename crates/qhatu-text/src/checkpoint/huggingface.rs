//! Hugging Face's layout: `config.json`, `model.safetensors` and the tokenizer's files; for sentence
//! vectors also sentence-transformers' `modules.json`, `1_Pooling/config.json` and
//! `sentence_bert_config.json`.

use std::path::Path;

use qhatu_nn::tensor_file::{Numbers, TensorFile};
use serde::Deserialize;
use serde_json::{Value, json};

use super::place::{assembled, places};
use super::weights::{Tensor, Weights};
use crate::file::{read_bounded, read_json_if_there, write_whole};
use crate::{Bert, BertConfig, Pooling, TextEncoder, TextError, Tokenizer};

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const WEIGHTS: &str = "model.safetensors";
const MODULES: &str = "modules.json";
const POOLING: &str = "1_Pooling/config.json";
const SENTENCE: &str = "sentence_bert_config.json";
const MOST_CONFIG_BYTES: u64 = 1 << 20;
/// [`BertConfig::check`] lets through four GiB of weights.
const MOST_BYTES: u64 = 5 << 30;

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PoolingModes {
    pooling_mode_cls_token: bool,
    pooling_mode_max_tokens: bool,
    pooling_mode_mean_tokens: bool,
    /// Newer files name the mode.
    pooling_mode: Option<String>,
}

#[derive(Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
}

/// Reads a folder.
pub(crate) fn read(folder: &Path) -> Result<TextEncoder, TextError> {
    let config = BertConfig::from_json(&read_bounded(&folder.join(CONFIG), MOST_CONFIG_BYTES)?)?;
    let tokenizer = Tokenizer::read(folder)?;
    let bert = assembled(config, weights(folder)?)?;
    let sentence: Option<SentenceConfig> = read_json_if_there(&folder.join(SENTENCE))?;
    let modules: Option<Vec<Module>> = read_json_if_there(&folder.join(MODULES))?;
    let normalize = modules.iter().flatten().any(|module| module.kind.ends_with("Normalize"));
    let mut encoder = TextEncoder::new(tokenizer, bert)?;
    encoder.pooling = pooling(folder)?;
    encoder.normalize = normalize;
    if let Some(most) = sentence.and_then(|sentence| sentence.max_seq_length) {
        encoder.set_max_length(most);
    }
    Ok(encoder)
}

fn pooling(folder: &Path) -> Result<Pooling, TextError> {
    let Some(modes) = read_json_if_there::<PoolingModes>(&folder.join(POOLING))? else {
        return Ok(Pooling::default());
    };
    let named = modes.pooling_mode.as_deref();
    let chosen = [
        (Pooling::Mean, modes.pooling_mode_mean_tokens || named == Some("mean")),
        (Pooling::Cls, modes.pooling_mode_cls_token || named == Some("cls")),
        (Pooling::Max, modes.pooling_mode_max_tokens || named == Some("max")),
    ];
    let mut chosen = chosen.into_iter().filter_map(|(pooling, is_chosen)| is_chosen.then_some(pooling));
    match (chosen.next(), chosen.next()) {
        (Some(pooling), None) => Ok(pooling),
        _ => {
            Err(TextError::file(POOLING, "one of mean, cls and max must be chosen; others are not read here"))
        }
    }
}

/// The tensors under their names, without the prefix `bert.` that models with a head have.
fn weights(folder: &Path) -> Result<Weights, TextError> {
    let path = folder.join(WEIGHTS);
    if !path.exists() && folder.join("pytorch_model.bin").exists() {
        let fault = "is not there, and pytorch_model.bin is a program rather than data; \
                     `transformers` writes safetensors with save_pretrained";
        return Err(TextError::file(path.display().to_string(), fault));
    }
    let bytes = read_bounded(&path, MOST_BYTES)?;
    let file =
        TensorFile::from_bytes(&bytes).map_err(|fault| TextError::file(path.display().to_string(), fault))?;
    drop(bytes);
    let mut weights = Weights::default();
    for (name, tensor) in file.tensors {
        if let Numbers::F32(values) = tensor.numbers {
            weights.tensors.insert(published(&name), Tensor { shape: tensor.shape, values });
        }
    }
    check_tied(&weights)?;
    Ok(weights)
}

/// `bert.` goes; old checkpoints call a norm's gain and bias gamma and beta.
fn published(name: &str) -> String {
    let name = name.strip_prefix("bert.").unwrap_or(name);
    match name.rsplit_once('.') {
        Some((layer, "gamma")) => format!("{layer}.weight"),
        Some((layer, "beta")) => format!("{layer}.bias"),
        _ => name.to_owned(),
    }
}

/// The head's last layer must be the tokens' own vectors, as in every published BERT.
fn check_tied(weights: &Weights) -> Result<(), TextError> {
    let name = "cls.predictions.decoder.weight";
    let own = weights.tensors.get("embeddings.word_embeddings.weight");
    match weights.tensors.get(name) {
        Some(decoder) if Some(decoder) != own => {
            Err(TextError::tensor(name, "is not the word embeddings; a head of its own is not read here"))
        }
        _ => Ok(()),
    }
}

/// Writes a folder that `transformers` and `sentence-transformers` load.
pub(crate) fn write(encoder: &TextEncoder, folder: &Path) -> Result<(), TextError> {
    std::fs::create_dir_all(folder.join("1_Pooling")).map_err(TextError::io("make", folder))?;
    encoder.tokenizer.write(folder, encoder.max_length())?;
    let width = encoder.bert.config().hidden_size;
    let files = [
        (CONFIG, config(&encoder.bert)),
        (MODULES, modules(encoder.normalize)),
        (SENTENCE, json!({"max_seq_length": encoder.max_length(), "do_lower_case": false})),
        (POOLING, pooling_modes(encoder.pooling, width)),
    ];
    for (name, content) in files {
        let text = format!("{content:#}\n");
        write_whole(&folder.join(name), text.as_bytes())?;
    }
    let path = folder.join(WEIGHTS);
    let bytes = tensors(&encoder.bert)
        .to_bytes()
        .map_err(|fault| TextError::file(path.display().to_string(), fault))?;
    write_whole(&path, &bytes)
}

fn config(bert: &Bert) -> Value {
    let mut config = json!(bert.config());
    let architecture = if bert.head.is_some() { "BertForMaskedLM" } else { "BertModel" };
    config["model_type"] = json!("bert");
    config["architectures"] = json!([architecture]);
    config["position_embedding_type"] = json!("absolute");
    config["torch_dtype"] = json!("float32");
    config
}

fn modules(normalize: bool) -> Value {
    let kinds = ["Transformer", "Pooling", "Normalize"];
    let module = |(place, kind): (usize, &str)| {
        let path = if place == 0 { String::new() } else { format!("{place}_{kind}") };
        json!({"idx": place, "name": place.to_string(), "path": path,
               "type": format!("sentence_transformers.models.{kind}")})
    };
    kinds.into_iter().enumerate().take(if normalize { 3 } else { 2 }).map(module).collect()
}

fn pooling_modes(pooling: Pooling, width: usize) -> Value {
    json!({
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": pooling == Pooling::Cls,
        "pooling_mode_mean_tokens": pooling == Pooling::Mean,
        "pooling_mode_max_tokens": pooling == Pooling::Max,
        "pooling_mode_mean_sqrt_len_tokens": false,
    })
}

fn tensors(bert: &Bert) -> TensorFile {
    let mut file = TensorFile::default();
    file.settings.insert("format".to_owned(), "pt".to_owned());
    let prefix = if bert.head.is_some() { "bert." } else { "" };
    for place in places(bert) {
        let values = place.slot.of(bert.parameters().values())[place.part].to_vec();
        let prefix = if place.name.starts_with("cls.") { "" } else { prefix };
        file.put_f32(&format!("{prefix}{}", place.name), &place.shape, values);
    }
    file
}
