//! Other layouts than Hugging Face's, written by their own libraries (golden/make_tensorflow.py).

use std::path::Path;

use crate::place;
use proptest::prelude::*;
use qhatu_nn::tensor_file::TensorFile;
use qhatu_text::{Batch, BertSaved, Encoding, Pass, TextEncoder};

fn copied(folder: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(place::golden(folder)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// The same weights as `tiny_bert`, whose outputs tests/bert.rs compares: so these must be the same bits.
#[test]
fn a_tensorflow_checkpoint_is_read_to_the_bit() {
    let found = TextEncoder::read(&place::golden("tiny_tensorflow")).unwrap();
    let expected = TextEncoder::read(&place::golden("tiny_bert")).unwrap();
    assert_eq!(found.bert.config(), expected.bert.config());
    assert_eq!(found.bert.parameters(), expected.bert.parameters());
    assert_eq!(found.tokenizer.vocabulary(), expected.tokenizer.vocabulary());
}

fn refused(folder: &Path) -> String {
    TextEncoder::read(folder).unwrap_err().to_string()
}

#[test]
fn a_damaged_tensorflow_checkpoint_is_refused() {
    let data = "bert_model.ckpt.data-00000-of-00001";
    let copy = copied("tiny_tensorflow");
    let whole = std::fs::read(copy.path().join(data)).unwrap();
    std::fs::write(copy.path().join(data), &whole[..whole.len() / 2]).unwrap();
    assert!(refused(copy.path()).contains("outside the file"), "{}", refused(copy.path()));
    let mut other = whole.clone();
    other.iter_mut().for_each(|byte| *byte ^= 1);
    std::fs::write(copy.path().join(data), other).unwrap();
    assert!(refused(copy.path()).contains("checksum"), "{}", refused(copy.path()));
    std::fs::remove_file(copy.path().join(data)).unwrap();
    assert!(refused(copy.path()).contains(data), "{}", refused(copy.path()));
}

/// One byte after the other of the index is changed: refused, or the same weights as before.
#[test]
fn a_damaged_index_is_refused_or_does_no_harm() {
    let index = "bert_model.ckpt.index";
    let copy = copied("tiny_tensorflow");
    let whole = std::fs::read(copy.path().join(index)).unwrap();
    let expected = TextEncoder::read(copy.path()).unwrap();
    for place in (0..whole.len()).step_by(7) {
        let mut other = whole.clone();
        other[place] ^= 0x55;
        std::fs::write(copy.path().join(index), &other).unwrap();
        if let Ok(found) = TextEncoder::read(copy.path()) {
            assert_eq!(found.bert.parameters(), expected.bert.parameters(), "byte {place}");
        }
    }
    for keep in [0, 10, 47, 48, whole.len() / 2, whole.len() - 1] {
        std::fs::write(copy.path().join(index), &whole[..keep]).unwrap();
        assert!(refused(copy.path()).contains(index), "{keep}");
    }
}

/// The preset with a vocabulary, which KerasHub keeps among a tokenizer's assets.
fn keras_hub() -> tempfile::TempDir {
    let copy = copied("tiny_keras_hub");
    let assets = copy.path().join("assets/tokenizer");
    std::fs::create_dir_all(&assets).unwrap();
    let words = std::fs::read_to_string(place::golden("tiny_bert/vocab.txt")).unwrap();
    let words: String = words.lines().take(48).flat_map(|word| [word, "\n"]).collect();
    std::fs::write(assets.join("vocabulary.txt"), words).unwrap();
    copy
}

#[test]
fn a_keras_hub_preset_and_archive_give_keras_numbers() {
    let preset = keras_hub();
    let bytes = std::fs::read(place::golden("tiny_keras_hub_expected.safetensors")).unwrap();
    let expected = TensorFile::from_bytes(&bytes).unwrap();
    let found = TextEncoder::read(preset.path()).unwrap();
    assert!(!found.tokenizer.normalizer.lowercase);
    compare(&found, &expected);
    let archive = tempfile::tempdir().unwrap();
    std::fs::copy(place::golden("tiny_keras_hub.keras"), archive.path().join("bert.keras")).unwrap();
    std::fs::copy(preset.path().join("assets/tokenizer/vocabulary.txt"), archive.path().join("vocab.txt"))
        .unwrap();
    let same = TextEncoder::read(archive.path()).unwrap();
    assert_eq!(same.bert.parameters(), found.bert.parameters());
    // And through Hugging Face's layout.
    let written = tempfile::tempdir().unwrap();
    found.write(written.path()).unwrap();
    compare(&TextEncoder::read(written.path()).unwrap(), &expected);
}

fn compare(encoder: &TextEncoder, expected: &TensorFile) {
    let ids: [&[u32]; 3] = [&[2, 10, 20, 30, 40, 3], &[2, 7, 3, 9, 11, 4, 30, 3], &[2, 3]];
    let types: [&[u32]; 3] = [&[0; 6], &[0, 0, 0, 1, 1, 1, 1, 1], &[0; 2]];
    for (place, (ids, types)) in ids.iter().zip(types).enumerate() {
        let sequence = Encoding { ids: ids.to_vec(), type_ids: types.to_vec() };
        let batch = Batch::new([&sequence], encoder.bert.config()).unwrap();
        let mut saved = BertSaved::default();
        encoder.bert.forward(&batch, Pass::Output, &mut saved);
        let pooled = encoder.bert.pooled(&batch, saved.output()).unwrap();
        for (name, found) in [("hidden", saved.output()), ("pooled", &pooled)] {
            let expected = expected.f32(&format!("{name}_{place}")).unwrap();
            assert_eq!(found.len(), expected.len());
            let gap = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(gap < 1e-4, "{name} {place}: {gap:e}");
        }
    }
}

#[test]
fn a_keras_hub_preset_that_does_not_hold_is_refused() {
    let preset = keras_hub();
    let config = preset.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"BertBackbone\"", "\"RobertaBackbone\"")).unwrap();
    assert!(refused(preset.path()).contains("RobertaBackbone"));
    std::fs::write(&config, text.replace("\"hidden_dim\": 8", "\"hidden_dim\": 16")).unwrap();
    assert!(refused(preset.path()).contains("by config.json"), "{}", refused(preset.path()));
    std::fs::write(&config, &text).unwrap();
    let weights = preset.path().join("model.weights.h5");
    let whole = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &whole[..whole.len() / 3]).unwrap();
    assert!(refused(preset.path()).contains("model.weights.h5"), "{}", refused(preset.path()));
}

