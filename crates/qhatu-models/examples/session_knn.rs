//! Measures the session model: how good its next item is, and how long its kernel takes.
//!
//! ```text
//! cargo run --release -p qhatu-models --example session_knn -- TRAIN TEST [CONFIG as JSON] …
//! ```
//!
//! `TRAIN`: one session a line, item numbers apart by spaces, oldest session first. `TEST`: a prefix, a tab
//! and the item that came next. `benches/peers/session_files.py` writes both. Prints a line of JSON a
//! configuration: HR@20 and MRR@20 over all prefixes, with the prefix's own items in the list, and
//! percentiles of the milliseconds that one query takes on one thread (`recommend` with k = 21).

use std::error::Error;
use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::Instant;

use qhatu_models::{History, Interactions, Purchase, Recommender, Vocabulary, vmis_knn};
use qhatu_schema::{ItemId, ItemIdx};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [train, test, configs @ ..] = words.as_slice() else {
        return Err("usage: session_knn TRAIN TEST [CONFIG as JSON] …".into());
    };
    let data = read_sessions(train)?;
    let prefixes = read_prefixes(test)?;
    let default = ["{}".to_owned()];
    for text in if configs.is_empty() { &default } else { configs } {
        let config: vmis_knn::Config = serde_json::from_str(text)?;
        let model = vmis_knn::VmisKnn::fit(&data, &config)?;
        let (hits, ranks) = quality(&model, &prefixes);
        let took = times(&model, &prefixes);
        let at = |share: f64| took[((share * took.len() as f64) as usize).min(took.len() - 1)];
        writeln!(
            stdout(),
            r#"{{"config":{},"prefixes":{},"hr_at_20":{hits:.5},"mrr_at_20":{ranks:.5},"p50":{:.5},"p90":{:.5},"p99":{:.5},"max":{:.5}}}"#,
            serde_json::to_string(&config)?,
            prefixes.len(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0),
        )?;
    }
    Ok(())
}

type Prefix = (Vec<ItemIdx>, ItemIdx);

fn read_sessions(path: &str) -> Result<Interactions, Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let mut lines = Vec::new();
    for (number, line) in (0..).zip(text.lines()) {
        for item in line.split_ascii_whitespace() {
            let order = lines.len() as u32;
            lines.push(Purchase { time: number, user: number as u32, order, item: ItemIdx(item.parse()?) });
        }
    }
    let items = lines.iter().map(|line| line.item.0).max().unwrap_or_default();
    let names = (1..=items).map(|item| ItemId::new(item.to_string())).collect::<Result<Vec<_>, _>>()?;
    Ok(Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, i64::MAX))
}

fn read_prefixes(path: &str) -> Result<Vec<Prefix>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let prefix = |line: &str| -> Result<Prefix, Box<dyn Error>> {
        let (prefix, label) = line.split_once('\t').ok_or("a line without a tab")?;
        let items = prefix.split_ascii_whitespace().map(|item| item.parse().map(ItemIdx));
        Ok((items.collect::<Result<_, _>>()?, ItemIdx(label.trim().parse()?)))
    };
    text.lines().map(prefix).collect()
}

fn ask(model: &dyn Recommender, items: &[ItemIdx], k: usize) -> Vec<ItemIdx> {
    let times = vec![0; items.len()];
    let best = model.recommend(&History { items, times: &times, now: 0 }, k, &|_| false);
    best.iter().take_while(|scored| scored.score > 0.0).map(|scored| scored.item).collect()
}

/// Hit rate and mean reciprocal rank at 20; a prefix without a list counts 0.
fn quality(model: &dyn Recommender, prefixes: &[Prefix]) -> (f64, f64) {
    let (mut hits, mut ranks) = (0.0, 0.0);
    for (items, label) in prefixes {
        let list = ask(model, items, 20);
        if let Some(place) = list.iter().position(|item| item == label) {
            hits += 1.0;
            ranks += 1.0 / (place + 1) as f64;
        }
    }
    let count = prefixes.len().max(1) as f64;
    (hits / count, ranks / count)
}

/// Milliseconds of each query, ascending; the second round, so that nothing is touched for the first time.
fn times(model: &dyn Recommender, prefixes: &[Prefix]) -> Vec<f64> {
    let mut took = Vec::with_capacity(prefixes.len());
    for (items, _) in prefixes {
        let begun = Instant::now();
        std::hint::black_box(ask(model, items, 21));
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    took
}
