//! A tokenizer from the files beside a published checkpoint: `tokenizer.json`, or `vocab.txt` with
//! `tokenizer_config.json`; and written the same way.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::file::{read_json, read_json_if_there, write_whole};
use crate::wordpiece::CONTINUING;
use crate::{Normalizer, SpecialTokens, TextError, Tokenizer, Vocabulary};

const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const VOCABULARY: &str = "vocab.txt";
/// BERT's, where nothing is said.
const LONGEST_WORD: usize = 100;

#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    normalizer: Option<Value>,
    #[serde(default)]
    pre_tokenizer: Option<Value>,
    model: Value,
}

#[derive(Deserialize)]
struct Model {
    vocab: BTreeMap<String, u32>,
    #[serde(default = "prefix")]
    continuing_subword_prefix: String,
    #[serde(default = "longest_word")]
    max_input_chars_per_word: usize,
}

fn prefix() -> String {
    CONTINUING.to_owned()
}

fn longest_word() -> usize {
    LONGEST_WORD
}

/// `tokenizer_config.json`; a special token is a text, or an object with its text as `content`.
#[derive(Deserialize, Default)]
struct TokenizerConfig {
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    unk_token: Option<Value>,
    sep_token: Option<Value>,
    pad_token: Option<Value>,
    cls_token: Option<Value>,
    mask_token: Option<Value>,
}

impl TokenizerConfig {
    fn special(&self) -> SpecialTokens {
        let text = |token: &Option<Value>, otherwise: String| {
            let token = token.as_ref();
            let content = token.and_then(|token| token.as_str().or_else(|| token["content"].as_str()));
            content.map_or(otherwise, str::to_owned)
        };
        let usual = SpecialTokens::default();
        SpecialTokens {
            pad: text(&self.pad_token, usual.pad),
            unknown: text(&self.unk_token, usual.unknown),
            cls: text(&self.cls_token, usual.cls),
            sep: text(&self.sep_token, usual.sep),
            mask: text(&self.mask_token, usual.mask),
        }
    }

    fn normalizer(&self) -> Normalizer {
        Normalizer {
            clean_text: true,
            handle_chinese_chars: self.tokenize_chinese_chars.unwrap_or(true),
            strip_accents: self.strip_accents,
            lowercase: self.do_lower_case.unwrap_or(true),
        }
    }
}

impl Tokenizer {
    /// Reads the tokenizer of a checkpoint's folder. `tokenizer.json` counts where it is there.
    ///
    /// # Errors
    /// Where neither it nor `vocab.txt` is there, or one of them holds something else than a BERT tokenizer.
    pub fn read(folder: &Path) -> Result<Self, TextError> {
        let config: TokenizerConfig = read_json_if_there(&folder.join(TOKENIZER_CONFIG))?.unwrap_or_default();
        let path = folder.join(TOKENIZER);
        if path.exists() {
            let file: TokenizerFile = read_json(&path)?;
            let fault = |fault: String| TextError::file(path.display().to_string(), fault);
            return from_file(file, &config).map_err(fault);
        }
        let vocabulary = Vocabulary::read(&folder.join(VOCABULARY))?;
        Self::with(vocabulary, config.normalizer(), config.special(), LONGEST_WORD)
    }

    /// Writes `vocab.txt`, `tokenizer.json` and `tokenizer_config.json` into a folder. The shop's own
    /// cleaning has no place in them.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write(&self, folder: &Path, max_length: usize) -> Result<(), TextError> {
        write_whole(&folder.join(VOCABULARY), self.vocabulary().to_lines().as_bytes())?;
        for (name, content) in [(TOKENIZER, self.as_file()), (TOKENIZER_CONFIG, self.as_config(max_length))] {
            let path = folder.join(name);
            let text = serde_json::to_vec_pretty(&content)
                .map_err(|fault| TextError::file(path.display().to_string(), fault))?;
            write_whole(&path, &text)?;
        }
        Ok(())
    }

    fn as_config(&self, max_length: usize) -> Value {
        let special = self.special_tokens();
        json!({
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.normalizer.lowercase,
            "strip_accents": self.normalizer.strip_accents,
            "tokenize_chinese_chars": self.normalizer.handle_chinese_chars,
            "model_max_length": max_length,
            "unk_token": special.unknown,
            "sep_token": special.sep,
            "pad_token": special.pad,
            "cls_token": special.cls,
            "mask_token": special.mask,
        })
    }

    fn as_file(&self) -> Value {
        let special = self.special_tokens();
        let id = |token: &str| self.vocabulary().id(token);
        let added = special.all().map(|token| {
            json!({"id": id(token), "content": token, "special": true, "normalized": false,
                   "single_word": false, "lstrip": false, "rstrip": false})
        });
        let mut normalizer = json!(self.normalizer);
        normalizer["type"] = json!("BertNormalizer");
        let vocab: serde_json::Map<String, Value> =
            self.vocabulary().tokens().iter().map(|token| (token.clone(), json!(id(token)))).collect();
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": normalizer,
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": template(special, id(&special.cls), id(&special.sep)),
            "decoder": {"type": "WordPiece", "prefix": CONTINUING, "cleanup": true},
            "model": {
                "type": "WordPiece", "unk_token": special.unknown, "continuing_subword_prefix": CONTINUING,
                "max_input_chars_per_word": self.max_input_chars_per_word(), "vocab": vocab,
            },
        })
    }
}

