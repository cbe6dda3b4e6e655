//! `qhatu features`: tables as of a time, rows before each event, and the catalogue of features.
//!
//! One pass over the lake: a thread reads days in columns, the fold takes them, a thread writes. In memory
//! are the state and a few days, however long the log is.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use qhatu_features::{Declarations, Entity, State};
use qhatu_schema::{DenseTable, EventColumns, Timestamp};
use qhatu_store::{DenseWriter, Lake, StoreError, write_dense_table};

use crate::config::Project;
use crate::fault::Fault;
use crate::feature_list;
use crate::progress::Stage;
use crate::shop::{Shop, declarations};

/// Days of fewer events are folded together, so that no step is all overhead.
const STEP_EVENTS: usize = 50_000;
/// Steps that wait between two threads.
const WAITING_STEPS: usize = 2;

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
    /// Also write rows.parquet: for each event before that moment, what was known before it.
    #[arg(long)]
    rows: bool,
    /// Only these features, by name or alias, with commas between; the columns bear the names given here.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The folder to write to. Default: data/features in the project.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what features there are.
    List {
        /// Only this one, by name or alias.
        name: Option<String>,
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let project = Project::open(&args.dir)?;
    let declarations = declarations(&project)?;
    if let Some(Command::List { name, json }) = &args.command {
        return feature_list::run(&project, &declarations, name.as_deref(), *json);
    }
    let now = match &args.as_of {
        Some(text) => Timestamp::parse(text).map_err(|fault| Fault::Said(format!("--as-of: {fault}")))?,
        None => Timestamp::now(),
    };
    let only = Only::of(&declarations, &args.only)?;
    let shop = Shop::open(&args.dir)?;
    let out = args.out.clone().unwrap_or_else(|| shop.paths.features_dir());
    Pass { now, rows: args.rows, only, out }.run(&shop)
}

/// Writes `<features>/user.parquet`, `item.parquet` and `session.parquet` as of `now`.
pub(crate) fn write(shop: &Shop, now: Timestamp) -> Result<(), Fault> {
    let only = Only { chosen: None };
    Pass { now, rows: false, only, out: shop.paths.features_dir() }.run(shop)
}

/// Which columns are written, and under which name.
struct Only {
    /// Name asked for, feature's name, entity.
    chosen: Option<Vec<(String, String, Entity)>>,
}

impl Only {
    /// All where no names are given; the error names the first that there is not.
    fn of(declarations: &Declarations, names: &[String]) -> Result<Self, Fault> {
        if names.is_empty() {
            return Ok(Self { chosen: None });
        }
        let mut chosen: Vec<(String, String, Entity)> = Vec::new();
        for name in names {
            let feature = declarations.find(name.trim())?;
            if chosen.iter().any(|(known, ..)| known == name.trim()) {
                return Err(Fault::Said(format!("--only: {name} stands there twice")));
            }
            chosen.push((name.trim().to_owned(), feature.name.clone(), feature.entity));
        }
        Ok(Self { chosen: Some(chosen) })
    }

    fn has(&self, entity: Entity) -> bool {
        self.chosen.as_ref().is_none_or(|chosen| chosen.iter().any(|(.., own)| *own == entity))
    }

    /// The columns chosen behind those of `keys`, in the order of asking.
    fn of_table(&self, mut table: DenseTable, keys: &[&str]) -> DenseTable {
        let Some(chosen) = &self.chosen else { return table };
        let (mut columns, rest): (Vec<_>, Vec<_>) =
            table.columns.drain(..).partition(|(name, _)| keys.contains(&name.as_str()));
        for (asked, name, _) in chosen {
            let found = rest.iter().find(|(own, _)| own == name);
            columns.extend(found.map(|(_, column)| (asked.clone(), column.clone())));
        }
        DenseTable { columns }
    }
}

/// One pass over the lake.
struct Pass {
    now: Timestamp,
    rows: bool,
    only: Only,
    out: PathBuf,
}

