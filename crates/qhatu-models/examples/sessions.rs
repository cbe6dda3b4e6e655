//! Measures models on sessions: how well they name the next item, and how long a query takes.
//!
//! ```text
//! cargo run --release -p qhatu-models --example sessions -- TRAIN TEST MODEL[@SEED] [CONFIG as JSON] [MODEL CONFIG] …
//! ```
//!
//! `TRAIN`: one session a line, item numbers apart by spaces, oldest session first. `TEST`: a prefix, a tab
//! and the item that came next; `benches/peers/session_files.py` writes both. `last:N` in its place holds the last N
//! sessions of `TRAIN` back and asks for every item of theirs but the first: settings are chosen on that. The files have no
//! times, so sessions are spread evenly over 100 days, and their items stand a millisecond apart.
//!
//! Prints a line of JSON a model: HR@20 and MRR@20 over all prefixes, with the prefix's own items in the list, and
//! percentiles of the milliseconds that one query takes on one thread (`recommend` with k = 21).

use std::error::Error;
use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::Instant;

use qhatu_models::{
    History, Interactions, Purchase, Recommender, Vocabulary, decayed_markov, gru4rec, lambda_mart,
    own_frequency, sasrec, vmis_knn, vstan,
};
use qhatu_schema::{ItemId, ItemIdx};
use rayon::prelude::*;
use serde_json::{Map, Value};

const SPAN: i64 = 100 * 86_400_000;
/// Prefixes whose time is taken.
const TIMED: usize = 4_000;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [train, test, asked @ ..] = words.as_slice() else {
        return Err("usage: sessions TRAIN TEST MODEL [CONFIG as JSON] …".into());
    };
    let mut sessions = read_sessions(train)?;
    let items = sessions.iter().flatten().map(|item| item.0).max().unwrap_or_default();
    let prefixes = match test.strip_prefix("last:") {
        Some(count) => hold_back(&mut sessions, count.parse()?),
        None => read_prefixes(test)?,
    };
    let data = interactions(&sessions, items)?;
    for model in asked.chunks(2) {
        let config = model.get(1).map_or("{}", String::as_str);
        let begun = Instant::now();
        let fitted = fit(&model[0], config, &data)?;
        let seconds = begun.elapsed().as_secs_f64();
        let (hits, ranks) = quality(&*fitted, &prefixes);
        let took = times(&*fitted, &prefixes[..prefixes.len().min(TIMED)]);
        let at = |share: f64| took[((share * took.len() as f64) as usize).min(took.len() - 1)];
        writeln!(
            stdout(),
            r#"{{"model":"{}","config":{config},"prefixes":{},"hr_at_20":{hits:.5},"mrr_at_20":{ranks:.5},"fit_s":{seconds:.1},"p50":{:.5},"p90":{:.5},"p99":{:.5},"max":{:.5}}}"#,
            model[0],
            prefixes.len(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0),
        )?;
    }
    Ok(())
}

/// Fits `MODEL` or `MODEL@SEED`.
fn fit(asked: &str, config: &str, data: &Interactions) -> Result<Box<dyn Recommender>, Box<dyn Error>> {
    let (name, seed) = asked.split_once('@').unwrap_or((asked, "1"));
    let seed: u64 = seed.parse()?;
    Ok(match name {
        "vmis_knn" => Box::new(vmis_knn::VmisKnn::fit(data, &serde_json::from_str(config)?)?),
        "vstan" => Box::new(vstan::Vstan::fit(data, &serde_json::from_str(config)?)?),
        "decayed_markov" => {
            Box::new(decayed_markov::DecayedMarkov::fit(data, &serde_json::from_str(config)?))
        }
        "own_frequency" => Box::new(own_frequency::OwnFrequency::fit(data, &serde_json::from_str(config)?)),
        "gru4rec" => Box::new(gru4rec::Gru4Rec::fit(data, &serde_json::from_str(config)?, seed)?),
        "sasrec" => Box::new(sasrec::SasRec::fit(data, &serde_json::from_str(config)?, seed)?),
        "lambda_mart" => fit_mixture(config, seed, data)?,
        name => return Err(format!("no model {name:?} here").into()),
    })
}

