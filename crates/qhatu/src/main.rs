//! The one program: a file per subcommand, the configuration.
//!
//! Standard output carries the answer, standard error what happens meanwhile. Exit status: 0 done,
//! 1 a fault that is said in one message, 2 a wrong command line.

mod config;
mod demo;
mod evaluate;
mod fault;
mod feature_list;
mod features;
mod ingest;
mod init;
mod models;
mod off_policy;
mod progress;
mod propensity;
mod serve;
mod shop;
mod text;
mod title;
mod train;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Personalization for online shops: events and catalogue in, for each shopper the products that fit.
#[derive(Debug, Parser)]
#[command(name = "qhatu", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole way on a real shop's data: import, train, judge, promote, serve.
    Demo(demo::Args),
    /// Make a shop project: a folder with `qhatu.toml`, every key explained.
    Init(init::Args),
    /// Bring files of events and products in (CSV, JSON Lines, Parquet; plain, gz, zst).
    Ingest(ingest::Args),
    /// Write features as Parquet, or list what there is.
    Features(features::Args),
    /// Fit the models, judge them, register the winner and put it before the gate.
    Train(train::Args),
    /// Judge the models and write the report.
    Evaluate(evaluate::Args),
    /// What another way of choosing would have brought, from logged impressions with propensities.
    OffPolicy(off_policy::Args),
    /// Model versions: list, show, promote, roll back.
    Models(models::Args),
    /// Will this session, this shopper buy? Fit and score on a table.
    Propensity(propensity::Args),
    /// BERT for titles, descriptions and queries: import, encode, explain, pretrain, finetune.
    Text(text::Args),
    /// Answer over HTTP.
    Serve(serve::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    qhatu_store::tell_only_uncaught_panics();
    start_logging();
    let done = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Ingest(args) => ingest::run(&args),
        Command::Features(args) => features::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::OffPolicy(args) => off_policy::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Propensity(args) => propensity::run(&args),
        Command::Text(args) => text::run(&args),
        Command::Serve(args) => serve::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            fault::show(&fault);
            ExitCode::FAILURE
        }
    }
}

/// Logs go to standard error, coloured on a terminal alone; `QHATU_LOG` chooses what, as in
/// `QHATU_LOG=qhatu_serve=debug`.
fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("QHATU_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let (logs, colours) = (std::io::stderr, std::io::stderr().is_terminal());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(logs).with_ansi(colours).init();
}
