//! A text model in Hugging Face's layout, with one file of anybody.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qhatu_fuzz::checkpoint::{self, Files};

const GOOD: Files = &[
    ("config.json", include_bytes!("../../crates/qhatu-text/tests/golden/tiny_bert/config.json")),
    ("model.safetensors", include_bytes!("../../crates/qhatu-text/tests/golden/tiny_bert/model.safetensors")),
    ("vocab.txt", include_bytes!("../../crates/qhatu-text/tests/golden/tiny_bert/vocab.txt")),
    (
        "tokenizer_config.json",
        include_bytes!("../../crates/qhatu-text/tests/golden/tiny_bert/tokenizer_config.json"),
    ),
    ("tokenizer.json", b""),
    ("1_Pooling/config.json", b""),
    ("modules.json", b""),
    ("sentence_bert_config.json", b""),
    ("qhatu_text.json", b""),
];

fuzz_target!(|bytes: &[u8]| checkpoint::read("text_huggingface", GOOD, bytes));
