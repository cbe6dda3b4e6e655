//! Measures a sequence model on a set of sequences by leave-one-out, the protocol of the papers: of each user the last item
//! tests, the one before it validates, the rest is learned from; the whole catalogue is ranked without what the history holds.
//!
//! ```text
//! gzip -dc ../shared/data/movielens_1m/sequences.tsv.gz |
//!     cargo run --release -p qhatu-models --example leave_one_out MODEL [settings as JSON] [seed]
//! ```
//!
//! The input has a head and a line per interaction, `user<TAB>item`, users one after another, items in their order; both
//! are numbered. MODEL is `sasrec`, `gru4rec` or `bert4rec`, or `decayed_markov` as what they must beat. Settings are over
//! those for papers.
//!
//! Prints, separated by tabs: `epoch NUMBER SECONDS LOSS NDCG@10` of the validation items after each epoch, and in the end `test
//! NDCG@10 HR@10 SECONDS`.

#![expect(clippy::print_stdout, reason = "the figures are this program's answer")]

use std::error::Error;
use std::io::stdin;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use qhatu_models::sequence::{Context, Distance, Progress, SequenceConfig, SequenceModel, Steps};
use qhatu_models::{
    History, Interactions, ModelError, Purchase, Recommender, Vocabulary, bert4rec, decayed_markov, gru4rec,
    sasrec, top_k,
};
use qhatu_schema::{ItemId, ItemIdx};
use rayon::prelude::*;
use serde_json::Value;

const DAY: i64 = 86_400_000;
const K: usize = 10;

/// The items of a user, in order.
type Sequence = Vec<ItemIdx>;

fn main() -> Result<(), Box<dyn Error>> {
    let argument = |place: usize| std::env::args().nth(place);
    let name = argument(1).ok_or("name a model")?;
    let over: Value = serde_json::from_str(&argument(2).unwrap_or_else(|| "{}".to_owned()))?;
    let run = Run { seed: argument(3).map_or(Ok(1), |seed| seed.parse())?, begun: Instant::now() };
    let sequences = read()?;
    let data = interactions(&sequences)?;
    let run = Run { begun: Instant::now(), ..run };
    let model: Box<dyn Recommender> = match name.as_str() {
        "sasrec" => run
            .fit(&data, &with(sasrec::Config { validation_days: 1.0, ..sasrec::Config::papers() }, &over)?)?,
        "gru4rec" => run.fit(&data, &with(recurrent(), &over)?)?,
        "bert4rec" => run.fit(&data, &with(hidden(), &over)?)?,
        "decayed_markov" => {
            let papers = decayed_markov::Config { window: 10, normalization: 0.0, ..Default::default() };
            Box::new(decayed_markov::DecayedMarkov::fit(&data, &with(papers, &over)?))
        }
        name => return Err(format!("no model {name:?} here").into()),
    };
    let took = run.begun.elapsed().as_secs_f64();
    let found = judged(&*model, &sequences);
    let mean = |of: fn(&[f64; 2]) -> f64| found.iter().map(of).sum::<f64>() / found.len().max(1) as f64;
    println!("test\t{:.5}\t{:.5}\t{took:.1}", mean(|user| user[0]), mean(|user| user[1]));
    Ok(())
}

struct Run {
    seed: u64,
    begun: Instant,
}

impl Run {
    /// Trains until early stopping and tells of each epoch.
    fn fit<C: SequenceConfig + 'static>(
        &self,
        data: &Interactions,
        config: &C,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let mut seen = 0;
        let progress = &mut |now: &Progress| {
            if now.epoch > seen {
                seen = now.epoch;
                let seconds = self.begun.elapsed().as_secs_f64();
                let validation = now.validation_new.unwrap_or(f64::NAN);
                println!("epoch\t{seen}\t{seconds:.1}\t{:.4}\t{validation:.5}", now.loss);
            }
            ControlFlow::Continue(())
        };
        let mut context = Context { checkpoint: None, progress };
        Ok(Box::new(SequenceModel::fit_with(data, config, self.seed, &mut context)?))
    }
}