/// The settings of `lambda_mart`, with those of its models under `parts`.
fn fit_mixture(config: &str, seed: u64, data: &Interactions) -> Result<Box<dyn Recommender>, Box<dyn Error>> {
    let mut config: Map<String, Value> = serde_json::from_str(config)?;
    let parts = config.remove("parts").unwrap_or_default();
    let parts: Map<String, Value> = serde_json::from_value(parts)?;
    config.insert("models".to_owned(), parts.keys().cloned().collect());
    let config: lambda_mart::Config = serde_json::from_value(Value::Object(config))?;
    let fit =
        |name: &str, data: &Interactions| fit(&format!("{name}@{seed}"), &parts[name].to_string(), data);
    Ok(Box::new(lambda_mart::LambdaMart::fit(data, &config, seed, fit)?))
}

type Session = Vec<ItemIdx>;
type Prefix = (Vec<ItemIdx>, ItemIdx);

fn numbers(text: &str) -> Result<Session, std::num::ParseIntError> {
    text.split_ascii_whitespace().map(|item| item.parse().map(ItemIdx)).collect()
}

fn read_sessions(path: &str) -> Result<Vec<Session>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().map(numbers).collect::<Result<_, _>>()?)
}

fn read_prefixes(path: &str) -> Result<Vec<Prefix>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let prefix = |line: &str| -> Result<Prefix, Box<dyn Error>> {
        let (prefix, label) = line.split_once('\t').ok_or("a line without a tab")?;
        Ok((numbers(prefix)?, ItemIdx(label.trim().parse()?)))
    };
    text.lines().map(prefix).collect()
}

/// Takes the last sessions out; every beginning of one asks for what came next.
fn hold_back(sessions: &mut Vec<Session>, count: usize) -> Vec<Prefix> {
    let last = sessions.split_off(sessions.len().saturating_sub(count));
    let cut = |session: &Session| {
        let at = 1..session.len();
        at.map(|at| (session[..at].to_vec(), session[at])).collect::<Vec<_>>()
    };
    last.iter().flat_map(cut).collect()
}

fn interactions(sessions: &[Session], items: u32) -> Result<Interactions, Box<dyn Error>> {
    let mut lines = Vec::new();
    for (number, session) in sessions.iter().enumerate() {
        let begun = number as i64 * (SPAN / sessions.len().max(1) as i64);
        for (place, item) in (0..).zip(session) {
            let order = lines.len() as u32;
            lines.push(Purchase { time: begun + place, user: number as u32, order, item: *item });
        }
    }
    let names = (1..=items).map(|item| ItemId::new(item.to_string())).collect::<Result<Vec<_>, _>>()?;
    Ok(Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, SPAN))
}

fn ask(model: &dyn Recommender, items: &[ItemIdx], k: usize) -> Vec<ItemIdx> {
    let now = SPAN + items.len() as i64;
    let times: Vec<i64> = (SPAN..now).collect();
    let best = model.recommend(&History::bought(items, &times, now), k, &|_| false);
    best.iter().map(|scored| scored.item).collect()
}

/// Hit rate and mean reciprocal rank at 20; a prefix without a list counts 0.
fn quality(model: &dyn Recommender, prefixes: &[Prefix]) -> (f64, f64) {
    let place = |(items, label): &Prefix| ask(model, items, 20).iter().position(|item| item == label);
    let places: Vec<Option<usize>> = prefixes.par_iter().map(place).collect();
    let count = prefixes.len().max(1) as f64;
    let found = places.into_iter().flatten();
    let (hits, ranks) =
        found.fold((0.0, 0.0), |(hits, ranks), place| (hits + 1.0, ranks + 1.0 / (place + 1) as f64));
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
