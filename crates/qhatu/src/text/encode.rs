//! `qhatu text encode`: a file of texts becomes a file of vectors.

use std::path::PathBuf;

use qhatu_text::{Precision, TextEncoder, VectorCache};

use crate::fault::Fault;
use crate::progress::Stage;
use crate::shop::say;
use crate::text::lines;

/// Texts between two words of progress.
const SOME: usize = 1_024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model's folder.
    #[arg(long, short)]
    model: PathBuf,
    /// Texts, one a line; `-` for standard input.
    texts: PathBuf,
    /// Weights and inputs of 8 bits: faster, and vectors nearly the same.
    #[arg(long)]
    int8: bool,
    /// Vectors computed before are taken from here, and new ones are kept here.
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Most vectors that the cache holds.
    #[arg(long, default_value_t = 1_000_000)]
    cache_size: usize,
}

/// A line of the answer.
#[derive(serde::Serialize)]
struct Line<'a> {
    text: &'a str,
    vector: &'a [f32],
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let mut encoder = TextEncoder::read(&args.model)?;
    if args.int8 {
        encoder.precision = Precision::Int8;
    }
    let texts = lines::read(&args.texts)?;
    let mut cache = match &args.cache {
        Some(path) => VectorCache::read(path, &encoder, args.cache_size)?,
        None => VectorCache::new(&encoder, 0),
    };
    let known = cache.len();
    let stage = Stage::begin("encode", texts.len() as u64);
    for (place, some) in texts.chunks(SOME).enumerate() {
        let vectors = cache.encode(&encoder, some)?;
        for (text, vector) in some.iter().zip(vectors.chunks_exact(encoder.width())) {
            let line = serde_json::to_string(&Line { text, vector });
            say(line.map_err(|fault| Fault::Said(fault.to_string()))?);
        }
        stage.at((place * SOME + some.len()) as u64, texts.len() as u64);
    }
    if let Some(path) = &args.cache {
        cache.write(path)?;
    }
    let new = args.cache.as_ref().map(|_| format!(", {} new in the cache", cache.len() - known));
    stage.end(&format!("{} texts{}", texts.len(), new.unwrap_or_default()));
    Ok(())
}
