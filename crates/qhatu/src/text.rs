//! `qhatu text`: BERT for the shop's titles, descriptions and queries.

mod encode;
mod explain;
mod finetune;
mod import;
mod lines;
mod pretrain;
mod training;

use crate::fault::Fault;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Read a published BERT, whatever its layout, and write it as Hugging Face's.
    Import(import::Args),
    /// Texts to vectors.
    Encode(encode::Args),
    /// Why a text has the vector it has, as a picture.
    Explain(explain::Args),
    /// Make a BERT from nothing out of the shop's own texts.
    Pretrain(pretrain::Args),
    /// Teach a BERT which of the shop's texts belong together.
    Finetune(finetune::Args),
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    match &args.command {
        Command::Import(args) => import::run(args),
        Command::Encode(args) => encode::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Pretrain(args) => pretrain::run(args),
        Command::Finetune(args) => finetune::run(args),
    }
}
