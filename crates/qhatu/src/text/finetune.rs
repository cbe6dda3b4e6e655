//! `qhatu text finetune`: a BERT learns which of the shop's texts belong together.

use std::path::PathBuf;

use qhatu_text::{Pair, TextEncoder};

use super::training::{Settings, Watch};
use crate::fault::Fault;
use crate::shop::say;
use crate::text::lines;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model to begin with.
    #[arg(long, short)]
    model: PathBuf,
    /// Pairs, one a line, two texts with a tab between: query and clicked product, product and next product.
    pairs: PathBuf,
    /// Where the model goes.
    #[arg(long, short)]
    out: PathBuf,
    /// Divides the cosine.
    #[arg(long, default_value_t = 0.05)]
    temperature: f32,
    /// The highest learning rate.
    #[arg(long, default_value_t = 5e-5)]
    learning_rate: f32,
    #[command(flatten)]
    settings: Settings,
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let mut encoder = TextEncoder::read(&args.model)?;
    let pairs = read_pairs(args)?;
    let config = args.settings.config(args.learning_rate);
    let state = args.settings.state.as_deref().map(|path| (path, args.settings.every));
    let mut watch = Watch::begin("finetune");
    encoder.finetune(&pairs, (config, args.temperature), state, |progress| watch.see(progress))?;
    watch.end();
    encoder.write(&args.out)?;
    say(format!("{} is ready, taught by {} pairs", args.out.display(), pairs.len()));
    Ok(())
}

fn read_pairs(args: &Args) -> Result<Vec<Pair>, Fault> {
    let lines = lines::read(&args.pairs)?;
    let one = |(place, line): (usize, &String)| match line.split_once('\t') {
        Some((query, answer)) if !query.trim().is_empty() && !answer.trim().is_empty() => {
            Ok(Pair { query: query.trim().to_owned(), answer: answer.trim().to_owned() })
        }
        _ => Err(Fault::Said(format!(
            "{}: text {} is no pair; two texts with a tab between make one",
            args.pairs.display(),
            place + 1
        ))),
    };
    lines.iter().enumerate().map(one).collect()
}
