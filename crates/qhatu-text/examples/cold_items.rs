//! Our side of `cargo xtask bench cold`: items that nobody bought before, found by their titles.
//!
//! ```text
//! cargo run --release -p qhatu-text --example cold_items -- LINES.tsv
//! ```
//!
//! `LINES.tsv` comes from `benches/peers/cold_lines.py`. A tenth of the items is cold: none of their order lines
//! teaches. A small BERT is pre-trained on the titles and fine-tuned on product → next product (neighbouring lines of an
//! order before the last 28 days). Then, for the lines of the last 28 days behind which a cold item comes, all items
//! are ranked by the title, and recall@20 is the share of which the item that came is among the first 20. BM25 ranks by
//! the same titles (Robertson and Zaragoza, 2009; k₁ 1.2, b 0.75), popularity by order lines before. What no
//! model without those lines can be expected to reach is what they themselves tell: `known` ranks by how often, in all orders
//! before, an item stood at most five lines behind the other or before it. One line of JSON a seed: the cases, and the four
//! figures over the whole catalogue and among cold items alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error;

use qhatu_text::{
    Bert, BertConfig, Next, Normalizer, Pair, Parts, TextEncoder, Tokenizer, TrainingConfig,
    WordPieceTrainer, words,
};
use serde_json::json;

/// The first day that judges.
const FROM: &str = "2011-11-12";
const K: usize = 20;
const MOST_PAIRS: usize = 120_000;
const SEEDS: [u64; 3] = [1, 2, 3];

/// What is known of a shop's order lines.
struct Shop {
    titles: Vec<String>,
    is_cold: Vec<bool>,
    /// Order lines of each item before the judged days; 0 for cold ones.
    counts: Vec<f32>,
    /// Neighbouring lines, none of them cold, before; and (line, cold line behind it) afterwards.
    taught: Vec<(usize, usize)>,
    asked: Vec<(usize, usize)>,
    /// For each item how often others stood near it in orders before, those of cold items too.
    near: Vec<HashMap<usize, f32>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("cold_items LINES.tsv")?;
    let shop = read(&std::fs::read_to_string(path)?)?;
    let bm25 = recall(&shop, &bm25(&shop.titles));
    let popularity = recall(&shop, &|_: usize| shop.counts.clone());
    let known = recall(&shop, &|item: usize| {
        let mut scores = vec![0.0; shop.titles.len()];
        shop.near[item].iter().for_each(|(other, times)| scores[*other] = *times);
        scores
    });
    for seed in SEEDS {
        let encoder = taught(&shop, seed)?;
        let width = encoder.width();
        let vectors = encoder.encode(&shop.titles)?;
        let cosine = |item: usize| -> Vec<f32> {
            let own = &vectors[item * width..][..width];
            vectors.chunks_exact(width).map(|other| own.iter().zip(other).map(|(a, b)| a * b).sum()).collect()
        };
        let line = json!({
            "seed": seed, "cases": shop.asked.len(), "items": shop.titles.len(),
            "cold": shop.is_cold.iter().filter(|cold| **cold).count(),
            "title_model": recall(&shop, &cosine), "bm25": bm25, "popularity": popularity,
            "known": known,
        });
        write(&line)?;
    }
    Ok(())
}

fn write(line: &serde_json::Value) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}")
}

fn read(text: &str) -> Result<Shop, Box<dyn Error>> {
    let mut index: HashMap<&str, usize> = HashMap::new();
    let mut titles = Vec::new();
    let mut orders: BTreeMap<&str, (&str, Vec<usize>)> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [order, day, item, title] = fields[..] else { return Err("four fields a line".into()) };
        let next = index.len();
        let place = *index.entry(item).or_insert(next);
        if place == titles.len() {
            titles.push(title.to_owned());
        }
        let (_, lines) = orders.entry(order).or_insert((day, Vec::new()));
        if !lines.contains(&place) {
            lines.push(place);
        }
    }
    let mut is_cold = vec![false; titles.len()];
    index.iter().for_each(|(item, place)| is_cold[*place] = number(item).is_multiple_of(10));
    let (mut counts, mut taught, mut asked) = (vec![0.0; titles.len()], Vec::new(), Vec::new());
    let mut near = vec![HashMap::new(); titles.len()];
    for (day, lines) in orders.values() {
        if *day < FROM {
            lines.iter().filter(|item| !is_cold[**item]).for_each(|item| counts[*item] += 1.0);
            let pairs = lines.windows(2).filter(|pair| !is_cold[pair[0]] && !is_cold[pair[1]]);
            taught.extend(pairs.map(|pair| (pair[0], pair[1])));
            count_near(lines, &mut near);
        } else {
            let pairs = lines.windows(2).filter(|pair| !is_cold[pair[0]] && is_cold[pair[1]]);
            asked.extend(pairs.map(|pair| (pair[0], pair[1])));
        }
    }
    Ok(Shop { titles, is_cold, counts, taught, asked, near })
}

