//! The lake: accepted events as Parquet, a folder per Lima day, readable by anyone.
//!
//! ```text
//! <lake>/events/day=2011-11-12/part-00000000000000000001-00000000000000200000.parquet
//! <lake>/items.parquet, <lake>/users.parquet
//! <lake>/manifest.json      up to which offset of the log, and the parts that belong
//! ```
//!
//! Compaction writes parts first and names them in the manifest last. After a crash in between, parts
//! that the manifest does not name are taken away and written again: nothing is lost or doubled,
//! whenever it happened. A late event lands in its own day, as one more part; a day of more than
//! [`DAY_PARTS_MAX`] parts is written anew as one, in the same way: the one, the manifest, then the
//! others go. The layout for readers without qhatu: docs/reference/lake.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use qhatu_schema::{Column, Event, EventColumns, Item, LimaDay, Table, User};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::log::EventLog;
use crate::paths::write_atomic;
use crate::table_file::{TableReader, write_table};
use crate::{event_columns, event_table};

/// Events that one step of compaction takes from the log.
const STEP_EVENTS: usize = 200_000;
/// A day with more parts than this becomes one part.
const DAY_PARTS_MAX: usize = 8;
const MANIFEST: &str = "manifest.json";

/// A lake in a folder.
#[derive(Debug, Clone)]
pub struct Lake {
    dir: PathBuf,
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Events that were moved.
    pub events: u64,
    /// Days that got a part.
    pub days: usize,
    /// Days whose many parts became one.
    pub merged: usize,
    /// The log is in the lake up to this offset.
    pub up_to_offset: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Manifest {
    up_to_offset: u64,
    /// Parts by day, relative to `events/`.
    parts: BTreeMap<LimaDay, BTreeSet<String>>,
}

impl Lake {
    /// Opens the lake in a folder, which is made where it is not there.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let dir = dir.into();
        let events = dir.join("events");
        fs::create_dir_all(&events).map_err(StoreError::io("create", &events))?;
        Ok(Self { dir })
    }

    /// Moves what the log has and the lake has not.
    ///
    /// # Errors
    /// What was moved before a fault stays moved; the next call goes on. [`StoreError::Damaged`] where the
    /// lake has more than the log: then it is another log's, or the log was put back to an older state.
    pub fn compact(&self, log: &dyn EventLog) -> Result<Compacted, StoreError> {
        let mut manifest = self.manifest()?;
        self.check_belongs(&manifest, log)?;
        self.remove_strays(&manifest)?;
        let mut done = Compacted { up_to_offset: manifest.up_to_offset, ..Compacted::default() };
        let mut days = BTreeSet::new();
        loop {
            let step = log.read(manifest.up_to_offset + 1, STEP_EVENTS)?;
            let (Some((first, _)), Some((last, _))) = (step.first(), step.last()) else { break };
            let (first, last) = (*first, *last);
            done.events += step.len() as u64;
            days.extend(self.write_parts(&mut manifest, step, first, last)?);
            manifest.up_to_offset = last;
            self.write_manifest(&manifest)?;
            done.up_to_offset = last;
        }
        done.days = days.len();
        done.merged = self.merge_days(&mut manifest)?;
        Ok(done)
    }

    /// The days that have events, ascending.
    ///
    /// # Errors
    /// Where the manifest cannot be read.
    pub fn days(&self) -> Result<Vec<LimaDay>, StoreError> {
        Ok(self.manifest()?.parts.into_keys().collect())
    }

    /// All events of the days `from` to `to`, both included, by time and then id.
    ///
    /// # Errors
    /// Where a part cannot be read.
    pub fn read(&self, from: Option<LimaDay>, to: Option<LimaDay>) -> Result<Vec<Event>, StoreError> {
        let mut events = Vec::new();
        self.scan(from, to, &mut |day| {
            events.extend_from_slice(day);
            Ok(())
        })?;
        Ok(events)
    }

