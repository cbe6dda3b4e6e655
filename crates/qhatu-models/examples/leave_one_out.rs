//! Measures a sequence model on a set of sequences by leave-one-out, the protocol of the papers: of each user the last item
//! tests, the one before it validates, the rest is learned from; the whole catalogue is ranked without what the history holds.
//!
//! ```text
//! gzip -dc ../shared/data/movielens_1m/sequences.tsv.gz |
//!     cargo run --release -p qhatu-models --example leave_one_out MODEL [settings as JSON] [seed] [folder] [mixed]
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
//! learn from and the others.
//!
//! With `mixed` a sequence model is then mixed with the decayed Markov model, `(1 − w) p + w q` with `q` its scores over their
//! sum and `w` chosen on the validation items; and both learn once more, from the validation items too, the sequence model for as many
//! epochs as were best: `whole NDCG@10 HR@10` of the sequence model alone and `mixture NDCG@10 HR@10 W`, with their slices
//! as `whole-slice …` and `mixture-slice …`.

#![expect(clippy::print_stdout, reason = "the figures are this program's answer")]

#[path = "leave_one_out/cases.rs"]
mod cases;
#[path = "leave_one_out/reading.rs"]
mod reading;

use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use qhatu_models::decayed_markov::DecayedMarkov;
use qhatu_models::sequence::{Context, Distance, Progress, SequenceConfig, SequenceModel, Steps};
use qhatu_models::{
    Interactions, Recommender, TensorFile, bert4rec, decayed_markov, gru4rec, load_model, sasrec,
};
use serde_json::{Value, json};

use self::cases::{Asked, Cases, Figures};

/// Weights of the Markov model that are tried.
const WEIGHTS: [f32; 10] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

fn main() -> Result<(), Box<dyn Error>> {
    let argument = |place: usize| std::env::args().nth(place);
    let name = argument(1).ok_or("name a model")?;
    let over: Value = serde_json::from_str(&argument(2).unwrap_or_else(|| "{}".to_owned()))?;
    let folder = argument(4).map(PathBuf::from);
    let known = reading::read(folder.as_deref())?;
    let seed = argument(3).map_or(Ok(1), |seed| seed.parse())?;
    let mixes = argument(5).is_some_and(|word| word == "mixed");
    let run = Run { seed, mixes, folder, data: known.interactions()?, cases: Cases::new(&known) };
    let papers = sasrec::Config { validation_days: 1.0, ..sasrec::Config::papers() };
    match name.as_str() {
        "sasrec" => run.sequence(&with(papers, &over)?, &known.learned()?),
        "gru4rec" => run.sequence(&with(recurrent(), &over)?, &known.learned()?),
        "bert4rec" => run.sequence(&with(hidden(), &over)?, &known.learned()?),
        "decayed_markov" => {
            let begun = Instant::now();
            let model = markov(&run.data, &over)?;
            let took = begun.elapsed().as_secs_f64();
            run.say(["test", "slice"], &run.cases.judged(&model), &format!("{took:.1}"));
            Ok(())
        }
        name => Err(format!("no model {name:?} here").into()),
    }
}

fn markov(data: &Interactions, over: &Value) -> Result<DecayedMarkov, Box<dyn Error>> {
    let papers = decayed_markov::Config { window: 10, normalization: 0.0, ..Default::default() };
    Ok(DecayedMarkov::fit(data, &with(papers, over)?))
}

struct Run<'a> {
    seed: u64,
    mixes: bool,
    /// Where fitted models are kept.
    folder: Option<PathBuf>,
    data: Interactions,
    cases: Cases<'a>,
}

impl Run<'_> {
    /// A sequence model: alone, and if wanted mixed with a Markov model.
    fn sequence<C: SequenceConfig + 'static>(
        &self,
        config: &C,
        learned: &Interactions,
    ) -> Result<(), Box<dyn Error>> {
        let begun = Instant::now();
        let (model, epochs) = self.fit(config, "model")?;
        let took = begun.elapsed().as_secs_f64();
        self.say(["test", "slice"], &self.cases.judged(&*model), &format!("{took:.1}"));
        if !self.mixes {
            return Ok(());
        }
        let early = markov(learned, &Value::Null)?;
        let tried = self.cases.mixed(Asked::Validation, [&*model, &early], &WEIGHTS);
        let mut best = (0.0, 0.0);
        for (weight, found) in WEIGHTS.iter().zip(&tried) {
            let ndcg = self.cases.mean(found, |_| true).0[0];
            println!("weight\t{weight}\t{ndcg:.5}");
            best = if ndcg > best.0 { (ndcg, *weight) } else { best };
        }
        // Nothing validates any more, so that all is learned from.
        let all = json!({ "epochs": epochs, "validation_days": 1e-9, "refit": true });
        let (whole, _) = self.fit(&with(config.clone(), &all)?, "whole")?;
        self.say(["whole", "whole-slice"], &self.cases.judged(&*whole), "");
        let late = markov(&self.data, &Value::Null)?;
        let found = self.cases.mixed(Asked::Test, [&*whole, &late], &[best.1]).concat();
        self.say(["mixture", "mixture-slice"], &found, &best.1.to_string());
        Ok(())
    }

    fn say(&self, [what, slice]: [&str; 2], found: &[Figures], more: &str) {
        let [ndcg, hits] = self.cases.mean(found, |_| true).0;
        println!("{what}\t{ndcg:.5}\t{hits:.5}\t{more}");
        for (name, is_in) in self.cases.slices() {
            let ([ndcg, hits], count) = self.cases.mean(found, |case| is_in[case]);
            println!("{slice}\t{name}\t{ndcg:.5}\t{hits:.5}\t{count}");
        }
    }

    /// Trains until early stopping and tells of each epoch, or loads what was trained before; and the best epoch's number.
    fn fit<C: SequenceConfig + 'static>(
        &self,
        config: &C,
        name: &str,
    ) -> Result<(Box<dyn Recommender>, u32), Box<dyn Error>> {
        let path = |ending: &str| self.folder.as_ref().map(|folder| folder.join(name).with_extension(ending));
        let epochs = |text: &str| text.trim().parse::<u32>().unwrap_or(1);
        if let Some(bytes) = path("safetensors").and_then(|path| std::fs::read(path).ok()) {
            let best = path("epochs").and_then(|path| std::fs::read_to_string(path).ok());
            return Ok((load_model(&TensorFile::from_bytes(&bytes)?)?, best.map_or(1, |text| epochs(&text))));
        }
        let (begun, mut seen, mut best) = (Instant::now(), 0, (0.0, 1));
        let progress = &mut |now: &Progress| {
            if now.epoch > seen {
                seen = now.epoch;
                let seconds = begun.elapsed().as_secs_f64();
                let validation = now.validation_new.unwrap_or(f64::NAN);
                println!("epoch\t{seen}\t{seconds:.1}\t{:.4}\t{validation:.5}", now.loss);
                best = if validation > best.0 { (validation, seen) } else { best };
            }
            ControlFlow::Continue(())
        };
        let checkpoint = path("checkpoint");
        let mut context = Context { checkpoint: checkpoint.as_deref(), progress };
        let model = SequenceModel::fit_with(&self.data, config, self.seed, &mut context)?;
        if let (Some(kept), Some(epochs)) = (path("safetensors"), path("epochs")) {
            std::fs::write(kept, model.save().to_bytes()?)?;
            std::fs::write(epochs, best.1.to_string())?;
        }
        Ok((Box::new(model), best.1))
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