/// Counts who stands within five lines: as much less as they are farther, and before an item three tenths as much as behind.
fn count_near(lines: &[usize], near: &mut [HashMap<usize, f32>]) {
    for (place, item) in lines.iter().enumerate() {
        for (steps, other) in (1_u8..=5).zip(&lines[place + 1..]) {
            *near[*item].entry(*other).or_default() += 1.0 / f32::from(steps);
            *near[*other].entry(*item).or_default() += 0.3 / f32::from(steps);
        }
    }
}

/// FNV-1a: the same on every machine.
fn number(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step) >> 16
}

/// A BERT from nothing: the titles, then what came behind what.
fn taught(shop: &Shop, seed: u64) -> Result<TextEncoder, Box<dyn Error>> {
    let trainer = WordPieceTrainer { vocab_size: 4_000, ..WordPieceTrainer::default() };
    let vocabulary = trainer.train(shop.titles.iter().map(String::as_str))?;
    let config = BertConfig {
        vocab_size: vocabulary.len(),
        hidden_size: 128,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 512,
        max_position_embeddings: 32,
        ..BertConfig::default()
    };
    let parts = Parts { pooler: false, masked_language_head: true, seed: Some(seed) };
    let tokenizer = Tokenizer::new(vocabulary, Normalizer::UNCASED)?;
    let mut encoder = TextEncoder::new(tokenizer, Bert::new(config, parts)?)?;
    let settings = TrainingConfig { epochs: 10, learning_rate: 1e-3, seed, ..TrainingConfig::default() };
    encoder.pretrain(&shop.titles, settings, None, |_| Next::Continue)?;
    let step = shop.taught.len().div_ceil(MOST_PAIRS).max(1);
    let text = |item: usize| shop.titles[item].clone();
    let pair = |(query, answer): &(usize, usize)| Pair { query: text(*query), answer: text(*answer) };
    let pairs: Vec<Pair> = shop.taught.iter().step_by(step).map(pair).collect();
    let settings = TrainingConfig { epochs: 1, batch_size: 128, learning_rate: 5e-4, ..settings };
    encoder.finetune(&pairs, (settings, 0.05), None, |_| Next::Continue)?;
    Ok(encoder)
}

/// Scores of all titles for one of them as a query.
fn bm25(titles: &[String]) -> impl Fn(usize) -> Vec<f32> {
    let normalized: Vec<String> = titles.iter().map(|title| Normalizer::UNCASED.normalize(title)).collect();
    let texts: Vec<Vec<&str>> = normalized.iter().map(|text| words(text).collect()).collect();
    let mean = texts.iter().map(Vec::len).sum::<usize>() as f32 / texts.len() as f32;
    let mut holders: HashMap<String, Vec<(usize, f32)>> = HashMap::new();
    for (place, text) in texts.iter().enumerate() {
        let own: HashSet<&str> = text.iter().copied().collect();
        for word in own {
            let times = text.iter().filter(|other| **other == word).count() as f32;
            let weight = times * 2.2 / (times + 1.2 * (0.25 + 0.75 * text.len() as f32 / mean));
            holders.entry(word.to_owned()).or_default().push((place, weight));
        }
    }
    let queries: Vec<Vec<String>> =
        texts.iter().map(|text| text.iter().map(|word| (*word).to_owned()).collect()).collect();
    let count = queries.len() as f32;
    move |item| {
        let mut scores = vec![0.0; queries.len()];
        for word in &queries[item] {
            let held = &holders[word];
            let rare = ((count - held.len() as f32 + 0.5) / (held.len() as f32 + 0.5) + 1.0).ln();
            held.iter().for_each(|(place, weight)| scores[*place] += rare * weight);
        }
        scores
    }
}

/// Recall@20 over the whole catalogue, and among cold items. Of equal scores the item that came is the last.
fn recall(shop: &Shop, scores: &dyn Fn(usize) -> Vec<f32>) -> [f64; 2] {
    let mut known: HashMap<usize, Vec<f32>> = HashMap::new();
    let mut hits = [0_usize; 2];
    for (query, came) in &shop.asked {
        let scores = known.entry(*query).or_insert_with(|| scores(*query));
        let before = |only_cold: bool| {
            let all = (0..scores.len()).filter(|item| item != query && item != came);
            all.filter(|item| (!only_cold || shop.is_cold[*item]) && scores[*item] >= scores[*came]).count()
        };
        hits[0] += usize::from(before(false) < K);
        hits[1] += usize::from(before(true) < K);
    }
    hits.map(|hits| hits as f64 / shop.asked.len().max(1) as f64)
}
