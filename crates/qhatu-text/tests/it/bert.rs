//! BERT against `transformers` and `sentence-transformers` (golden/make_bert.py): outputs, pooler, sentence
//! vectors and gradients; checkpoints written and read again; damaged ones refused.

use std::path::Path;

use crate::place;
use qhatu_nn::Team;
use qhatu_nn::tensor_file::TensorFile;
use qhatu_text::{Batch, BertRoom, BertSaved, Encoding, Pass, Pooling, Precision, TextEncoder};

const TEXTS: [&str; 5] = [
    "Polo de algodón para niña talla M – color azul",
    "White hanging heart T-light holder",
    "Café orgánico de Chanchamayo 250 g (molido) 😀",
    "té",
    "Refrigeradora NO FROST 300L Inox A++ con dispensador de agua, envío gratis a Lima y Callao \
     y garantía extendida de dos años en todas las piezas del motor",
];

fn expected(file: &str) -> TensorFile {
    TensorFile::from_bytes(&std::fs::read(place::golden(file)).unwrap()).unwrap()
}

fn tiny() -> TextEncoder {
    TextEncoder::read(&place::golden("tiny_bert")).unwrap()
}

fn tiny_sequences() -> Vec<Encoding> {
    let ids: [&[u32]; 3] = [&[2, 10, 20, 30, 40, 3], &[2, 7, 3, 9, 11, 4, 150, 3], &[2, 3]];
    let types: [&[u32]; 3] = [&[0; 6], &[0, 0, 0, 1, 1, 1, 1, 1], &[0; 2]];
    let both = ids.iter().zip(types);
    both.map(|(ids, types)| Encoding { ids: ids.to_vec(), type_ids: types.to_vec() }).collect()
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let gap = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{what}: largest difference {gap:e}");
    assert!(gap < tolerance, "{what}: {gap:e}");
}

/// All sequences packed into one batch, each compared with what the reference gives it alone.
fn compare(encoder: &TextEncoder, sequences: &[Encoding], expected: &TensorFile) {
    let bert = &encoder.bert;
    let batch = Batch::new(sequences, bert.config()).unwrap();
    let mut room = BertRoom::default();
    Team::with(2, |team| bert.encode(&batch, Precision::F32, team, &mut room));
    let forward = |pass: Pass| {
        let mut saved = BertSaved::default();
        bert.forward(&batch, pass, &mut saved);
        saved.output().to_vec()
    };
    for output in [forward(Pass::Output), forward(Pass::Keep), room.output().to_vec()] {
        let pooled = bert.pooled(&batch, &output).unwrap();
        let (width, mut from) = (encoder.width(), 0);
        for (place, sequence) in sequences.iter().enumerate() {
            let to = from + sequence.ids.len() * width;
            let name = format!("hidden_{place}");
            assert_near(&output[from..to], expected.f32(&name).unwrap(), 1e-4, &name);
            let name = format!("pooled_{place}");
            let own = &pooled[place * width..][..width];
            assert_near(own, expected.f32(&name).unwrap(), 1e-4, &name);
            from = to;
        }
    }
}

#[test]
fn a_tiny_bert_gives_the_published_numbers() {
    compare(&tiny(), &tiny_sequences(), &expected("tiny_bert_expected.safetensors"));
}

#[test]
fn minilm_gives_the_published_numbers() {
    let Some(folder) = place::minilm() else { return };
    let encoder = TextEncoder::read(&folder).unwrap();
    assert_eq!((encoder.pooling, encoder.normalize, encoder.max_length()), (Pooling::Mean, true, 256));
    let sequences: Vec<Encoding> = TEXTS.iter().map(|text| encoder.tokenized(text)).collect();
    let expected = expected("minilm_expected.safetensors");
    compare(&encoder, &sequences, &expected);
    let vectors = encoder.encode(&TEXTS).unwrap();
    for (place, vector) in vectors.chunks_exact(encoder.width()).enumerate() {
        let name = format!("sentence_{place}");
        assert_near(vector, expected.f32(&name).unwrap(), 1e-4, &name);
        assert_near(&encoder.encode(&TEXTS[place..=place]).unwrap(), vector, 1e-5, "alone");
    }
}

/// The least cosine of the vectors in whole numbers with those in floats.
fn least_cosine(encoder: &TextEncoder, texts: &[&str]) -> f32 {
    let mut whole = encoder.clone();
    whole.precision = Precision::Int8;
    let (exact, found) = (encoder.encode(texts).unwrap(), whole.encode(texts).unwrap());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let both = exact.chunks_exact(encoder.width()).zip(found.chunks_exact(encoder.width()));
    both.map(|(a, b)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).fold(1.0, f32::min)
}

