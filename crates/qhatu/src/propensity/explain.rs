//! `qhatu propensity explain`: why a row has the probability it has.

use std::path::PathBuf;

use qhatu_ingest::read_table_file;
use qhatu_train::propensity::Rows;

use super::stored::{self, Place};
use super::text::TextModelArg;
use crate::fault::Fault;
use crate::shop::{say, say_json};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The table, with the columns that the model was fitted on.
    table: PathBuf,
    /// The row, from 1.
    #[arg(long)]
    row: usize,
    /// The folder of the model.
    #[arg(long, required_unless_present = "dir")]
    model: Option<PathBuf>,
    /// The shop project whose registry has the model; the champion answers.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Columns of numbers that only name something, as when fitting.
    #[arg(long, value_delimiter = ',')]
    categories: Vec<String>,
    #[command(flatten)]
    text: TextModelArg,
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let scorer = stored::open(&Place { out: args.model.as_deref(), dir: args.dir.as_deref() })?;
    let table = read_table_file(&args.table, &args.categories)?;
    if args.row == 0 || args.row > table.rows() {
        let (row, rows) = (args.row, table.rows());
        return Err(Fault::Said(format!("--row {row}: {} has {rows} rows, from 1", args.table.display())));
    }
    let texts = args.text.read(&scorer, &table)?;
    let found = scorer.explain(Rows { table: &table, texts: &texts }, args.row - 1)?;
    if args.json {
        return say_json(&found);
    }
    say(format!("row {}: probability {:.4}", args.row, found.probability));
    say(format!("{:24} {:+.4}", "expected of any row", found.expected));
    for (name, added) in &found.columns {
        say(format!("{name:24} {added:+.4}"));
    }
    Ok(())
}
