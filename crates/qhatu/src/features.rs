//! `qhatu features`: tables as of a time, rows before each event, and the catalogue of features.

use std::path::PathBuf;

use qhatu_features::{Declarations, Entity, point_in_time_rows, table_as_of};
use qhatu_schema::Timestamp;
use qhatu_store::write_table;

use crate::config::Project;
use crate::fault::Fault;
use crate::progress::Stage;
use crate::shop::{Shop, declarations, say, say_json};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The shop project.
    #[arg(long, default_value = ".", global = true)]
    dir: PathBuf,
    /// The moment, as 2026-11-24 or 2026-11-24T10:00:00-05:00; events strictly before it count. Default: now.
    #[arg(long)]
    as_of: Option<String>,
    /// Also write, for each event, what was known before it.
    #[arg(long)]
    rows: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what features there are.
    List {
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    if let Some(Command::List { json }) = args.command {
        return list(&*declarations(&Project::open(&args.dir)?)?, json);
    }
    let now = match &args.as_of {
        Some(text) => Timestamp::parse(text).map_err(|fault| Fault::Said(format!("--as-of: {fault}")))?,
        None => Timestamp::now(),
    };
    write(&Shop::open(&args.dir)?, now, args.rows)
}

fn list(declarations: &Declarations, json: bool) -> Result<(), Fault> {
    let catalogue = declarations.catalogue();
    if json {
        return say_json(&catalogue);
    }
    for entry in catalogue {
        let entity = format!("{:?}", entry.entity).to_lowercase();
        let also = if entry.aliases.is_empty() {
            String::new()
        } else {
            format!(" (also {})", entry.aliases.join(", "))
        };
        say(format!(
            "{:26} {entity:8} {:7} {:14} {}{also}",
            entry.name, entry.value_type, entry.window, entry.meaning
        ));
        say(format!("{:26} from {}; changes {}", "", entry.source, entry.update_frequency));
    }
    Ok(())
}

/// Writes `<features>/user.parquet`, `item.parquet`, `session.parquet` and, where asked, `rows.parquet`.
pub(crate) fn write(shop: &Shop, now: Timestamp, rows: bool) -> Result<(), Fault> {
    let declarations = shop.declarations()?;
    let stage = Stage::begin("features", 0);
    let events = shop.lake()?.read(None, None)?;
    let items = shop.catalogue().items()?;
    let dir = shop.paths.features_dir();
    let mut written = Vec::new();
    for (name, entity) in [("user", Entity::User), ("item", Entity::Item), ("session", Entity::Session)] {
        let table = table_as_of(&declarations, events.iter().cloned(), &items, entity, now)?;
        write_table(&dir.join(format!("{name}.parquet")), &table)?;
        written.push(format!("{} {name}s", table.rows()));
    }
    if rows {
        let table = point_in_time_rows(&declarations, &events, &items)?;
        write_table(&dir.join("rows.parquet"), &table)?;
        written.push(format!("{} rows", table.rows()));
    }
    stage.end(&format!("{} as of {now} in {}", written.join(", "), dir.display()));
    Ok(())
}
