//! `qhatu evaluate`: judge the models and write the report, registering nothing.

use std::path::PathBuf;

use qhatu_eval::text_table;
use qhatu_train::Split;

use crate::fault::Fault;
use crate::shop::{Shop, say};
use crate::train::{Stages, write_report};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shop project.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// How the test is set aside; over that of qhatu.toml.
    #[arg(long, value_enum)]
    split: Option<SplitArg>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum SplitArg {
    /// The last days, for everyone at once.
    Time,
    /// The last order of each shopper.
    LeaveOneOut,
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let shop = Shop::open(&args.dir)?;
    let mut config = shop.project.config.train.clone();
    config.split = match args.split {
        Some(SplitArg::Time) => Split::Time,
        Some(SplitArg::LeaveOneOut) => Split::LeaveOneOut,
        None => config.split,
    };
    let mut stages = Stages::default();
    let report =
        qhatu_train::evaluate(&shop.data()?, &config, &shop.paths.work_dir(), &mut |step| stages.show(step))?;
    stages.end();
    write_report(&shop, &report)?;
    if args.json {
        say(qhatu_eval::to_json(&report).map_err(|fault| Fault::Said(fault.to_string()))?);
    } else {
        say(text_table(&report));
        say(format!("report: {}", shop.paths.reports_dir().join("evaluation.html").display()));
    }
    Ok(())
}