/// A folder with one file damaged: some bytes changed, and perhaps cut off.
fn damaged(folder: &Path, file: &str, (places, keep): (&[(usize, u8)], Option<usize>)) {
    let whole = std::fs::read(folder.join(file)).unwrap();
    let mut other = whole.clone();
    places.iter().for_each(|(place, byte)| other[place % whole.len()] = *byte);
    other.truncate(keep.map_or(whole.len(), |keep| keep % whole.len()));
    std::fs::write(folder.join(file), other).unwrap();
    if let Ok(encoder) = TextEncoder::read(folder) {
        assert_eq!(encoder.encode(&["polo de algodón"]).unwrap().len(), encoder.width());
    }
    std::fs::write(folder.join(file), whole).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_is_damaged_is_read_or_refused(
        places in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..12),
        // Heads of files say the most.
        heads in proptest::collection::vec((0..2_048_usize, any::<u8>()), 0..6),
        keep in proptest::option::weighted(0.2, any::<usize>()),
    ) {
        let places = [places, heads].concat();
        for folder in ["tiny_bert", "tiny_tensorflow"] {
            let copy = copied(folder);
            for entry in std::fs::read_dir(place::golden(folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                damaged(copy.path(), &name, (&places, keep));
            }
        }
        let preset = keras_hub();
        for file in ["config.json", "model.weights.h5", "assets/tokenizer/vocabulary.txt"] {
            damaged(preset.path(), file, (&places, keep));
        }
    }
}