    /// Shows the events day by day, each day by time and then id: in memory is one day at a time.
    ///
    /// # Errors
    /// Where a part cannot be read, or what `show` answers.
    pub fn scan(
        &self,
        from: Option<LimaDay>,
        to: Option<LimaDay>,
        show: &mut dyn FnMut(&[Event]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for (day, parts) in self.manifest()?.parts {
            if from.is_some_and(|from| day < from) || to.is_some_and(|to| day > to) {
                continue;
            }
            let mut events = Vec::new();
            for part in parts {
                read_part(&self.dir.join("events").join(part), &mut events)?;
            }
            events.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.event_id.cmp(&b.event_id)));
            show(&events)?;
        }
        Ok(())
    }

    /// Shows the events day by day in columns, each day by time and then id. Of the columns only `wanted`
    /// are read, the others are gaps; `event_id`, `time`, `kind`, `quantity` and `price` must be among them.
    ///
    /// # Errors
    /// Where a part cannot be read, or what `show` answers.
    pub fn scan_columns<E: From<StoreError>>(
        &self,
        wanted: &[&str],
        show: &mut dyn FnMut(EventColumns) -> Result<(), E>,
    ) -> Result<(), E> {
        for (_, parts) in self.manifest()?.parts {
            let mut events = EventColumns::default();
            for part in parts {
                event_columns::read(&self.dir.join("events").join(part), wanted, &mut events)?;
            }
            show(events.sorted())?;
        }
        Ok(())
    }

    /// Writes the catalogue beside the events.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn write_items(&self, items: &[Item]) -> Result<(), StoreError> {
        let path = self.dir.join("items.parquet");
        let table = items_table(items).map_err(|source| StoreError::Table { path: path.clone(), source })?;
        write_table(&path, &table)
    }

    /// Writes the shoppers beside the events.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn write_users(&self, users: &[User]) -> Result<(), StoreError> {
        let path = self.dir.join("users.parquet");
        let table = users_table(users).map_err(|source| StoreError::Table { path: path.clone(), source })?;
        write_table(&path, &table)
    }

    fn write_parts(
        &self,
        manifest: &mut Manifest,
        step: Vec<(u64, Event)>,
        first: u64,
        last: u64,
    ) -> Result<Vec<LimaDay>, StoreError> {
        let mut by_day: BTreeMap<LimaDay, Vec<Event>> = BTreeMap::new();
        for (_, event) in step {
            by_day.entry(event.time.lima_day()).or_default().push(event);
        }
        let mut days = Vec::new();
        for (day, events) in by_day {
            let part = part_name(day, first, last);
            self.write_part(&part, events)?;
            manifest.parts.entry(day).or_default().insert(part);
            days.push(day);
        }
        Ok(days)
    }

    /// Days of more than [`DAY_PARTS_MAX`] parts become one part each; how many did. In memory is one day.
    fn merge_days(&self, manifest: &mut Manifest) -> Result<usize, StoreError> {
        let many = |parts: &BTreeSet<String>| parts.len() > DAY_PARTS_MAX;
        let days: Vec<LimaDay> =
            manifest.parts.iter().filter(|(_, parts)| many(parts)).map(|(day, _)| *day).collect();
        for day in &days {
            let Some(parts) = manifest.parts.get(day).cloned() else { continue };
            let merged = self.merge_parts(*day, &parts)?;
            manifest.parts.insert(*day, BTreeSet::from([merged]));
            self.write_manifest(manifest)?;
            for part in parts {
                let path = self.dir.join("events").join(part);
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        Ok(days.len())
    }

    /// Writes one part that holds what `parts` hold; its name.
    fn merge_parts(&self, day: LimaDay, parts: &BTreeSet<String>) -> Result<String, StoreError> {
        let folder = self.dir.join("events");
        let mut events = Vec::new();
        let mut offsets = (u64::MAX, 0);
        for part in parts {
            let path = folder.join(part);
            let (first, last) = offsets_of(part).ok_or_else(|| StoreError::Damaged {
                path: self.dir.join(MANIFEST),
                fault: format!("{part:?} is not the name of a part"),
            })?;
            offsets = (offsets.0.min(first), offsets.1.max(last));
            read_part(&path, &mut events)?;
        }
        // Parts cover different offsets, so the name from the first to the last is not taken.
        let merged = part_name(day, offsets.0, offsets.1);
        self.write_part(&merged, events)?;
        Ok(merged)
    }

    fn write_part(&self, part: &str, mut events: Vec<Event>) -> Result<(), StoreError> {
        events.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.event_id.cmp(&b.event_id)));
        let path = self.dir.join("events").join(part);
        let table = event_table::to_table(&events)
            .map_err(|source| StoreError::Table { path: path.clone(), source })?;
        write_table(&path, &table)
    }

    /// Refuses a log that ends before what the lake has: its next events would never come into the lake.
    fn check_belongs(&self, manifest: &Manifest, log: &dyn EventLog) -> Result<(), StoreError> {
        let last = log.last_offset()?;
        if last >= manifest.up_to_offset {
            return Ok(());
        }
        let fault = format!(
            "the lake holds the log up to offset {}, and the log ends at {last}: it is another log's lake, or the \
             log is an older copy; move the lake away to have it made anew from this log",
            manifest.up_to_offset
        );
        Err(StoreError::Damaged { path: self.dir.join(MANIFEST), fault })
    }

    /// Takes away parts that a crash left without a place in the manifest, and unfinished files.
    fn remove_strays(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let events = self.dir.join("events");
        for folder in list(&events)?.into_iter().filter(|path| path.is_dir()) {
            for file in list(&folder)? {
                let part = file.strip_prefix(&events).map(|part| part.to_string_lossy().into_owned());
                let named = part.is_ok_and(|part| manifest.parts.values().any(|parts| parts.contains(&part)));
                if !named {
                    fs::remove_file(&file).map_err(StoreError::io("remove", &file))?;
                }
            }
        }
        Ok(())
    }

    fn manifest(&self) -> Result<Manifest, StoreError> {
        let path = self.dir.join(MANIFEST);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Manifest::default()),
            Err(source) => return Err(StoreError::Io { action: "read", path, source }),
        };
        serde_json::from_slice(&text).map_err(|error| StoreError::Damaged { path, fault: error.to_string() })
    }

    fn write_manifest(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let path = self.dir.join(MANIFEST);
        let text = serde_json::to_vec_pretty(manifest)
            .map_err(|error| StoreError::Damaged { path: path.clone(), fault: error.to_string() })?;
        write_atomic(&path, &text)
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = fs::read_dir(folder).map_err(StoreError::io("list", folder))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(StoreError::io("list", folder))).collect()
}

