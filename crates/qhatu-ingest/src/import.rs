//! The import of files: read, explain, check, hand over, count.

use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::time::Instant;

use qhatu_schema::{Column, Event, Item, ItemId, Table, Timestamp, User, UserId};
use qhatu_store::TableReader;
use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::decode::decode_json_event;
use crate::error::IngestError;
use crate::mapping::{Format, Mapping};
use crate::quarantine::{Quarantine, Refused};
use crate::report::ImportReport;
use crate::row::{self, FIELDS, Refusal, Values};
use crate::sink::Sink;
use crate::source::{Record, Records, split_csv};

/// Events that are handed over at once.
const BATCH: usize = 5_000;

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

/// Products and shoppers that rows described, put together.
#[derive(Default)]
struct Described {
    items: FxHashMap<ItemId, (Item, FxHashMap<String, u32>)>,
    users: FxHashMap<UserId, User>,
}

impl<'a> Importer<'a> {
    /// An importer; `now` is the moment that dates in the future are held against.
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
            events: Vec::with_capacity(BATCH),
            described: Described::default(),
        }
    }

    /// Imports one file. Without a mapping, JSON Lines of qhatu's own shape and GA4's are understood, and
    /// files of the quarantine whose rows were mended need the mapping they came with.
    ///
    /// # Errors
    /// Where the file cannot be read or the store refuses. A file that is cut off is no error: what was
    /// read goes in, and the cut is counted.
    pub fn import(mut self, path: &Path, mapping: Option<&Mapping>) -> Result<ImportReport, IngestError> {
        let start = Instant::now();
        match format(path, mapping)? {
            Format::Parquet => self.parquet(path, mapping)?,
            Format::Csv => {
                let mapping = mapping.ok_or_else(|| IngestError::NoMapping { path: path.to_owned() })?;
                self.csv(path, mapping)?;
            }
            Format::Jsonl | Format::Auto => self.jsonl(path, mapping)?,
        }
        self.hand_over()?;
        self.hand_over_described()?;
        self.quarantine.sync()?;
        self.report.files = 1;
        self.report.seconds = start.elapsed().as_secs_f64();
        Ok(self.report)
    }

    fn csv(&mut self, path: &Path, mapping: &Mapping) -> Result<(), IngestError> {
        let mut records = Records::open(path, &mapping.encoding, true)?;
        let first = records.next().map_err(|source| IngestError::Io { path: path.to_owned(), source })?;
        let header = String::from_utf8_lossy(&first.unwrap_or_default().bytes).into_owned();
        let delimiter = delimiter(&header, mapping);
        let places = places(path, &header, delimiter, mapping)?;
        while let Some(record) = self.next(&mut records, path)? {
            let Some(text) = self.text(path, &record, &header)? else { continue };
            if text.trim().is_empty() {
                continue;
            }
            let mut values = Vec::with_capacity(places.columns);
            split_csv(text, delimiter, &mut values);
            let explained = if values.len() < places.columns {
                let detail = format!("{} values, the first line has {} names", values.len(), places.columns);
                Err(Refusal { reason: "too few values", detail })
            } else {
                row::explain(mapping, &places.pick(&values), self.now)
            };
            self.take(path, &record, explained, (text, &header))?;
        }
        Ok(())
    }

    fn jsonl(&mut self, path: &Path, mapping: Option<&Mapping>) -> Result<(), IngestError> {
        let encoding = mapping.map_or("utf-8", |mapping| mapping.encoding.as_str());
        let mut records = Records::open(path, encoding, false)?;
        while let Some(record) = self.next(&mut records, path)? {
            let Some(text) = self.text(path, &record, "")? else { continue };
            if text.trim().is_empty() {
                continue;
            }
            match serde_json::from_str::<Value>(text) {
                Err(fault) => {
                    let refusal = Refusal { reason: "not JSON", detail: fault.to_string() };
                    self.take(path, &record, Err(refusal), (text, ""))?;
                }
                Ok(value) => match refused_row(&value) {
                    Some(refused) => self.mended(path, &record, &refused, mapping)?,
                    None => self.object(path, &record, &value, mapping, text)?,
                },
            }
        }
        Ok(())
    }

    fn object(
        &mut self,
        path: &Path,
        record: &Record,
        value: &Value,
        mapping: Option<&Mapping>,
        text: &str,
    ) -> Result<(), IngestError> {
        if let Some(mapping) = mapping {
            let names = row::names(&mapping.columns);
            let texts = names.map(|name| json_text(&value[name]));
            let values: Values = std::array::from_fn(|place| texts[place].as_ref());
            return self.take(path, record, row::explain(mapping, &values, self.now), (text, ""));
        }
        match decode_json_event(value) {
            Err(fault) => {
                let refusal = Refusal { reason: "not an event", detail: fault.to_string() };
                self.take(path, record, Err(refusal), (text, ""))
            }
            Ok(events) => {
                self.report.rows += u64::from(events.is_empty());
                for event in events {
                    let explained = match event.check() {
                        Ok(()) => Ok(row::Explained { event: Some(event), ..Default::default() }),
                        Err(fault) => Err(Refusal { reason: "incomplete", detail: fault.to_string() }),
                    };
                    self.take(path, record, explained, (text, ""))?;
                }
                Ok(())
            }
        }
    }

    /// A row of the quarantine that was mended: read as its file would be.
    fn mended(
        &mut self,
        path: &Path,
        record: &Record,
        refused: &Refused,
        mapping: Option<&Mapping>,
    ) -> Result<(), IngestError> {
        let text = refused.text.as_str();
        let Some(mapping) = mapping.filter(|_| !refused.header.is_empty()) else {
            return match serde_json::from_str::<Value>(text) {
                Ok(value) => self.object(path, record, &value, mapping, text),
                Err(fault) => {
                    let refusal = Refusal { reason: "not JSON", detail: fault.to_string() };
                    self.take(path, record, Err(refusal), (text, ""))
                }
            };
        };
        let delimiter = delimiter(&refused.header, mapping);
        let places = places(path, &refused.header, delimiter, mapping)?;
        let mut values = Vec::new();
        split_csv(text, delimiter, &mut values);
        let explained = row::explain(mapping, &places.pick(&values), self.now);
        self.take(path, record, explained, (text, &refused.header))
    }

    fn parquet(&mut self, path: &Path, mapping: Option<&Mapping>) -> Result<(), IngestError> {
        let own = lake_mapping();
        let mapping = mapping.unwrap_or(&own);
        let mut reader = TableReader::open(path)?;
        let total = Some(reader.rows());
        let names = row::names(&mapping.columns);
        let found = reader.columns();
        let missing: Vec<String> = names
            .iter()
            .filter(|name| !name.is_empty() && !found.iter().any(|column| column == *name))
            .map(|name| (*name).to_owned())
            .collect();
        if !missing.is_empty() {
            let found = found.join(", ");
            return Err(IngestError::MissingColumns {
                path: path.to_owned(),
                missing,
                found,
                hint: String::new(),
            });
        }
        let mut line = 0;
        while let Some(table) = reader.next_batch()? {
            let columns = names.map(|name| table.column(name));
            for place in 0..table.rows() {
                line += 1;
                let texts =
                    columns.map(|column| column.map_or(Cow::Borrowed(""), |column| cell(column, place)));
                let values: Values = std::array::from_fn(|field| texts[field].as_ref());
                let explained = row::explain(mapping, &values, self.now);
                let record = Record { line, ..Record::default() };
                let text = if explained.is_err() { row_text(&table, place) } else { String::new() };
                self.take(path, &record, explained, (&text, ""))?;
            }
            (self.progress)(Progress { rows: self.report.rows, total });
        }
        Ok(())
    }

    /// The next record; a file that ends in the middle of its packing is counted and ends here.
    fn next(&mut self, records: &mut Records, path: &Path) -> Result<Option<Record>, IngestError> {
        match records.next() {
            Ok(record) => Ok(record),
            Err(fault) => {
                let detail = format!("the file is cut off or damaged: {fault}");
                let refusal = Refusal { reason: "file cut off", detail };
                self.take(path, &Record::default(), Err(refusal), ("", ""))?;
                Ok(None)
            }
        }
    }

    /// The record's text, where it has one; otherwise it is refused here.
    fn text<'r>(
        &mut self,
        path: &Path,
        record: &'r Record,
        header: &str,
    ) -> Result<Option<&'r str>, IngestError> {
        let fault = match (record.fault, std::str::from_utf8(&record.bytes)) {
            (None, Ok(text)) => return Ok(Some(text)),
            (Some(fault), _) => fault.to_owned(),
            (None, Err(fault)) => {
                format!("{fault}; if the file is not UTF-8, set encoding, as in \"windows-1252\"")
            }
        };
        let reason = if record.fault.is_some() { "broken line" } else { "wrong encoding" };
        let text = String::from_utf8_lossy(&record.bytes).into_owned();
        self.take(path, record, Err(Refusal { reason, detail: fault }), (&text, header))?;
        Ok(None)
    }

    fn take(
        &mut self,
        path: &Path,
        record: &Record,
        explained: Result<row::Explained, Refusal>,
        (text, header): (&str, &str),
    ) -> Result<(), IngestError> {
        self.report.rows += 1;
        if self.report.rows.is_multiple_of(20_000) {
            (self.progress)(Progress { rows: self.report.rows, total: None });
        }
        match explained {
            Ok(explained) => {
                for rule in explained.repaired {
                    *self.report.repaired.entry(rule.to_owned()).or_default() += 1;
                }
                self.described.add(explained.item, explained.user);
                if let Some(event) = explained.event {
                    self.events.push(event);
                }
                if self.events.len() >= BATCH { self.hand_over() } else { Ok(()) }
            }
            Err(refusal) => {
                *self.report.quarantined.entry(refusal.reason.to_owned()).or_default() += 1;
                self.quarantine.keep(&Refused {
                    file: path.display().to_string(),
                    line: record.line,
                    reason: refusal.reason.to_owned(),
                    detail: refusal.detail,
                    text: text.to_owned(),
                    header: header.to_owned(),
                })
            }
        }
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
        let described = std::mem::take(&mut self.described);
        let mut items: Vec<Item> =
            described.items.into_values().map(|(item, titles)| titled(item, titles)).collect();
        items.sort_by(|a, b| a.item_id.cmp(&b.item_id));
        let mut users: Vec<User> = described.users.into_values().collect();
        users.sort_by(|a, b| a.user_id.cmp(&b.user_id));
        self.sink.items(&items)?;
        self.sink.users(&users)?;
        (self.report.items, self.report.users) = (items.len() as u64, users.len() as u64);
        Ok(())
    }
}

