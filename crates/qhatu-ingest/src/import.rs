//! The import of files: read, explain, check, hand over, count.
//!
//! Parts of a file are read side by side by as many threads as there are cores, and come together here in
//! their order: the report, the quarantine and what is handed over are those of reading line by line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::num::NonZero;
use std::path::Path;
use std::thread::available_parallelism;
use std::time::Instant;

use qhatu_schema::{Event, Timestamp};
use qhatu_store::TableReader;

use crate::csv::Layout;
use crate::described::Described;
use crate::error::IngestError;
use crate::mapping::{Format, Mapping};
use crate::parallel::in_order;
use crate::quarantine::Quarantine;
use crate::reading::{Outcome, Reading, refused_row};
use crate::report::ImportReport;
use crate::row::{self, REPAIRS};
use crate::sink::Sink;
use crate::source::Records;

/// Events that are handed over at once.
const BATCH: usize = 20_000;
/// Of a file's first line so much is looked at, to tell a file of the quarantine.
const FIRST_LINE: u64 = 4 << 20;

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows so far.
    pub rows: u64,
    /// Rows in all, where that is known.
    pub total: Option<u64>,
}

/// Imports files into a sink.
pub struct Importer<'a> {
    sink: &'a mut dyn Sink,
    quarantine: &'a mut Quarantine,
    progress: &'a mut dyn FnMut(Progress),
    now: Timestamp,
    report: ImportReport,
    events: Vec<Event>,
    described: Described,
}

impl<'a> Importer<'a> {
    /// An importer; `now` is the moment that dates in the future are held against, and since which a row
    /// holds that describes something and names no time.
    pub fn new(
        sink: &'a mut dyn Sink,
        quarantine: &'a mut Quarantine,
        progress: &'a mut dyn FnMut(Progress),
        now: Timestamp,
    ) -> Self {
        Self {
            sink,
            quarantine,
            progress,
            now,
            report: ImportReport::default(),
            events: Vec::new(),
            described: Described::default(),
        }
    }

    /// Imports one file. Without a mapping, JSON Lines of qhatu's own shapes and GA4's are understood, and
    /// Parquet with the lake's columns. A file of the quarantine whose rows were mended is told by its
    /// first line, and needs the mapping that its rows came with.
    ///
    /// # Errors
    /// Where the file cannot be read or the store refuses. A file that is cut off is no error: what was
    /// read goes in, and the cut is counted.
    pub fn import(mut self, path: &Path, mapping: Option<&Mapping>) -> Result<ImportReport, IngestError> {
        let start = Instant::now();
        // Whether it is there comes before what it is.
        std::fs::metadata(path).map_err(|source| IngestError::Io { path: path.to_owned(), source })?;
        let reading = Reading { file: path.display().to_string(), mapping, now: self.now };
        let mended = is_quarantine(path);
        match if mended { Format::Jsonl } else { format(path, mapping)? } {
            Format::Parquet => self.parquet(path, &reading)?,
            Format::Csv => self.csv(path, &reading)?,
            Format::Jsonl | Format::Auto => {
                let encoding = mapping.filter(|_| !mended).map_or("utf-8", |mapping| &mapping.encoding);
                let mut records = Records::open(path, encoding, false)?;
                self.parts(None, || records.next_batch(), |batch| reading.json_lines(&batch))?;
            }
        }
        self.hand_over()?;
        self.hand_over_described()?;
        self.quarantine.sync()?;
        self.report.files = 1;
        self.report.seconds = start.elapsed().as_secs_f64();
        Ok(self.report)
    }

    fn csv(&mut self, path: &Path, reading: &Reading) -> Result<(), IngestError> {
        let mapping = reading.mapping.ok_or_else(|| IngestError::NoMapping { path: path.to_owned() })?;
        let mut records = Records::open(path, &mapping.encoding, true)?;
        let first = records.first().unwrap_or_default();
        let header = first.records().next().map(|record| String::from_utf8_lossy(record.bytes).into_owned());
        let Some(header) = header else {
            return Err(IngestError::NoRows { path: path.to_owned() });
        };
        let layout = Layout::new(&header, mapping).map_err(|missing| IngestError::MissingColumns {
            path: path.to_owned(),
            missing: missing.names,
            found: missing.found,
            hint: missing.hint,
        })?;
        self.parts(None, || records.next_batch(), |batch| reading.csv(mapping, &layout, &batch))
    }

    fn parquet(&mut self, path: &Path, reading: &Reading) -> Result<(), IngestError> {
        let own = lake_mapping();
        let mapping = reading.mapping.unwrap_or(&own);
        let mut reader = TableReader::open(path)?;
        let total = reader.rows();
        check_columns(path, mapping, &reader.columns())?;
        let local = reader.local_times();
        let mut before = 0;
        let mut broken = false;
        let next = || {
            let table = if broken { None } else { reader.next_batch().transpose() }?;
            broken = table.is_err();
            let first = before;
            before += table.as_ref().map_or(0, |table| table.rows() as u64);
            Some((table, first))
        };
        self.parts(Some(total), next, |(table, before)| match table {
            Ok(table) => reading.table(mapping, &table, (&local, before)),
            Err(fault) => reading.broken(&fault.to_string(), before + 1, ""),
        })
    }

