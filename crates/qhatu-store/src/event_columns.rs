//! The lake's events by column, without a row of them ever being made: texts that repeat come as the
//! dictionaries that Parquet keeps them in, so each is looked at once and not once a row.

use std::fs::File;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use qhatu_schema::{EventColumns, Labels, Lists, NO_INT, NO_TEXT, Texts};

use crate::error::StoreError;
use crate::foreign::{decode, stated_rows};

/// Rows of a batch when reading: a dictionary is taken over once for each batch.
const BATCH_ROWS: usize = 131_072;

/// Texts that repeat, and so are read as dictionaries.
const REPEATING: &[&str] = &[
    "kind",
    "user_id",
    "session_id",
    "item_id",
    "currency",
    "order_id",
    "state",
    "query",
    "recommendation_id",
    "model_version",
];

/// Puts the events of a part behind those of `events`; columns not in `wanted` are gaps.
///
/// # Errors
/// Where the file is damaged or not a part of a lake.
pub(crate) fn read(path: &Path, wanted: &[&str], events: &mut EventColumns) -> Result<(), StoreError> {
    let damaged = |fault: String| StoreError::Damaged { path: path.to_owned(), fault };
    let (mut reader, stated) = decode(path, || open(path, wanted))?;
    let mut rows = 0;
    let mut next = || decode(path, || reader.next().transpose().map_err(|fault| damaged(fault.to_string())));
    while let Some(batch) = next()? {
        rows += batch.num_rows() as u64;
        if rows > stated {
            return Err(damaged(format!("it states {stated} rows and holds {rows} or more")));
        }
        let columns = of_batch(&batch, wanted).map_err(damaged)?;
        if events.rows() == 0 {
            *events = columns;
        } else {
            events.extend(&columns);
        }
    }
    Ok(())
}

/// A reader of the wanted columns, and the rows that the file states.
fn open(path: &Path, wanted: &[&str]) -> Result<(ParquetRecordBatchReader, u64), StoreError> {
    let damaged = |fault: String| StoreError::Damaged { path: path.to_owned(), fault };
    let file = File::open(path).map_err(StoreError::io("open", path))?;
    let bytes = file.metadata().map_err(StoreError::io("look at", path))?.len();
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata =
        ArrowReaderMetadata::load(&file, options.clone()).map_err(|fault| damaged(fault.to_string()))?;
    let rows = stated_rows(path, metadata.metadata(), bytes)?;
    let fields = metadata.schema().fields().iter().map(|field| as_dictionary(field));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = options.with_schema(schema);
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
        .map_err(|fault| damaged(fault.to_string()))?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
    let mask = ProjectionMask::columns(builder.parquet_schema(), wanted.iter().copied());
    let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
    reader.map(|reader| (reader, rows)).map_err(|fault| damaged(fault.to_string()))
}

fn as_dictionary(field: &Field) -> Field {
    if REPEATING.contains(&field.name().as_str()) && *field.data_type() == DataType::Utf8 {
        let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        return Field::new(field.name(), kind, field.is_nullable());
    }
    field.clone()
}

