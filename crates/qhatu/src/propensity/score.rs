//! `qhatu propensity score`: a probability a row.

use std::path::{Path, PathBuf};

use qhatu_ingest::read_table_file;
use qhatu_schema::{Column, DenseTable, Table, Timestamp};
use qhatu_store::write_table;
use qhatu_train::propensity::{Rows, shoppers_now};
use serde_json::json;

use super::stored::{self, Place};
use super::text::TextModelArg;
use crate::fault::Fault;
use crate::shop::{Shop, say};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The table, with the columns that the model was fitted on.
    #[arg(required_unless_present = "shoppers")]
    table: Option<PathBuf>,
    /// Instead of a table: every shopper of the shop project (--dir), as the shop knows them.
    #[arg(long, conflicts_with = "table", requires = "dir")]
    shoppers: bool,
    /// With --shoppers: at this moment, as 2026-11-24 or 2026-11-24T10:00:00-05:00. Default: now.
    #[arg(long, requires = "shoppers")]
    as_of: Option<String>,
    /// The folder of the model.
    #[arg(long, required_unless_present = "dir")]
    model: Option<PathBuf>,
    /// The shop project whose registry has the model; the champion scores.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Columns of numbers that only name something, as when fitting.
    #[arg(long, value_delimiter = ',', conflicts_with = "shoppers")]
    categories: Vec<String>,
    #[command(flatten)]
    text: TextModelArg,
    /// Write the answers as Parquet instead of printing them.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Who the rows are, where they have names, and the rows.
fn rows(args: &Args) -> Result<(Vec<String>, DenseTable), Fault> {
    if let Some(table) = &args.table {
        return Ok((Vec::new(), read_table_file(table, &args.categories)?));
    }
    let shop = Shop::open(args.dir.as_deref().unwrap_or(Path::new(".")))?;
    let now = match &args.as_of {
        Some(text) => Timestamp::parse(text).map_err(|fault| Fault::Said(format!("--as-of: {fault}")))?,
        None => Timestamp::now(),
    };
    let items = shop.catalogue().items()?;
    Ok(shoppers_now(&shop.lake()?, (shop.declarations()?, &items), now)?)
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let scorer = stored::open(&Place { out: args.model.as_deref(), dir: args.dir.as_deref() })?;
    let (names, table) = rows(args)?;
    let texts = args.text.read(&scorer, &table)?;
    let told = scorer.probabilities(Rows { table: &table, texts: &texts })?;
    let threshold = scorer.model.threshold;
    let Some(path) = &args.out else {
        for (row, p) in told.iter().enumerate() {
            let yes = *p >= threshold;
            say(match names.get(row) {
                Some(name) => json!({ "user_id": name, "probability": p, "yes": yes }),
                None => json!({ "row": row + 1, "probability": p, "yes": yes }),
            });
        }
        return Ok(());
    };
    let mut answers = Table::new();
    let who = match names.is_empty() {
        true => ("row", Column::Int((1..).take(told.len()).map(Some).collect())),
        false => ("user_id", Column::Text(names.into_iter().map(Some).collect())),
    };
    let columns = [
        who,
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
