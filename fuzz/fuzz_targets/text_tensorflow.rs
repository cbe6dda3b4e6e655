//! An original TensorFlow BERT, with one file of anybody.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qhatu_fuzz::checkpoint::{self, Files};

const GOOD: Files = &[
    (
        "bert_config.json",
        include_bytes!("../../crates/qhatu-text/tests/golden/tiny_tensorflow/bert_config.json"),
    ),
    (
        "bert_model.ckpt.index",
        include_bytes!("../../crates/qhatu-text/tests/golden/tiny_tensorflow/bert_model.ckpt.index"),
    ),
    (
        "bert_model.ckpt.data-00000-of-00001",
        include_bytes!(
            "../../crates/qhatu-text/tests/golden/tiny_tensorflow/bert_model.ckpt.data-00000-of-00001"
        ),
    ),
    ("vocab.txt", include_bytes!("../../crates/qhatu-text/tests/golden/tiny_tensorflow/vocab.txt")),
    (
        "tokenizer_config.json",
        include_bytes!("../../crates/qhatu-text/tests/golden/tiny_tensorflow/tokenizer_config.json"),
    ),
];

fuzz_target!(|bytes: &[u8]| checkpoint::read("text_tensorflow", GOOD, bytes));