/// Settings with some of them replaced.
fn with<C: serde::Serialize + serde::de::DeserializeOwned>(
    config: C,
    over: &Value,
) -> Result<C, Box<dyn Error>> {
    let mut all = serde_json::to_value(config)?;
    if let (Value::Object(all), Value::Object(over)) = (&mut all, over) {
        all.extend(over.clone());
    }
    Ok(serde_json::from_value(all)?)
}

fn recurrent() -> gru4rec::Config {
    gru4rec::Config {
        hidden_size: 128,
        max_length: 200,
        hidden_dropout_prob: 0.2,
        item_dropout_prob: 0.0,
        weight_decay: 0.01,
        batch_size: 128,
        epochs: 200,
        patience: 10,
        validation_days: 1.0,
        refit: false,
        recency_half_life_days: 0.0,
        horizon_days: 0.0,
        steps: Steps::Items,
        repeats: false,
        trend: false,
        ..Default::default()
    }
}

fn hidden() -> bert4rec::Config {
    bert4rec::Config {
        max_length: 200,
        hidden_dropout_prob: 0.2,
        weight_decay: 0.01,
        batch_size: 128,
        epochs: 1000,
        patience: 50,
        validation_days: 1.0,
        refit: false,
        recency_half_life_days: 0.0,
        attention_bias: Distance::Steps,
        repeats: false,
        trend: false,
        ..Default::default()
    }
}

fn read() -> Result<Vec<Sequence>, Box<dyn Error>> {
    let mut sequences: Vec<Sequence> = Vec::new();
    let mut last = String::new();
    for line in stdin().lines().skip(1) {
        let line = line?;
        let (user, item) = line.split_once('\t').ok_or_else(|| format!("no tab in {line:?}"))?;
        if user != last {
            user.clone_into(&mut last);
            sequences.push(Vec::new());
        }
        let item = ItemIdx(item.trim().parse()?);
        sequences.last_mut().ok_or("a line without a user")?.push(item);
    }
    Ok(sequences)
}

/// What is learned from, and a day later, as the training's validation period, the item before the last.
fn interactions(sequences: &[Sequence]) -> Result<Interactions, Box<dyn Error>> {
    let items = sequences.iter().flatten().map(|item| item.0).max().unwrap_or(0);
    let names = (1..=items).map(|item| ItemId::new(item.to_string())).collect::<Result<Vec<_>, _>>()?;
    let longest = sequences.iter().map(Vec::len).max().unwrap_or(0) as i64;
    let validated = longest + DAY;
    let mut lines = Vec::new();
    for (user, sequence) in sequences.iter().enumerate() {
        let known = sequence.len().saturating_sub(1);
        for (place, item) in sequence[..known].iter().enumerate() {
            let time = if place + 1 == known { validated } else { place as i64 };
            let order = lines.len() as u32;
            lines.push(Purchase { time, user: user as u32, order, item: *item });
        }
    }
    let vocabulary = Arc::new(Vocabulary::new(names));
    Ok(Interactions::from_purchases(vocabulary, &lines, validated + 1))
}

/// NDCG and hit of each user's last item.
fn judged(model: &dyn Recommender, sequences: &[Sequence]) -> Vec<[f64; 2]> {
    let one = |sequence: &Sequence| {
        let (last, known) = sequence.split_last()?;
        let times: Vec<i64> = (0..known.len() as i64).collect();
        let history = History { items: known, times: &times, now: known.len() as i64 };
        let mut scores = vec![0.0; model.catalogue_size() + 1];
        model.score(&history, &mut scores);
        let list = top_k(&scores, K, |item| known.contains(&item));
        let place = list.iter().position(|scored| scored.item == *last);
        Some(place.map_or([0.0; 2], |place| [1.0 / (place as f64 + 2.0).log2(), 1.0]))
    };
    sequences.par_iter().filter_map(one).collect()
}
