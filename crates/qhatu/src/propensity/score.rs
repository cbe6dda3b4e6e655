//! `qhatu propensity score`: a probability a row.

use std::path::PathBuf;

use qhatu_ingest::read_table_file;
use qhatu_schema::{Column, Table};
use qhatu_store::write_table;
use serde_json::json;

use super::stored::{self, Place};
use crate::fault::Fault;
use crate::shop::say;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The table, with the columns that the model was fitted on.
    table: PathBuf,
    /// The folder of the model.
    #[arg(long, required_unless_present = "dir")]
    model: Option<PathBuf>,
    /// The shop project whose registry has the model; the newest version scores.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Columns of numbers that only name something, as when fitting.
    #[arg(long, value_delimiter = ',')]
    categories: Vec<String>,
    /// Write the answers as Parquet instead of printing them.
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let scorer = stored::open(&Place { out: args.model.as_deref(), dir: args.dir.as_deref() })?;
    let table = read_table_file(&args.table, &args.categories)?;
    let told = scorer.probabilities(&table)?;
    let threshold = scorer.model.threshold;
    let Some(path) = &args.out else {
        for (row, p) in (1..).zip(&told) {
            say(json!({ "row": row, "probability": p, "yes": *p >= threshold }));
        }
        return Ok(());
    };
    let mut answers = Table::new();
    let columns = [
        ("row", Column::Int((1..).take(told.len()).map(Some).collect())),
        ("probability", Column::Float(told.iter().map(|p| Some(*p)).collect())),
        ("yes", Column::Bool(told.iter().map(|p| Some(*p >= threshold)).collect())),
    ];
    for (name, column) in columns {
        answers.push(name, column).map_err(|fault| Fault::Said(fault.to_string()))?;
    }
    write_table(path, &answers)?;
    say(format!("{} rows in {}", told.len(), path.display()));
    Ok(())
}
