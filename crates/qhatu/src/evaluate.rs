//! `qhatu evaluate`: judge the models and write the report, registering nothing.
//!
//! A report that is not the usual one (another split, an earlier end) gets a file name of its own, so that the one of
//! the last training stays.

use std::path::PathBuf;

use qhatu_eval::text_table;
use qhatu_schema::LimaDay;
use qhatu_train::Split;

use crate::fault::Fault;
use crate::shop::{CODE_VERSION, Shop, say};
use crate::title;
use crate::train::{Stages, write_report};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shop project.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// How the test is set aside; over that of qhatu.toml.
    #[arg(long, value_enum)]
    split: Option<SplitArg>,
    /// Judge as if the data ended before this day (YYYY-MM-DD): to compare settings on days that decide nothing later.
    #[arg(long, value_name = "DAY", value_parser = LimaDay::parse)]
    until: Option<LimaDay>,
    /// Days at the end of the data that judge the models; over those of qhatu.toml.
    #[arg(long)]
    test_days: Option<u32>,
    /// Length of the judged lists; over that of qhatu.toml.
    #[arg(long)]
    k: Option<usize>,
    /// The models to judge, separated by commas; over those of qhatu.toml.
    #[arg(long, value_delimiter = ',')]
    models: Option<Vec<String>>,
    /// Seed of everything random; over that of qhatu.toml.
    #[arg(long)]
    seed: Option<u64>,
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
    let mut shop = Shop::open(&args.dir)?;
    set(args, &mut shop.project.config.train);
    let lake = shop.lake()?;
    let data = shop.read(&lake, args.until)?;
    // What the catalogue holds today was not for sale then.
    let data = shop.with_sides(data, args.until.is_none())?;
    let config = &shop.project.config.train;
    let mut stages = Stages::default();
    let mut report =
        qhatu_train::evaluate(&data, config, &shop.paths.work_dir(), CODE_VERSION, &mut |step| {
            stages.show(step)
        })?;
    stages.end();
    report.titles = title::readings(&shop, &data)?;
    let name = name(args.until, config.split);
    let page = write_report(&shop, &report, &name)?;
    if args.json {
        say(qhatu_eval::to_json(&report).map_err(|fault| Fault::Said(fault.to_string()))?);
    } else {
        say(text_table(&report));
        say(format!("report: {}", page.display()));
    }
    Ok(())
}

/// What the command line says goes over what the file says.
fn set(args: &Args, config: &mut qhatu_train::TrainConfig) {
    config.split = match args.split {
        Some(SplitArg::Time) => Split::Time,
        Some(SplitArg::LeaveOneOut) => Split::LeaveOneOut,
        None => config.split,
    };
    config.test_days = args.test_days.unwrap_or(config.test_days);
    config.k = args.k.unwrap_or(config.k);
    config.seed = args.seed.unwrap_or(config.seed);
    if let Some(models) = &args.models {
        config.models.clone_from(models);
    }
}

fn name(until: Option<LimaDay>, split: Split) -> String {
    let split = if split == Split::LeaveOneOut { "-leave-one-out" } else { "" };
    let until = until.map(|day| format!("-until-{day}")).unwrap_or_default();
    format!("evaluation{split}{until}")
}