/// `[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]`, as `tokenizers` writes it.
fn template(special: &SpecialTokens, cls: Option<u32>, sep: Option<u32>) -> Value {
    let token = |token: &str, kind: u32| json!({"SpecialToken": {"id": token, "type_id": kind}});
    let text = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
    let single = [token(&special.cls, 0), text("A", 0), token(&special.sep, 0)];
    let mut pair = single.to_vec();
    pair.extend([text("B", 1), token(&special.sep, 1)]);
    let entry = |token: &str, id: Option<u32>| json!({"id": token, "ids": [id], "tokens": [token]});
    json!({
        "type": "TemplateProcessing", "single": single, "pair": pair,
        "special_tokens": {
            special.cls.as_str(): entry(&special.cls, cls), special.sep.as_str(): entry(&special.sep, sep),
        },
    })
}

fn from_file(file: TokenizerFile, config: &TokenizerConfig) -> Result<Tokenizer, String> {
    expect_type(Some(&file.model), "model", "WordPiece")?;
    expect_type(file.pre_tokenizer.as_ref(), "pre_tokenizer", "BertPreTokenizer")?;
    let normalizer = file.normalizer.unwrap_or(Value::Null);
    expect_type(Some(&normalizer), "normalizer", "BertNormalizer")?;
    let normalizer: Normalizer =
        serde_json::from_value(normalizer).map_err(|fault| format!("normalizer: {fault}"))?;
    let model: Model = serde_json::from_value(file.model).map_err(|fault| format!("model: {fault}"))?;
    if model.continuing_subword_prefix != CONTINUING {
        return Err(format!(
            "tokens inside a word begin with {:?}, expected {CONTINUING:?}",
            model.continuing_subword_prefix
        ));
    }
    let vocabulary = in_order(model.vocab)?;
    Tokenizer::with(vocabulary, normalizer, config.special(), model.max_input_chars_per_word)
        .map_err(|fault| fault.to_string())
}

fn expect_type(part: Option<&Value>, name: &str, expected: &str) -> Result<(), String> {
    match part.and_then(|part| part["type"].as_str()) {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(format!("{name} is a {found}; BERT's is a {expected}, and no other is read here")),
        None => Err(format!("{name} is missing; BERT's is a {expected}")),
    }
}

/// The tokens by their numbers, which must be 0, 1, 2, … without a gap.
fn in_order(vocab: BTreeMap<String, u32>) -> Result<Vocabulary, String> {
    let mut tokens = vec![None; vocab.len()];
    for (token, id) in vocab {
        let count = tokens.len();
        let place = tokens.get_mut(id as usize);
        let place = place.ok_or_else(|| format!("token {token:?} has number {id} of {count} tokens"))?;
        if let Some(other) = place.replace(token) {
            return Err(format!("token {other:?} shares its number {id} with another"));
        }
    }
    Vocabulary::new(tokens.into_iter().flatten().collect()).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Tokenizer {
        let vocabulary = Vocabulary::from_lines("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nñu\n##s\n").unwrap();
        let normalizer = Normalizer { strip_accents: Some(false), ..Normalizer::UNCASED };
        Tokenizer::with(vocabulary, normalizer, SpecialTokens::default(), 7).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        sample().write(folder.path(), 32).unwrap();
        let read = Tokenizer::read(folder.path()).unwrap();
        assert_eq!(read.vocabulary(), sample().vocabulary());
        assert_eq!((read.normalizer, read.max_input_chars_per_word()), (sample().normalizer, 7));
        std::fs::remove_file(folder.path().join(TOKENIZER)).unwrap();
        let read = Tokenizer::read(folder.path()).unwrap();
        assert_eq!((read.tokens("ÑUS"), read.normalizer), (vec![5, 6], sample().normalizer));
    }

    #[test]
    fn another_kind_of_tokenizer_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |change: fn(&mut Value)| {
            let mut file = sample().as_file();
            change(&mut file);
            std::fs::write(folder.path().join(TOKENIZER), file.to_string()).unwrap();
            Tokenizer::read(folder.path()).unwrap_err().to_string()
        };
        assert!(refused(|file| file["model"]["type"] = json!("BPE")).contains("BPE"));
        assert!(refused(|file| file["normalizer"] = Value::Null).contains("normalizer"));
        assert!(refused(|file| file["model"]["vocab"]["##s"] = json!(9)).contains("number 9"));
        assert!(refused(|file| file["model"]["vocab"]["##s"] = json!(5)).contains("shares"));
        assert!(refused(|file| file["model"]["vocab"] = json!({})).contains("tokens"));
        std::fs::write(folder.path().join(TOKENIZER), "{\"model\"").unwrap();
        assert!(Tokenizer::read(folder.path()).is_err());
    }

    #[test]
    fn an_empty_folder_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Tokenizer::read(folder.path()).unwrap_err().to_string().contains(VOCABULARY));
    }
}
