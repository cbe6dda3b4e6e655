//! The tokenizer against Hugging Face's `tokenizers` (golden/make_tokenizer.py): the same numbers on
//! Spanish, English, emoji, edge cases, Online Retail's titles and the Peruvian catalogue.

use std::collections::BTreeSet;
use std::io::Read;

use crate::place;
use qhatu_text::{Normalizer, Tokenizer, Vocabulary, WordPieceTrainer};
use serde::Deserialize;
use sha2::Digest;

#[derive(Deserialize)]
struct Row {
    text: String,
    minilm: Vec<u32>,
    small: Vec<u32>,
}

fn read(file: &str) -> String {
    std::fs::read_to_string(place::golden(file)).unwrap()
}

fn rows() -> Vec<Row> {
    serde_json::from_str(&read("tokenizer.json")).unwrap()
}

#[test]
fn a_small_cased_vocabulary_gives_the_published_numbers() {
    let vocabulary = Vocabulary::from_lines(&read("small_vocab.txt")).unwrap();
    let tokenizer = Tokenizer::new(vocabulary, Normalizer::CASED).unwrap();
    for row in rows() {
        // Its post-processor was not set, so the published numbers are without the frame.
        assert_eq!(tokenizer.tokens(&row.text), row.small, "{:?}", row.text);
    }
}

#[test]
fn minilm_gives_the_published_numbers() {
    let Some(folder) = place::minilm() else { return };
    let tokenizer = Tokenizer::read(&folder).unwrap();
    for row in rows() {
        assert_eq!(tokenizer.encode(&row.text, usize::MAX).ids, row.minilm, "{:?}", row.text);
    }
    // The same from `vocab.txt` and `tokenizer_config.json` alone.
    let beside = tempfile::tempdir().unwrap();
    for file in ["vocab.txt", "tokenizer_config.json"] {
        std::fs::copy(folder.join(file), beside.path().join(file)).unwrap();
    }
    let tokenizer = Tokenizer::read(beside.path()).unwrap();
    for row in rows() {
        assert_eq!(tokenizer.encode(&row.text, usize::MAX).ids, row.minilm, "{:?}", row.text);
    }
}

#[test]
fn minilm_gives_the_published_numbers_on_the_peruvian_catalogue() {
    let Some(folder) = place::minilm() else { return };
    let Some(catalogue) = place::shared("peru_catalog/spanish_catalog.jsonl.gz") else { return };
    let tokenizer = Tokenizer::read(&folder).unwrap();
    let mut lines = String::new();
    let file = std::fs::File::open(catalogue).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut lines).unwrap();
    let mut found = sha2::Sha256::new();
    let (mut texts, mut tokens) = (0, 0);
    for line in lines.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let ids = tokenizer.encode(row["title"].as_str().unwrap(), usize::MAX).ids;
        texts += 1;
        tokens += ids.len();
        found.update((ids.len() as u32).to_le_bytes());
        ids.iter().for_each(|id| found.update(id.to_le_bytes()));
    }
    let expected: serde_json::Value = serde_json::from_str(&read("digests.json")).unwrap();
    let expected = &expected["peru_catalog"];
    assert_eq!((expected["texts"].as_u64(), expected["tokens"].as_u64()), (Some(texts), Some(tokens as u64)));
    let hex: String = found.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(expected["sha256"], hex);
}

/// What becomes of `aXb`: r removed, s a blank, p a word of its own, o anything else.
fn kind_of(point: u32) -> Option<char> {
    let c = char::from_u32(point)?;
    let normal = Normalizer::UNCASED.normalize(&format!("a{c}b"));
    Some(match normal.as_str() {
        "ab" => 'r',
        "a b" => 's',
        text if qhatu_text::words(text).count() == 3 => 'p',
        _ => 'o',
    })
}

#[test]
fn every_code_point_is_treated_as_published_but_for_newer_ones() {
    let mut expected = vec!['o'; 0x11_0000];
    for line in read("unicode.tsv").lines() {
        let mut fields = line.split('\t');
        let mut point = || usize::from_str_radix(fields.next().unwrap(), 16).unwrap();
        let range = point()..=point();
        expected[range].fill(fields.next().unwrap().chars().next().unwrap());
    }
    let differs = |point: &u32| kind_of(*point).is_some_and(|kind| kind != expected[*point as usize]);
    let different: Vec<u32> = (1..0x11_0000).filter(differs).collect();
    println!("{} code points are treated otherwise", different.len());
    assert!(different.len() <= 700, "{}", different.len());
    // Latin, Greek, Cyrillic, CJK and emoji are treated as published.
    let common = |point: &&u32| **point < 0x5c8 || (0x3000..0xa000).contains(*point) || **point >= 0x1f000;
    assert_eq!(different.iter().find(common), None);
}

#[test]
fn a_vocabulary_is_learned_in_the_published_trainers_order_up_to_the_first_tie() {
    let rows = rows();
    let ascii = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphabetic());
    let words: BTreeSet<&str> = rows.iter().flat_map(|row| row.text.split(' ')).filter(ascii).collect();
    let repeated = |(place, word): (usize, &str)| format!("{word} ").repeat(place * 7919 % 1013 + 1);
    let texts: Vec<String> = words.into_iter().enumerate().map(repeated).collect();
    let trainer = WordPieceTrainer {
        vocab_size: 800,
        min_frequency: 0,
        limit_alphabet: usize::MAX,
        normalizer: Normalizer::CASED,
        ..WordPieceTrainer::default()
    };
    let ours = trainer.train(texts.iter().map(String::as_str)).unwrap();
    let theirs = Vocabulary::from_lines(&read("learned_vocab.txt")).unwrap();
    assert_eq!(ours.len(), theirs.len());
    let merged = |vocabulary: &Vocabulary| -> Vec<String> {
        let is_merged = |token: &&String| token.trim_start_matches('#').len() > 1;
        vocabulary.tokens()[5..].iter().filter(is_merged).cloned().collect()
    };
    let (ours_merged, theirs_merged) = (merged(&ours), merged(&theirs));
    let same = ours_merged.iter().zip(&theirs_merged).take_while(|(ours, theirs)| ours == theirs).count();
    println!("the first {same} of {} merges are the same, in order", ours_merged.len());
    // Then two pairs of one word occur equally often, and the published trainer's hash tables decide.
    assert!(same >= 100, "{same}");
    assert_eq!(ours, trainer.train(texts.iter().map(String::as_str)).unwrap(), "again the same");
}
