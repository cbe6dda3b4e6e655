//! `qhatu propensity`: will this session, this shopper buy? From a table to probabilities.

mod explain;
mod fit;
mod gate;
mod score;
mod served;
mod stored;
mod text;

use crate::fault::Fault;

pub(crate) use served::ChampionSource;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Learn from a table with a column that says who bought, and judge fold by fold.
    Fit(fit::Args),
    /// The probability of each row of a table.
    Score(score::Args),
    /// What each column adds to a row's score.
    Explain(explain::Args),
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    match &args.command {
        Command::Fit(args) => fit::run(args),
        Command::Score(args) => score::run(args),
        Command::Explain(args) => explain::run(args),
    }
}