/// Why a reader of the lake ends before its end.
enum End {
    Store(StoreError),
    /// Nobody takes its events any more.
    Stopped,
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Pass {
    fn run(&self, shop: &Shop) -> Result<(), Fault> {
        let lake = shop.lake()?;
        let items = shop.catalogue().items()?;
        let days = lake.days()?;
        if days.is_empty() && items.is_empty() {
            return Err(Fault::Said(
                "there are no events yet, so there is nothing to compute; `qhatu ingest FILE` brings some in"
                    .to_owned(),
            ));
        }
        let mut state = State::new(shop.declarations()?);
        items.iter().for_each(|item| state.set_item(item));
        let stage = Stage::begin("features", days.len() as u64);
        let (events, rows) = self.fold(&lake, &mut state, &stage, days.len() as u64)?;
        let mut written = Vec::new();
        for entity in Entity::ALL {
            let has_features = state.declarations().features().iter().any(|own| own.entity == entity);
            if has_features && self.only.has(entity) {
                let table = self.only.of_table(state.table(entity, self.now), entity.key_columns());
                let name = entity.as_str();
                write_dense_table(&self.out.join(format!("{name}.parquet")), &table)?;
                written.push(format!("{} {name}s", table.rows()));
            }
        }
        written.extend(rows.map(|rows| format!("{rows} rows")));
        let (written, now, out) = (written.join(", "), self.now, self.out.display());
        stage.end(&format!("{events} events: {written} as of {now} in {out}"));
        Ok(())
    }

    /// Takes the events before the moment into the state; how many, and how many rows were written.
    fn fold(
        &self,
        lake: &Lake,
        state: &mut State,
        stage: &Stage,
        days: u64,
    ) -> Result<(usize, Option<usize>), Fault> {
        let wanted = state.columns_needed();
        std::thread::scope(|threads| {
            let (send, steps) = sync_channel(WAITING_STEPS);
            let reader = threads.spawn(move || read(lake, &wanted, &send));
            let writer = self.rows.then(|| {
                let (send, tables) = sync_channel(WAITING_STEPS);
                let path = self.out.join("rows.parquet");
                (threads.spawn(move || write_rows(&path, &tables)), send)
            });
            let folded = self.take(state, &steps, writer.as_ref().map(|(_, send)| send), stage, days);
            drop(steps);
            let ended = "a thread of the features ended early";
            let written = writer.map(|(writer, send)| {
                drop(send);
                writer.join().unwrap_or_else(|_| Err(Fault::Said(ended.to_owned())))
            });
            match reader.join() {
                Ok(Err(End::Store(error))) => return Err(error.into()),
                Ok(_) => {}
                Err(_) => return Err(Fault::Said(ended.to_owned())),
            }
            Ok((folded?, written.transpose()?))
        })
    }

    fn take(
        &self,
        state: &mut State,
        steps: &Receiver<(u64, EventColumns)>,
        rows: Option<&SyncSender<DenseTable>>,
        stage: &Stage,
        days: u64,
    ) -> Result<usize, Fault> {
        let mut events = 0;
        let keys = ["event_id", "time", "user_id", "item_id", "session_id"];
        let mut first = true;
        for (day, step) in steps {
            let before = step.rows();
            let step = step.before(self.now.millis());
            let is_last = step.rows() < before;
            events += step.rows();
            match rows {
                // A file without rows has its columns all the same.
                Some(send) if step.rows() > 0 || first => {
                    let table = self.only.of_table(state.rows(step)?, &keys);
                    // Where the writer has failed, its error is the one that is said.
                    if send.send(table).is_err() {
                        break;
                    }
                }
                _ => state.apply_columns(&step),
            }
            first = false;
            stage.at(day, days);
            if is_last {
                break;
            }
        }
        if first && let Some(send) = rows {
            let table = self.only.of_table(state.rows(EventColumns::default())?, &keys);
            drop(send.send(table));
        }
        Ok(events)
    }
}

/// Sends the lake's events on, small days together, each step with the number of days read.
fn read(lake: &Lake, wanted: &[&str], send: &SyncSender<(u64, EventColumns)>) -> Result<(), End> {
    let (mut days, mut step) = (0, EventColumns::default());
    lake.scan_columns(wanted, &mut |day| {
        days += 1;
        if step.rows() == 0 {
            step = day;
        } else {
            step.extend(&day);
        }
        if step.rows() < STEP_EVENTS {
            return Ok(());
        }
        send.send((days, std::mem::take(&mut step))).map_err(|_| End::Stopped)
    })?;
    if step.rows() > 0 { send.send((days, step)).map_err(|_| End::Stopped) } else { Ok(()) }
}

fn write_rows(path: &Path, tables: &Receiver<DenseTable>) -> Result<usize, Fault> {
    let mut writer = DenseWriter::create(path)?;
    let mut rows = 0;
    for table in tables {
        writer.write(&table)?;
        rows += table.rows();
    }
    writer.finish()?;
    Ok(rows)
}