impl Described {
    /// The latest description of each wins; for titles the most frequent.
    fn add(&mut self, item: Option<Item>, user: Option<User>) {
        if let Some(user) = user {
            self.users.insert(user.user_id.clone(), user);
        }
        let Some(mut item) = item else { return };
        let (kept, titles) = self
            .items
            .entry(item.item_id.clone())
            .or_insert_with(|| (Item::new(item.item_id.clone()), FxHashMap::default()));
        let title = std::mem::take(&mut item.title);
        match titles.get_mut(&title) {
            Some(count) => *count += 1,
            None if title.is_empty() => {}
            None => drop(titles.insert(title, 1)),
        }
        if item.updated >= kept.updated {
            let price = item.price.or(kept.price);
            *kept = Item { price, ..item };
        }
    }
}

/// The item with its most frequent title; among equals the first of the alphabet.
fn titled(mut item: Item, titles: FxHashMap<String, u32>) -> Item {
    let best = titles.into_iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(&a.0)));
    item.title = best.map_or_else(String::new, |(title, _)| title);
    item
}

/// Where each field stands in a CSV record.
struct Places {
    fields: [Option<usize>; FIELDS],
    columns: usize,
}

impl Places {
    fn pick<'v>(&self, values: &'v [Cow<'_, str>]) -> Values<'v> {
        self.fields.map(|place| place.and_then(|place| values.get(place)).map_or("", AsRef::as_ref))
    }
}

fn places(path: &Path, header: &str, delimiter: u8, mapping: &Mapping) -> Result<Places, IngestError> {
    let mut names = Vec::new();
    split_csv(header, delimiter, &mut names);
    let find = |wanted: &str| names.iter().position(|name| name.trim() == wanted);
    let wanted = row::names(&mapping.columns);
    let missing: Vec<String> = wanted
        .iter()
        .filter(|name| !name.is_empty() && find(name).is_none())
        .map(|name| (*name).to_owned())
        .collect();
    if missing.is_empty() {
        let fields = wanted.map(|name| if name.is_empty() { None } else { find(name) });
        return Ok(Places { fields, columns: names.len() });
    }
    let hint = match names.len() {
        1 => format!("; is {:?} the delimiter? set delimiter in the mapping", char::from(delimiter)),
        _ => "; correct the mapping's columns".to_owned(),
    };
    let found: String = names.join(", ").chars().take(500).collect();
    Err(IngestError::MissingColumns { path: path.to_owned(), missing, found, hint })
}

/// The delimiter that is set, or the one that the first line has most of.
fn delimiter(header: &str, mapping: &Mapping) -> u8 {
    if let Some(&set) = mapping.delimiter.as_bytes().first() {
        return set;
    }
    let count = |delimiter: &u8| header.bytes().filter(|byte| byte == delimiter).count();
    *[b'|', b'\t', b';', b','].iter().max_by_key(|delimiter| count(delimiter)).unwrap_or(&b',')
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
        _ if fs::metadata(path).is_err() => Err(IngestError::Io {
            path: path.to_owned(),
            source: std::io::Error::from(std::io::ErrorKind::NotFound),
        }),
        _ => Err(IngestError::UnknownFormat { path: path.to_owned() }),
    }
}