    /// Reads parts side by side and takes what they come to in their order.
    fn parts<T: Send>(
        &mut self,
        total: Option<u64>,
        next: impl FnMut() -> Option<T> + Send,
        read: impl Fn(T) -> Outcome + Sync,
    ) -> Result<(), IngestError> {
        let workers = available_parallelism().map_or(1, NonZero::get);
        in_order(workers, next, read, |outcome| self.take(outcome, total))
    }

    fn take(&mut self, outcome: Outcome, total: Option<u64>) -> Result<(), IngestError> {
        self.report.rows += outcome.rows;
        for (rule, count) in REPAIRS.iter().zip(outcome.repaired).filter(|(_, count)| *count > 0) {
            *self.report.repaired.entry((*rule).to_owned()).or_default() += count;
        }
        for (name, count) in outcome.ignored {
            *self.report.ignored.entry(name).or_default() += count;
        }
        for refused in &outcome.refused {
            match self.report.quarantined.get_mut(&refused.reason) {
                Some(count) => *count += 1,
                None => drop(self.report.quarantined.insert(refused.reason.clone(), 1)),
            }
            self.quarantine.keep(refused)?;
        }
        self.described.merge(outcome.described);
        self.events.extend(outcome.events);
        (self.progress)(Progress { rows: self.report.rows, total });
        if self.events.len() >= BATCH { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> Result<(), IngestError> {
        let new = self.sink.events(&self.events)?;
        let accepted = new.iter().filter(|new| **new).count() as u64;
        self.report.accepted += accepted;
        self.report.duplicate += self.events.len() as u64 - accepted;
        self.events.clear();
        Ok(())
    }

    fn hand_over_described(&mut self) -> Result<(), IngestError> {
        let (items, users) = std::mem::take(&mut self.described).finish();
        self.sink.items(&items)?;
        self.sink.users(&users)?;
        (self.report.items, self.report.users) = (items.len() as u64, users.len() as u64);
        Ok(())
    }
}

fn check_columns(path: &Path, mapping: &Mapping, found: &[String]) -> Result<(), IngestError> {
    let names = row::names(&mapping.columns);
    let absent = |name: &&&str| !name.is_empty() && !found.iter().any(|column| column == **name);
    let missing: Vec<String> = names.iter().filter(absent).map(|name| (*name).to_owned()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(IngestError::MissingColumns {
        path: path.to_owned(),
        missing,
        found: found.join(", "),
        hint: "; name a mapping by --mapping, or correct its columns".to_owned(),
    })
}

/// Whether a file holds rows of the quarantine.
fn is_quarantine(path: &Path) -> bool {
    if path.extension().is_none_or(|end| end != "jsonl") {
        return false;
    }
    let Ok(file) = File::open(path) else { return false };
    let mut line = Vec::new();
    let read = BufReader::new(std::io::Read::take(file, FIRST_LINE)).read_until(b'\n', &mut line);
    let value = read.ok().and_then(|_| serde_json::from_slice(&line).ok());
    value.is_some_and(|value| refused_row(&value).is_some())
}

fn format(path: &Path, mapping: Option<&Mapping>) -> Result<Format, IngestError> {
    if let Some(format) = mapping.map(|mapping| mapping.format).filter(|format| *format != Format::Auto) {
        return Ok(format);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("csv" | "tsv" | "txt") => Ok(Format::Csv),
        Some("jsonl" | "ndjson" | "json") => Ok(Format::Jsonl),
        Some("parquet") => Ok(Format::Parquet),
        _ => match std::fs::metadata(path) {
            Err(source) => Err(IngestError::Io { path: path.to_owned(), source }),
            Ok(_) => Err(IngestError::UnknownFormat { path: path.to_owned() }),
        },
    }
}

/// Parquet without a mapping has the columns of the lake's events. Columns that are not there are gaps,
/// but for those without which there is no event.
fn lake_mapping() -> Mapping {
    let mut mapping = Mapping::default();
    let columns = &mut mapping.columns;
    for (name, field) in [
        ("event_id", &mut columns.event_id),
        ("time", &mut columns.time),
        ("kind", &mut columns.kind),
        ("user_id", &mut columns.user_id),
        ("session_id", &mut columns.session_id),
        ("item_id", &mut columns.item_id),
        ("quantity", &mut columns.quantity),
        ("price", &mut columns.price),
        ("currency", &mut columns.currency),
        ("order_id", &mut columns.order_id),
        ("state", &mut columns.state),
        ("query", &mut columns.query),
    ] {
        *field = name.to_owned();
    }
    mapping
}
