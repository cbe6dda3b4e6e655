//! Measures a sequence model on a set of sequences by leave-one-out, the protocol of the papers: of each user the last item
//! tests, the one before it validates, the rest is learned from; the whole catalogue is ranked without what the history holds.
//!
//! ```text
//! gzip -dc ../shared/data/movielens_1m/sequences.tsv.gz |
//!     cargo run --release -p qhatu-models --example leave_one_out MODEL [settings as JSON] [seed] [folder]
//! ```
//!
//! The input has a head and a line per interaction, `user<TAB>item`, users one after another, items in their order; both
//! are numbered. A third column may hold the seconds since the user's interaction before. MODEL is `sasrec`, `gru4rec` or
//! `bert4rec`, or `decayed_markov` as what they must beat. Settings are over those for papers. The folder may hold what is said
//! of the items, for `inputs`: `text.f32` (a vector of each item's title: little-endian numbers, item 1 first) and
//! `categories.tsv` (a line per item, its categories with tabs between); and the fitted model is kept there.
//!
//! Prints, separated by tabs: `epoch NUMBER SECONDS LOSS NDCG@10` of the validation items after each epoch, and in the end
//! `test NDCG@10 HR@10 SECONDS`. Then the same, without the seconds and with the number of cases, for parts of the cases
//! (`slice NAME NDCG@10 HR@10 CASES`): test items of the same day as the item before or of a later one, those whose item was
//! learned from least often (`cold`: the half below the median) and the others, users with at most three events to
//! learn from and the others. A sequence model is then mixed with the decayed Markov model, `(1 − w) p + w q` with `q` its scores
//! over their sum and `w` chosen on the validation items: `mixture W NDCG@10 HR@10` and its slices, `mixture-slice …`.

#![expect(clippy::print_stdout, reason = "the figures are this program's answer")]

#[path = "leave_one_out/cases.rs"]
mod cases;
#[path = "leave_one_out/reading.rs"]
mod reading;

use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use qhatu_models::sequence::{Context, Distance, Progress, SequenceConfig, SequenceModel, Steps};
use qhatu_models::{
    Interactions, Recommender, TensorFile, bert4rec, decayed_markov, gru4rec, load_model, sasrec,
};
use serde_json::Value;

use self::cases::{Asked, Cases, Figures};

/// Weights of the Markov model that are tried.
const WEIGHTS: [f64; 10] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

fn main() -> Result<(), Box<dyn Error>> {
    let argument = |place: usize| std::env::args().nth(place);
    let name = argument(1).ok_or("name a model")?;
    let over: Value = serde_json::from_str(&argument(2).unwrap_or_else(|| "{}".to_owned()))?;
    let folder = argument(4).map(PathBuf::from);
    let known = reading::read(folder.as_deref())?;
    let seed = argument(3).map_or(Ok(1), |seed| seed.parse())?;
    let run =
        Run { seed, keep: folder.map(|folder| folder.join("model.safetensors")), begun: Instant::now() };
    let papers = decayed_markov::Config { window: 10, normalization: 0.0, ..Default::default() };
    let markov = |data: &Interactions, over: &Value| -> Result<Box<dyn Recommender>, Box<dyn Error>> {
        Ok(Box::new(decayed_markov::DecayedMarkov::fit(data, &with(papers, over)?)))
    };
    let data = known.interactions()?;
    let model: Box<dyn Recommender> = match name.as_str() {
        "sasrec" => run
            .fit(&data, &with(sasrec::Config { validation_days: 1.0, ..sasrec::Config::papers() }, &over)?)?,
        "gru4rec" => run.fit(&data, &with(recurrent(), &over)?)?,
        "bert4rec" => run.fit(&data, &with(hidden(), &over)?)?,
        "decayed_markov" => markov(&data, &over)?,
        name => return Err(format!("no model {name:?} here").into()),
    };
    let took = run.begun.elapsed().as_secs_f64();
    let cases = Cases::new(&known);
    let found = cases.judged(Asked::Test, &[(&*model, 1.0)]);
    let [ndcg, hits] = cases.mean(&found, |_| true).0;
    println!("test\t{ndcg:.5}\t{hits:.5}\t{took:.1}");
    slices("slice", &cases, &found);
    if name != "decayed_markov" {
        mixed(&cases, &*model, [&*markov(&known.learned()?, &Value::Null)?, &*markov(&data, &Value::Null)?]);
    }
    Ok(())
}

/// The mixture with a Markov model: one that has not learned of the validation items chooses the weight, the other tests.
fn mixed(cases: &Cases, model: &dyn Recommender, [early, late]: [&dyn Recommender; 2]) {
    let of = |asked: Asked, weight: f64, markov: &dyn Recommender| {
        cases.judged(asked, &[(model, 1.0 - weight), (markov, weight)])
    };
    let validation = |weight: f64| cases.mean(&of(Asked::Validation, weight, early), |_| true).0[0];
    let tried = WEIGHTS.map(|weight| (validation(weight), weight));
    tried.iter().for_each(|(ndcg, weight)| println!("weight\t{weight}\t{ndcg:.5}"));
    let best = tried.into_iter().fold((0.0, 0.0), |best, own| if own.0 > best.0 { own } else { best });
    let found = of(Asked::Test, best.1, late);
    let [ndcg, hits] = cases.mean(&found, |_| true).0;
    println!("mixture\t{}\t{ndcg:.5}\t{hits:.5}", best.1);
    slices("mixture-slice", cases, &found);
}

fn slices(what: &str, cases: &Cases, found: &[Figures]) {
    for (name, is_in) in cases.slices() {
        let ([ndcg, hits], count) = cases.mean(found, |case| is_in[case]);
        println!("{what}\t{name}\t{ndcg:.5}\t{hits:.5}\t{count}");
    }
}

struct Run {
    seed: u64,
    /// Where the fitted model is kept.
    keep: Option<PathBuf>,
    begun: Instant,
}

impl Run {
    /// Trains until early stopping and tells of each epoch; or loads what was trained before.
    fn fit<C: SequenceConfig + 'static>(
        &self,
        data: &Interactions,
        config: &C,
    ) -> Result<Box<dyn Recommender>, Box<dyn Error>> {
        if let Some(bytes) = self.keep.as_ref().and_then(|path| std::fs::read(path).ok()) {
            return Ok(load_model(&TensorFile::from_bytes(&bytes)?)?);
        }
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
        let checkpoint = self.keep.as_ref().map(|path| path.with_extension("checkpoint"));
        let mut context = Context { checkpoint: checkpoint.as_deref(), progress };
        let model = SequenceModel::fit_with(data, config, self.seed, &mut context)?;
        if let Some(path) = &self.keep {
            std::fs::write(path, model.save().to_bytes()?)?;
        }
        Ok(Box::new(model))
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
