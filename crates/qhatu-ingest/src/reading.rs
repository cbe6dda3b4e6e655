//! A part of a file read: what its rows say, and why those that say nothing were refused. Pure functions
//! of the part, so that parts can be read side by side.

use std::borrow::Cow;
use std::collections::BTreeMap;

use qhatu_schema::{Column, Event, Item, Table, Timestamp, User, Zone};
use serde_json::Value;

use crate::csv::{self, Layout};
use crate::decode::{DecodeError, decode_each};
use crate::described::Described;
use crate::mapping::Mapping;
use crate::quarantine::Refused;
use crate::row::{self, Explained, Ids, ItemRow, REPAIRS, Refusal, UserRow, Values};
use crate::source::{Batch, Record};

/// What all parts of a file are read by.
#[derive(Debug, Clone)]
pub(crate) struct Reading<'a> {
    /// The file, as messages name it.
    pub(crate) file: String,
    /// What its columns mean.
    pub(crate) mapping: Option<&'a Mapping>,
    /// The moment of the import.
    pub(crate) now: Timestamp,
}

/// What came of a part.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Rows, those without an event included.
    pub(crate) rows: u64,
    /// Events in their order.
    pub(crate) events: Vec<Event>,
    /// Products and shoppers.
    pub(crate) described: Described,
    /// How many rows each of [`REPAIRS`] mended.
    pub(crate) repaired: [u64; REPAIRS.len()],
    /// What says nothing about products, by name.
    pub(crate) ignored: BTreeMap<String, u64>,
    /// What was refused.
    pub(crate) refused: Vec<Refused>,
}

/// A row as the quarantine would keep it.
#[derive(Clone, Copy)]
struct Origin<'r> {
    line: u64,
    text: &'r str,
    header: &'r str,
}

