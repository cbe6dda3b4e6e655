//! `qhatu text finetune`: a BERT learns which of the shop's texts belong together.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use qhatu_schema::LimaDay;
use qhatu_text::{Pair, TextEncoder};
use qhatu_train::{PairKind, TextPairs};

use super::training::{Settings, Watch};
use crate::fault::Fault;
use crate::progress::Stage;
use crate::shop::{Shop, say};
use crate::text::lines;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model to begin with.
    #[arg(long, short)]
    model: PathBuf,
    #[command(flatten)]
    source: Source,
    /// With --dir: which pairs, with commas between. Default: both.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KINDS", conflicts_with = "file")]
    pairs: Vec<Kind>,
    /// With --dir: of each kind the latest pairs, at most so many.
    #[arg(long, value_name = "PAIRS", default_value = "100000", conflicts_with = "file")]
    most: NonZeroUsize,
    /// With --dir: only events before this day (YYYY-MM-DD); the titles are today's.
    #[arg(long, value_name = "DAY", value_parser = LimaDay::parse, conflicts_with = "file")]
    until: Option<LimaDay>,
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

/// Where the pairs come from.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// Pairs, one a line, two texts with a tab between: query and clicked product, product and next product.
    #[arg(value_name = "PAIRS")]
    file: Option<PathBuf>,
    /// Instead of a file: the shop project whose shoppers say what belongs together.
    #[arg(long, value_name = "SHOP")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// A query and a product that was clicked, carted or viewed after it.
    Query,
    /// A product and the next one, in a visit or from order to order.
    Next,
}

impl Kind {
    fn of_train(self) -> PairKind {
        match self {
            Self::Query => PairKind::Query,
            Self::Next => PairKind::Next,
        }
    }
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
    match (&args.source.dir, &args.source.file) {
        (Some(dir), _) => shop_pairs(dir, args),
        (None, file) => file_pairs(file.as_deref().unwrap_or(Path::new("-"))),
    }
}

fn shop_pairs(dir: &Path, args: &Args) -> Result<Vec<Pair>, Fault> {
    let wanted = match args.pairs.is_empty() {
        true => vec![PairKind::Query, PairKind::Next],
        false => args.pairs.iter().copied().map(Kind::of_train).collect(),
    };
    let stage = Stage::begin("read", 0);
    let shop = Shop::open(dir)?;
    let found = TextPairs::read(&shop.lake()?, &shop.catalogue().items()?, &wanted, args.until)?;
    let counts = wanted.iter().map(|kind| found.count(*kind)).collect::<Vec<_>>();
    let found = found.latest(args.most.get());
    let count = |(kind, of): (&PairKind, &usize)| match found.count(*kind) {
        kept if kept < *of => format!("the latest {kept} of {of} pairs of {kind}"),
        kept => format!("{kept} pairs of {kind}"),
    };
    stage.end(&wanted.iter().zip(&counts).map(count).collect::<Vec<_>>().join(", "));
    let pair = |(query, answer): (&str, &str)| Pair { query: query.to_owned(), answer: answer.to_owned() };
    Ok(found.iter().map(pair).collect())
}

fn file_pairs(file: &Path) -> Result<Vec<Pair>, Fault> {
    let lines = lines::read(file)?;
    let one = |(place, line): (usize, &String)| match line.split_once('\t') {
        Some((query, answer)) if !query.trim().is_empty() && !answer.trim().is_empty() => {
            Ok(Pair { query: query.trim().to_owned(), answer: answer.trim().to_owned() })
        }
        _ => Err(Fault::Said(format!(
            "{}: text {} is no pair; two texts with a tab between make one",
            file.display(),
            place + 1
        ))),
    };
    lines.iter().enumerate().map(one).collect()
}
