//! A BERT preset of KerasHub, with one file of anybody.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qhatu_fuzz::checkpoint::{self, Files};

const GOOD: Files = &[
    ("config.json", include_bytes!("../../crates/qhatu-text/tests/golden/tiny_keras_hub/config.json")),
    (
        "model.weights.h5",
        include_bytes!("../../crates/qhatu-text/tests/golden/tiny_keras_hub/model.weights.h5"),
    ),
    ("assets/tokenizer/vocabulary.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\npolo\nde\nal\n##g\n##o\n"),
    ("tokenizer.json", b""),
];

fuzz_target!(|bytes: &[u8]| checkpoint::read("text_keras_hub", GOOD, bytes));