impl Reading<'_> {
    /// Reads records of CSV.
    pub(crate) fn csv(&self, mapping: &Mapping, layout: &Layout, batch: &Batch) -> Outcome {
        let mut outcome = Outcome::default();
        let mut ids = Ids::default();
        let mut values = Vec::with_capacity(layout.columns);
        for record in batch.records() {
            let Some(origin) = self.text(&record, &layout.header, &mut outcome) else { continue };
            if origin.text.trim().is_empty() {
                continue;
            }
            csv::split(origin.text, layout.delimiter, &mut values);
            self.csv_row(mapping, layout, &values, (origin, &mut ids), &mut outcome);
        }
        self.cut(batch, &mut outcome);
        outcome
    }

    /// Reads records of JSON.
    pub(crate) fn json_lines(&self, batch: &Batch) -> Outcome {
        let mut outcome = Outcome::default();
        for record in batch.records() {
            let Some(origin) = self.text(&record, "", &mut outcome) else { continue };
            if origin.text.trim().is_empty() {
                continue;
            }
            match serde_json::from_str::<Value>(origin.text) {
                Err(fault) => self.refuse(origin, not_json(&fault), &mut outcome),
                Ok(value) => match refused_row(&value) {
                    Some(refused) => self.mended(record.line, &refused, &mut outcome),
                    None => self.object(origin, &value, &mut outcome),
                },
            }
        }
        self.cut(batch, &mut outcome);
        outcome
    }

    /// Reads rows of a table. `local` names the columns whose times are those of a clock on the wall, and
    /// `before` says how many rows of the file stand before the table.
    pub(crate) fn table(
        &self,
        mapping: &Mapping,
        table: &Table,
        (local, before): (&[String], u64),
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let mut ids = Ids::default();
        let zone = |name: &str| local.iter().any(|column| column == name).then_some(mapping.timezone);
        let columns =
            row::names(&mapping.columns).map(|name| table.column(name).map(|column| (column, zone(name))));
        for place in 0..table.rows() {
            let texts = columns
                .map(|column| column.map_or(Cow::Borrowed(""), |(column, zone)| cell(column, zone, place)));
            let values: Values = std::array::from_fn(|field| texts[field].trim());
            match row::explain(mapping, &values, self.now, &mut ids) {
                Ok(explained) => outcome.take(explained),
                Err(refusal) => {
                    let text = row_text(table, zone, place);
                    let origin = Origin { line: before + place as u64 + 1, text: &text, header: "" };
                    self.refuse(origin, refusal, &mut outcome);
                }
            }
        }
        outcome
    }

    /// A file that ended before its end: what was read goes in, the rest is one refused row.
    pub(crate) fn broken(&self, fault: &str, line: u64, text: &str) -> Outcome {
        let mut outcome = Outcome::default();
        let detail = format!("the file is cut off or damaged: {fault}; what comes after is not read");
        let origin = Origin { line, text, header: "" };
        self.refuse(origin, Refusal { reason: "file cut off", detail }, &mut outcome);
        outcome
    }

    fn cut(&self, batch: &Batch, outcome: &mut Outcome) {
        if let Some((fault, record)) = batch.cut() {
            outcome.add(self.broken(fault, record.line, &String::from_utf8_lossy(record.bytes)));
        }
    }

    fn csv_row<'v>(
        &self,
        mapping: &Mapping,
        layout: &Layout,
        values: &'v [Cow<'v, str>],
        (origin, ids): (Origin, &mut Ids),
        outcome: &mut Outcome,
    ) {
        let found = values.len() - values.iter().rev().take_while(|value| value.is_empty()).count();
        let reason = match values.len() {
            fewer if fewer < layout.columns => "too few values",
            _ if found > layout.columns => "too many values",
            _ => {
                return match row::explain(mapping, &layout.pick(values), self.now, ids) {
                    Ok(explained) => outcome.take(explained),
                    Err(refusal) => self.refuse(origin, refusal, outcome),
                };
            }
        };
        let detail = format!("{} values, the first line has {} names", values.len(), layout.columns);
        self.refuse(origin, Refusal { reason, detail }, outcome);
    }

    /// A row of the quarantine that was mended: read as its file would be.
    fn mended(&self, line: u64, refused: &Refused, outcome: &mut Outcome) {
        let origin = Origin { line, text: &refused.text, header: &refused.header };
        if refused.header.is_empty() {
            return match serde_json::from_str::<Value>(&refused.text) {
                Ok(value) => self.object(origin, &value, outcome),
                Err(fault) => self.refuse(origin, not_json(&fault), outcome),
            };
        }
        let Some(mapping) = self.mapping else {
            let detail = "the row is CSV: name the mapping that it came with by --mapping".to_owned();
            return self.refuse(origin, Refusal { reason: "no mapping", detail }, outcome);
        };
        match Layout::new(&refused.header, mapping) {
            Err(missing) => {
                let names = missing.names.join(", ");
                let detail = format!("its file has no column {names}; is it the mapping that it came with?");
                self.refuse(origin, Refusal { reason: "missing columns", detail }, outcome);
            }
            Ok(layout) => {
                let mut values = Vec::new();
                csv::split(origin.text, layout.delimiter, &mut values);
                self.csv_row(mapping, &layout, &values, (origin, &mut Ids::default()), outcome);
            }
        }
    }

    fn object(&self, origin: Origin, value: &Value, outcome: &mut Outcome) {
        match self.mapping {
            Some(mapping) => self.mapped(mapping, origin, value, outcome),
            None => match own_shape(value) {
                Some(said) => self.describing(origin, said, outcome),
                None => self.events(origin, value, outcome),
            },
        }
    }

    /// An object, or the rows in it, by the mapping.
    fn mapped(&self, mapping: &Mapping, origin: Origin, value: &Value, outcome: &mut Outcome) {
        if mapping.rows.is_empty() {
            return self.mapped_row(mapping, origin, [value, &Value::Null], outcome);
        }
        match find(value, &mapping.rows) {
            Some(Value::Array(rows)) => {
                rows.iter().for_each(|row| self.mapped_row(mapping, origin, [row, value], outcome));
            }
            _ => {
                let detail = format!("it has no list {:?}, which the mapping names as rows", mapping.rows);
                self.refuse(origin, Refusal { reason: "no rows", detail }, outcome);
            }
        }
    }

    fn mapped_row(&self, mapping: &Mapping, origin: Origin, places: [&Value; 2], outcome: &mut Outcome) {
        let texts = row::names(&mapping.columns).map(|name| {
            let found = places.iter().find_map(|place| find(place, name));
            found.map_or(Cow::Borrowed(""), json_text)
        });
        let values: Values = std::array::from_fn(|place| texts[place].trim());
        match row::explain(mapping, &values, self.now, &mut Ids::default()) {
            Ok(explained) => outcome.take(explained),
            Err(refusal) => self.refuse(origin, refusal, outcome),
        }
    }

    /// A product or shopper in qhatu's own shape.
    fn describing(&self, origin: Origin, said: Result<Said, serde_json::Error>, outcome: &mut Outcome) {
        match said {
            Ok(Said::Item(item)) => {
                outcome.take(Explained { item: Some(item_row(&item, self.now)), ..Explained::default() })
            }
            Ok(Said::User(user)) => {
                outcome.take(Explained { user: Some(user_row(&user, self.now)), ..Explained::default() })
            }
            Err(fault) => {
                let refusal = Refusal { reason: "not a product or shopper", detail: fault.to_string() };
                self.refuse(origin, refusal, outcome);
            }
        }
    }

    /// Events in qhatu's shape or GA4's.
    fn events(&self, origin: Origin, value: &Value, outcome: &mut Outcome) {
        for decoded in decode_each(value, None) {
            match decoded {
                Ok(events) if events.is_empty() => {
                    let detail = "it names no product: its list of items is empty".to_owned();
                    self.refuse(origin, Refusal { reason: "incomplete", detail }, outcome);
                }
                Ok(events) => events.into_iter().for_each(|event| self.event(origin, event, outcome)),
                Err(DecodeError::Unused { name }) => {
                    outcome.rows += 1;
                    *outcome.ignored.entry(format!("GA4 event {name:?}")).or_default() += 1;
                }
                Err(fault) => {
                    let refusal = Refusal { reason: "not an event", detail: fault.to_string() };
                    self.refuse(origin, refusal, outcome);
                }
            }
        }
    }

    fn event(&self, origin: Origin, event: Event, outcome: &mut Outcome) {
        let checked = match event.check() {
            Err(fault) => Err(Refusal { reason: "incomplete", detail: fault.to_string() }),
            Ok(()) => row::check_ahead(event.time, self.now),
        };
        match checked {
            Ok(()) => outcome.take(Explained { event: Some(event), ..Explained::default() }),
            Err(refusal) => self.refuse(origin, refusal, outcome),
        }
    }

    /// The record's text, where it has one; otherwise it is refused here.
    fn text<'r>(&self, record: &Record<'r>, header: &'r str, outcome: &mut Outcome) -> Option<Origin<'r>> {
        let (reason, detail) = match (record.fault, std::str::from_utf8(record.bytes)) {
            (None, Ok(text)) => return Some(Origin { line: record.line, text, header }),
            (Some(fault), _) => ("broken line", fault.to_owned()),
            (None, Err(fault)) => (
                "wrong encoding",
                format!("{fault}; if the file is not UTF-8, set encoding, as in \"windows-1252\""),
            ),
        };
        let text = String::from_utf8_lossy(record.bytes);
        self.refuse(Origin { line: record.line, text: &text, header }, Refusal { reason, detail }, outcome);
        None
    }

    fn refuse(&self, origin: Origin, refusal: Refusal, outcome: &mut Outcome) {
        outcome.rows += 1;
        outcome.refused.push(Refused {
            file: self.file.clone(),
            line: origin.line,
            reason: refusal.reason.to_owned(),
            detail: refusal.detail,
            text: origin.text.to_owned(),
            header: origin.header.to_owned(),
        });
    }
}

