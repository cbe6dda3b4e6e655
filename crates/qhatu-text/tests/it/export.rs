//! What is written is loaded by `transformers`, which finds the same tokens and numbers in it
//! (golden/check_export.py).

use std::path::Path;
use std::process::Command;

use crate::place;
use qhatu_text::TextEncoder;

fn same(python: &Path, original: &Path) {
    let written = tempfile::tempdir().unwrap();
    TextEncoder::read(original).unwrap().write(written.path()).unwrap();
    let outcome = Command::new(python)
        .arg(place::golden("check_export.py"))
        .args([original, written.path()])
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    let said = [outcome.stdout, outcome.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(outcome.status.success(), "{}\n{}", said[0], said[1]);
    assert!(said[0].contains("the same tokens, vectors and weights"), "{}", said[0]);
}

#[test]
fn transformers_loads_what_is_written() {
    let Some(python) = place::transformers() else { return };
    same(&python, &place::golden("tiny_bert"));
    if let Some(minilm) = place::minilm() {
        same(&python, &minilm);
    }
}
