//! `qhatu text import`: a published checkpoint becomes one of ours.

use std::path::PathBuf;

use qhatu_text::TextEncoder;

use crate::fault::Fault;
use crate::shop::say;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The checkpoint's folder: Hugging Face (config.json, model.safetensors), KerasHub (a preset or
    /// a .keras file), or TensorFlow (bert_config.json, vocab.txt, a .index and a .data file).
    folder: PathBuf,
    /// Where it goes, in Hugging Face's layout.
    #[arg(long, short)]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let encoder = TextEncoder::read(&args.folder)?;
    encoder.write(&args.out)?;
    let config = encoder.bert.config();
    say(format!(
        "{}: {} blocks of {}, {} heads, {} tokens, {} weights; texts up to {} tokens, {:?} of the tokens' vectors",
        args.out.display(),
        config.num_hidden_layers,
        config.hidden_size,
        config.num_attention_heads,
        config.vocab_size,
        encoder.bert.parameters().len(),
        encoder.max_length(),
        encoder.pooling,
    ));
    Ok(())
}