impl Outcome {
    fn take(&mut self, explained: Explained) {
        self.rows += 1;
        for (place, count) in self.repaired.iter_mut().enumerate() {
            *count += u64::from(explained.repaired >> place & 1);
        }
        if let Some(item) = &explained.item {
            self.described.add_item(item);
        }
        if let Some(user) = &explained.user {
            self.described.add_user(user);
        }
        self.events.extend(explained.event);
    }

    /// Takes what another part came to.
    pub(crate) fn add(&mut self, later: Self) {
        self.rows += later.rows;
        self.events.extend(later.events);
        self.described.merge(later.described);
        self.repaired.iter_mut().zip(later.repaired).for_each(|(own, theirs)| *own += theirs);
        later.ignored.into_iter().for_each(|(name, count)| *self.ignored.entry(name).or_default() += count);
        self.refused.extend(later.refused);
    }
}

/// What an object in qhatu's own shape describes.
enum Said {
    Item(Item),
    User(User),
}

/// A product is an object with `item_id`, a shopper one with `user_id`, where nothing speaks of an event.
fn own_shape(value: &Value) -> Option<Result<Said, serde_json::Error>> {
    let object = value.as_object()?;
    let has = |key: &str| object.contains_key(key);
    if ["kind", "event_id", "time", "events", "event_name"].into_iter().any(has) {
        return None;
    }
    match (has("item_id"), has("user_id")) {
        (true, false) => Some(serde_json::from_value(value.clone()).map(Said::Item)),
        (false, true) => Some(serde_json::from_value(value.clone()).map(Said::User)),
        _ => None,
    }
}