#[test]
fn whole_numbers_lose_little() {
    let found = least_cosine(&tiny(), &TEXTS);
    println!("a tiny BERT with random weights: cosine {found}");
    assert!(found > 0.99, "{found}");
    let Some(folder) = place::minilm() else { return };
    let encoder = TextEncoder::read(&folder).unwrap();
    let listed = std::fs::read_to_string(place::golden("hand_written.txt")).unwrap();
    let texts: Vec<&str> = listed.lines().filter(|line| !line.is_empty()).chain(TEXTS).collect();
    let found = least_cosine(&encoder, &texts);
    println!("MiniLM-L6, {} texts: cosine {found} at least", texts.len());
    assert!(found > 0.99, "{found}");
}

#[test]
fn a_vector_depends_on_neither_threads_nor_the_texts_beside_it() {
    let mut encoder = tiny();
    for precision in [Precision::F32, Precision::Int8] {
        encoder.precision = precision;
        let all = encoder.encode(&TEXTS).unwrap();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let found = pool.install(|| encoder.encode(&TEXTS).unwrap());
            assert_eq!(found, all, "{precision:?}, {threads} threads");
            for (place, vector) in all.chunks_exact(encoder.width()).enumerate() {
                let alone = pool.install(|| encoder.encode(&TEXTS[place..=place]).unwrap());
                assert_eq!(alone, vector, "{precision:?} {place}");
            }
        }
    }
}

#[test]
fn what_is_written_is_read_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let mut encoder = tiny();
    encoder.pooling = Pooling::Cls;
    encoder.normalize = true;
    encoder.set_max_length(9);
    encoder.tokenizer.cleaning.lowercase = true;
    encoder.write(folder.path()).unwrap();
    let read = TextEncoder::read(folder.path()).unwrap();
    assert_eq!(read.bert.parameters(), encoder.bert.parameters());
    assert_eq!(read.bert.config(), encoder.bert.config());
    assert_eq!((read.pooling, read.normalize, read.max_length()), (Pooling::Cls, true, 9));
    assert_eq!(read.tokenizer.cleaning, encoder.tokenizer.cleaning);
    assert_eq!(read.fingerprint(), encoder.fingerprint());
    assert_ne!(read.fingerprint(), tiny().fingerprint());
}

/// A folder like the tiny BERT's with one file changed.
fn changed(file: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> String {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"] {
        let bytes = std::fs::read(place::golden("tiny_bert").join(name)).unwrap();
        let bytes = if name == file { change(bytes) } else { bytes };
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    TextEncoder::read(folder.path()).unwrap_err().to_string()
}

fn with_text(file: &str, from: &str, to: &str) -> String {
    changed(file, |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains(from));
        text.replace(from, to).into_bytes()
    })
}

#[test]
fn a_checkpoint_that_does_not_hold_is_refused() {
    let cut = |keep: usize| changed("model.safetensors", |bytes| bytes[..keep.min(bytes.len() - 1)].to_vec());
    for keep in [0, 7, 8, 300, 40_000, usize::MAX] {
        assert!(cut(keep).contains("model.safetensors"), "{keep}");
    }
    let huge_header = changed("model.safetensors", |mut bytes| {
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        bytes
    });
    assert!(huge_header.contains("model.safetensors"), "{huge_header}");
    let fault = with_text("config.json", "\"hidden_size\": 16", "\"hidden_size\": 20");
    assert!(fault.contains("[200, 16]") && fault.contains("[200, 20]"), "{fault}");
    let fault = with_text("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    assert!(fault.contains("encoder.layer.2") && fault.contains("not in the checkpoint"), "{fault}");
    let fault = with_text("config.json", "\"vocab_size\": 200", "\"vocab_size\": 100");
    assert!(fault.contains("[100, 16]"), "{fault}");
    let fault = with_text("config.json", "\"vocab_size\": 200", "\"vocab_size\": 4000000");
    assert!(fault.contains("weights, but the checkpoint holds"), "{fault}");
    let fault = with_text("config.json", "\"model_type\": \"bert\"", "\"model_type\": \"gpt2\"");
    assert!(fault.contains("gpt2"), "{fault}");
    let integers = changed("model.safetensors", |bytes| {
        let mut file = TensorFile::from_bytes(&bytes).unwrap();
        file.put_u32("bert.pooler.dense.bias", &[16], vec![0; 16]);
        file.to_bytes().unwrap()
    });
    assert!(integers.contains("pooler.dense.bias"), "{integers}");
    let not_finite = changed("model.safetensors", |bytes| {
        let mut file = TensorFile::from_bytes(&bytes).unwrap();
        file.put_f32("bert.pooler.dense.bias", &[16], vec![f32::INFINITY; 16]);
        file.to_bytes().unwrap()
    });
    assert!(not_finite.contains("not finite"), "{not_finite}");
}

#[test]
fn a_folder_of_something_else_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let fault = TextEncoder::read(folder.path()).unwrap_err().to_string();
    assert!(fault.contains("config.json"), "{fault}");
    let fault = TextEncoder::read(Path::new("/nowhere/at/all")).unwrap_err().to_string();
    assert!(fault.contains("/nowhere/at/all"), "{fault}");
}
