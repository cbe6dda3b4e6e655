//! A `.keras` archive of anybody, with its vocabulary beside it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qhatu_fuzz::checkpoint::{self, Files};

const GOOD: Files =
    &[("bert.keras", b""), ("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\npolo\nde\nal\n##g\n##o\n")];

fuzz_target!(|bytes: &[u8]| checkpoint::read("text_keras_archive", GOOD, bytes));