fn item_row(item: &Item, now: Timestamp) -> ItemRow<'_> {
    ItemRow {
        item_id: item.item_id.clone(),
        title: &item.title,
        description: &item.description,
        category: item.category.as_deref().unwrap_or_default(),
        brand: item.brand.as_deref().unwrap_or_default(),
        price: item.price,
        stock: item.stock,
        at: if item.updated == Timestamp::EPOCH { now } else { item.updated },
    }
}

fn user_row(user: &User, now: Timestamp) -> UserRow<'_> {
    UserRow {
        user_id: user.user_id.clone(),
        country: user.country.as_deref().unwrap_or_default(),
        ubigeo: user.ubigeo.as_deref().unwrap_or_default(),
        at: if user.updated == Timestamp::EPOCH { now } else { user.updated },
    }
}

fn not_json(fault: &serde_json::Error) -> Refusal {
    Refusal { reason: "not JSON", detail: fault.to_string() }
}

/// Whether an object is a row of the quarantine.
pub(crate) fn refused_row(value: &Value) -> Option<Refused> {
    let object = value.as_object()?;
    ["file", "line", "reason", "detail", "text"].iter().all(|key| object.contains_key(*key)).then_some(())?;
    serde_json::from_value(value.clone()).ok()
}

/// The value of a name, or of a way through objects as in `customer.id`.
fn find<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    if name.is_empty() {
        return None;
    }
    let object = value.as_object()?;
    if let Some(found) = object.get(name) {
        return Some(found);
    }
    let (first, rest) = name.split_once('.')?;
    find(object.get(first)?, rest)
}

fn json_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// A value as text; a time without a zone is told in UTC, which it is by the clocks of `zone`.
fn cell(column: &Column, zone: Option<Zone>, row: usize) -> Cow<'_, str> {
    fn text<T: ToString>(value: Option<&T>) -> Cow<'static, str> {
        value.map_or(Cow::Borrowed(""), |value| value.to_string().into())
    }
    match column {
        Column::Text(values) => Cow::Borrowed(values[row].as_deref().unwrap_or("")),
        Column::Int(values) => text(values[row].as_ref()),
        Column::Float(values) => text(values[row].as_ref()),
        Column::Bool(values) => text(values[row].as_ref()),
        Column::Time(values) => {
            text(values[row].map(|time| zone.map_or(time, |zone| zone.instant(time))).as_ref())
        }
        Column::Day(values) => text(values[row].as_ref()),
    }
}

/// A row of a table as JSON, for the quarantine.
fn row_text(table: &Table, zone: impl Fn(&str) -> Option<Zone>, row: usize) -> String {
    let value = |name: &str, column| cell(column, zone(name), row).into_owned().into();
    let cells = table.columns().iter().map(|(name, column)| (name.clone(), value(name, column)));
    Value::Object(cells.collect()).to_string()
}