fn part_name(day: LimaDay, first: u64, last: u64) -> String {
    format!("day={day}/part-{first:020}-{last:020}.parquet")
}

/// The first and last offset that a part's name tells.
fn offsets_of(part: &str) -> Option<(u64, u64)> {
    let (_, name) = part.split_once("/part-")?;
    let (first, last) = name.strip_suffix(".parquet")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn read_part(path: &Path, events: &mut Vec<Event>) -> Result<(), StoreError> {
    let mut reader = TableReader::open(path)?;
    while let Some(table) = reader.next_batch()? {
        let batch = event_table::from_table(&table)
            .map_err(|fault| StoreError::Damaged { path: path.to_owned(), fault })?;
        events.extend(batch);
    }
    Ok(())
}

fn items_table(items: &[Item]) -> Result<Table, qhatu_schema::TableError> {
    let text = |of: fn(&Item) -> Option<String>| Column::Text(items.iter().map(of).collect());
    let mut table = Table::new();
    table.push("item_id", text(|item| Some(item.item_id.to_string())))?;
    table.push("title", text(|item| Some(item.title.clone())))?;
    table.push("description", text(|item| Some(item.description.clone())))?;
    table.push("category", text(|item| item.category.clone()))?;
    table.push("brand", text(|item| item.brand.clone()))?;
    table.push(
        "price",
        Column::Float(items.iter().map(|item| item.price.map(qhatu_schema::Money::units)).collect()),
    )?;
    table.push("currency", text(|item| item.price.map(|price| price.currency.as_str().to_owned())))?;
    table.push("stock", Column::Int(items.iter().map(|item| item.stock.map(i64::from)).collect()))?;
    table.push("updated", Column::Time(items.iter().map(|item| Some(item.updated)).collect()))?;
    Ok(table)
}

fn users_table(users: &[User]) -> Result<Table, qhatu_schema::TableError> {
    let text = |of: fn(&User) -> Option<String>| Column::Text(users.iter().map(of).collect());
    let mut table = Table::new();
    table.push("user_id", text(|user| Some(user.user_id.to_string())))?;
    table.push("country", text(|user| user.country.clone()))?;
    table.push("ubigeo", text(|user| user.ubigeo.clone()))?;
    table.push("updated", Column::Time(users.iter().map(|user| Some(user.updated)).collect()))?;
    Ok(table)
}
