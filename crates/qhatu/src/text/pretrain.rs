//! `qhatu text pretrain`: a BERT from nothing, out of the shop's own texts.

use std::path::{Path, PathBuf};

use qhatu_schema::LimaDay;
use qhatu_text::{
    Bert, BertConfig, Cleaning, Language, Normalizer, Parts, TextEncoder, Tokenizer, WordPieceTrainer,
};
use qhatu_train::ShopTexts;

use super::training::{Settings, Watch};
use crate::fault::Fault;
use crate::progress::Stage;
use crate::shop::{Shop, say};
use crate::text::lines;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// With --dir: only searches before this day (YYYY-MM-DD); the catalogue is today's.
    #[arg(long, value_name = "DAY", value_parser = LimaDay::parse, conflicts_with = "texts")]
    until: Option<LimaDay>,
    /// Where the model goes, in Hugging Face's layout.
    #[arg(long, short)]
    out: PathBuf,
    /// Tokens of the vocabulary, learned from the texts.
    #[arg(long, default_value_t = 8_000)]
    vocab_size: usize,
    /// Upper and lower case, and accents, are told apart.
    #[arg(long)]
    cased: bool,
    /// The shop's own cleaning, before anything else; the model keeps it.
    #[command(flatten)]
    cleaning: CleaningArgs,
    /// Width of a token's vector.
    #[arg(long, default_value_t = 128)]
    hidden_size: usize,
    /// Blocks.
    #[arg(long, default_value_t = 2)]
    num_hidden_layers: usize,
    /// Heads of the attention.
    #[arg(long, default_value_t = 2)]
    num_attention_heads: usize,
    /// The highest learning rate.
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f32,
    #[command(flatten)]
    settings: Settings,
}

/// Where the texts come from.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// Texts, one a line: titles, descriptions, queries; `-` for standard input.
    texts: Option<PathBuf>,
    /// Instead of a file: the shop project whose titles, descriptions and queries are read, each text once.
    #[arg(long, value_name = "SHOP")]
    dir: Option<PathBuf>,
}

/// Each step is off unless asked for.
#[derive(Debug, clap::Args)]
struct CleaningArgs {
    /// Words of grammar that go, by language: `es`, `en`, or both with a comma between.
    #[arg(long, value_delimiter = ',', value_parser = language)]
    stop_words: Vec<Language>,
    /// Accents go, `ñ` becomes `n`.
    #[arg(long)]
    strip_accents: bool,
    /// What is neither letter nor digit becomes a blank (emoji, `®`, `*`, `/`).
    #[arg(long)]
    strip_special_characters: bool,
}

impl CleaningArgs {
    fn cleaning(&self) -> Cleaning {
        Cleaning {
            lowercase: false,
            stop_words: self.stop_words.clone(),
            strip_accents: self.strip_accents,
            strip_special_characters: self.strip_special_characters,
        }
    }
}

fn language(code: &str) -> Result<Language, String> {
    match code {
        "es" => Ok(Language::Spanish),
        "en" => Ok(Language::English),
        other => Err(format!("{other:?} is not known; stop words are known of es and en")),
    }
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let texts = read(args)?;
    let mut encoder = begin(args, &texts)?;
    let config = args.settings.config(args.learning_rate);
    let state = args.settings.state.as_deref().map(|path| (path, args.settings.every));
    let mut watch = Watch::begin("pretrain");
    encoder.pretrain(&texts, config, state, |progress| watch.see(progress))?;
    watch.end();
    encoder.write(&args.out)?;
    say(format!("{} is ready, made of {} texts", args.out.display(), texts.len()));
    Ok(())
}

fn read(args: &Args) -> Result<Vec<String>, Fault> {
    let Source { texts, dir } = &args.source;
    let Some(dir) = dir else { return lines::read(texts.as_deref().unwrap_or(Path::new("-"))) };
    let stage = Stage::begin("read", 0);
    let shop = Shop::open(dir)?;
    let found = ShopTexts::read(&shop.lake()?, &shop.catalogue().items()?, args.until)?;
    let ShopTexts { texts, titles, descriptions, queries } = found;
    stage.end(&format!("{titles} titles, {descriptions} lines of descriptions, {queries} queries"));
    Ok(texts)
}

/// The vocabulary of the texts, and a BERT whose weights come from the seed.
fn begin(args: &Args, texts: &[String]) -> Result<TextEncoder, Fault> {
    let normalizer = if args.cased { Normalizer::CASED } else { Normalizer::UNCASED };
    let trainer = WordPieceTrainer { vocab_size: args.vocab_size, normalizer, ..WordPieceTrainer::default() };
    let cleaning = args.cleaning.cleaning();
    let cleaned: Vec<String> = texts.iter().map(|text| cleaning.apply(text)).collect();
    let vocabulary = trainer.train(cleaned.iter().map(String::as_str))?;
    let config = BertConfig {
        vocab_size: vocabulary.len(),
        hidden_size: args.hidden_size,
        num_hidden_layers: args.num_hidden_layers,
        num_attention_heads: args.num_attention_heads,
        intermediate_size: 4 * args.hidden_size,
        ..BertConfig::default()
    };
    let parts = Parts { pooler: false, masked_language_head: true, seed: Some(args.settings.seed) };
    let mut tokenizer = Tokenizer::new(vocabulary, normalizer)?;
    tokenizer.cleaning = cleaning;
    Ok(TextEncoder::new(tokenizer, Bert::new(config, parts)?)?)
}