/// Parquet without a mapping has the columns of an event.
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

fn refused_row(value: &Value) -> Option<Refused> {
    let object = value.as_object()?;
    ["file", "line", "reason", "text"].iter().all(|key| object.contains_key(*key)).then_some(())?;
    serde_json::from_value(value.clone()).ok()
}

fn json_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

fn cell(column: &Column, row: usize) -> Cow<'_, str> {
    match column {
        Column::Text(values) => Cow::Borrowed(values[row].as_deref().unwrap_or("")),
        Column::Int(values) => values[row].map_or(Cow::Borrowed(""), |value| value.to_string().into()),
        Column::Float(values) => values[row].map_or(Cow::Borrowed(""), |value| value.to_string().into()),
        Column::Bool(values) => values[row].map_or(Cow::Borrowed(""), |value| value.to_string().into()),
        Column::Time(values) => values[row].map_or(Cow::Borrowed(""), |value| value.to_string().into()),
        Column::Day(values) => values[row].map_or(Cow::Borrowed(""), |value| value.to_string().into()),
    }
}

/// A row of a table as JSON, for the quarantine.
fn row_text(table: &Table, row: usize) -> String {
    let cells =
        table.columns().iter().map(|(name, column)| (name.clone(), cell(column, row).into_owned().into()));
    Value::Object(cells.collect()).to_string()
}