fn of_batch(batch: &RecordBatch, wanted: &[&str]) -> Result<EventColumns, String> {
    let rows = batch.num_rows();
    let labels = |name: &str| {
        if wanted.contains(&name) { labels(column(batch, name)?, name) } else { Ok(Labels::gaps(rows)) }
    };
    let items = if wanted.contains(&"items") {
        lists(text(batch, "items")?)?
    } else {
        Lists { ends: vec![0; rows], ..Lists::default() }
    };
    let currency = labels("currency")?;
    Ok(EventColumns {
        event_id: ids(text(batch, "event_id")?)?,
        time: times(batch)?,
        kind: parsed(&labels("kind")?)?.into_iter().collect::<Option<_>>().ok_or("kind is empty")?,
        state: parsed(&labels("state")?)?,
        user_id: labels("user_id")?,
        session_id: labels("session_id")?,
        item_id: labels("item_id")?,
        order_id: labels("order_id")?,
        quantity: quantities(batch)?,
        price: prices(batch, &currency)?,
        currency,
        query: labels("query")?,
        items,
        recommendation_id: labels("recommendation_id")?,
        model_version: labels("model_version")?,
    })
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, String> {
    batch.column_by_name(name).ok_or_else(|| format!("there is no column {name}"))
}

fn wrong_kind(name: &str, array: &ArrayRef) -> String {
    format!("column {name} is of kind {}, which no lake has", array.data_type())
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a arrow_array::StringArray, String> {
    let array = column(batch, name)?;
    array.as_string_opt::<i32>().ok_or_else(|| wrong_kind(name, array))
}

fn labels(array: &ArrayRef, name: &str) -> Result<Labels, String> {
    let dictionary = array.as_dictionary_opt::<Int32Type>().ok_or_else(|| wrong_kind(name, array))?;
    let texts = dictionary.values().as_string_opt::<i32>().ok_or_else(|| wrong_kind(name, array))?;
    let keys = dictionary.keys();
    let codes: Vec<u32> = match keys.null_count() {
        0 => keys.values().iter().map(|key| key.cast_unsigned()).collect(),
        _ => keys.iter().map(|key| key.map_or(NO_TEXT, i32::cast_unsigned)).collect(),
    };
    Ok(Labels { codes, texts: Arc::new(texts.iter().map(Option::unwrap_or_default).collect()) })
}

fn ids(array: &arrow_array::StringArray) -> Result<Texts, String> {
    let texts: Texts = array.iter().map(Option::unwrap_or_default).collect();
    let empty = texts.iter().position(str::is_empty);
    empty.map_or(Ok(texts), |row| Err(format!("row {}: event_id is empty", row + 1)))
}

fn times(batch: &RecordBatch) -> Result<Vec<i64>, String> {
    let array = column(batch, "time")?;
    let micros =
        array.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| wrong_kind("time", array))?;
    match micros.null_count() {
        0 => Ok(micros.values().iter().map(|micros| micros.div_euclid(1000)).collect()),
        _ => Err("time is empty".to_owned()),
    }
}

/// What each row's text stands for; each text is parsed once. A column of gaps alone is read with a
/// dictionary of one empty text, which stands for nothing.
fn parsed<T: FromStr<Err: ToString> + Copy>(labels: &Labels) -> Result<Vec<Option<T>>, String> {
    let parse = |text: &str| text.parse().map_err(|fault: T::Err| fault.to_string());
    let known: Vec<Option<T>> = labels
        .texts
        .iter()
        .map(|text| (!text.is_empty()).then(|| parse(text)).transpose())
        .collect::<Result<_, _>>()?;
    Ok(labels.codes.iter().map(|code| known.get(*code as usize).copied().flatten()).collect())
}

fn quantities(batch: &RecordBatch) -> Result<Vec<u32>, String> {
    let array = column(batch, "quantity")?;
    let numbers = array.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong_kind("quantity", array))?;
    let whole = |number: Option<i64>| {
        let number = number.unwrap_or(1);
        u32::try_from(number).map_err(|_| format!("quantity {number} is no quantity"))
    };
    numbers.iter().map(whole).collect()
}

/// A price counts where there is a currency with it.
fn prices(batch: &RecordBatch, currency: &Labels) -> Result<Vec<i64>, String> {
    let array = column(batch, "price")?;
    let units = array.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong_kind("price", array))?;
    let micros = units.iter().zip(&currency.codes).map(|(units, currency)| match units {
        Some(units) if *currency != NO_TEXT => (units * 1e6).round() as i64,
        _ => NO_INT,
    });
    Ok(micros.collect())
}

fn lists(array: &arrow_array::StringArray) -> Result<Lists, String> {
    let (mut ends, mut all) = (Vec::with_capacity(array.len()), Vec::new());
    for list in array {
        if let Some(list) = list {
            let ids: Vec<String> = serde_json::from_str(list).map_err(|fault| format!("items: {fault}"))?;
            all.extend(ids);
        }
        ends.push(all.len());
    }
    let labels: Labels = all.iter().map(String::as_str).collect();
    Ok(Lists { ends, codes: labels.codes, texts: labels.texts })
}
