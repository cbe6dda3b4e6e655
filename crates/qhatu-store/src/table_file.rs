//! Tables as Parquet and back, whole or in batches, so that nobody else needs to know Parquet.
//!
//! Texts are UTF-8, numbers 64 bit, times are UTC in microseconds, days are dates; every column may
//! have gaps. Reading takes these and what other programs write in their place (32-bit numbers,
//! other time units, dictionaries, large texts).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use qhatu_schema::{Column, LimaDay, Table, Timestamp};

use crate::error::StoreError;
use crate::foreign::{decode, stated_rows};
use crate::paths::{folder_of, sync_dir};

/// Rows of a batch when reading.
const BATCH_ROWS: usize = 16_384;

/// Writes a table as one Parquet file, whole or not at all.
///
/// # Errors
/// [`StoreError`] with the path.
pub fn write_table(path: &Path, table: &Table) -> Result<(), StoreError> {
    let mut writer = TableWriter::create(path)?;
    writer.write(table)?;
    writer.finish()
}

/// Reads a whole Parquet file.
///
/// # Errors
/// [`StoreError::Damaged`] where it is not Parquet or holds columns of a kind that a [`Table`] has not.
pub fn read_table(path: &Path) -> Result<Table, StoreError> {
    let mut reader = TableReader::open(path)?;
    let Some(mut whole) = reader.next_batch()? else { return reader.empty() };
    while let Some(batch) = reader.next_batch()? {
        whole.extend(batch).map_err(|source| StoreError::Table { path: path.to_owned(), source })?;
    }
    Ok(whole)
}

/// Writes a Parquet file batch by batch; it appears under its name with [`TableWriter::finish`].
pub struct TableWriter {
    path: PathBuf,
    staging: PathBuf,
    writer: Option<(ArrowWriter<File>, Arc<Schema>)>,
}

impl TableWriter {
    /// Begins a file.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let folder = folder_of(path);
        std::fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self { path: path.to_owned(), staging: folder.join(format!(".{name}.new")), writer: None })
    }

    /// Adds rows; every batch has the columns of the first.
    ///
    /// # Errors
    /// Where the columns differ or the disk refuses.
    pub fn write(&mut self, table: &Table) -> Result<(), StoreError> {
        let batch = to_batch(table).map_err(|fault| damaged(&self.path, fault))?;
        if self.writer.is_none() {
            let file = File::create(&self.staging).map_err(StoreError::io("create", &self.staging))?;
            let schema = batch.schema();
            let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties()))
                .map_err(|fault| damaged(&self.staging, fault))?;
            self.writer = Some((writer, schema));
        }
        let Some((writer, schema)) = &mut self.writer else { return Ok(()) };
        if batch.schema() != *schema {
            return Err(damaged(&self.path, "a batch has other columns than the first"));
        }
        writer.write(&batch).map_err(|fault| damaged(&self.staging, fault))
    }

    /// Syncs the file and gives it its name.
    ///
    /// # Errors
    /// Where nothing was written or the disk refuses.
    pub fn finish(mut self) -> Result<(), StoreError> {
        let Some((writer, _)) = self.writer.take() else {
            return Err(damaged(&self.path, "no batch was written"));
        };
        let file = writer.into_inner().map_err(|fault| damaged(&self.staging, fault))?;
        file.sync_all().map_err(StoreError::io("sync", &self.staging))?;
        std::fs::rename(&self.staging, &self.path).map_err(StoreError::io("rename", &self.staging))?;
        sync_dir(folder_of(&self.path))
    }
}

/// Reads a Parquet file batch by batch.
pub struct TableReader {
    path: PathBuf,
    schema: Arc<Schema>,
    rows: u64,
    read: u64,
    reader: ParquetRecordBatchReader,
}

impl TableReader {
    /// Opens a file.
    ///
    /// # Errors
    /// Where it is not there, is not Parquet, or states rows that cannot be.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(StoreError::io("open", path))?;
        let bytes = file.metadata().map_err(StoreError::io("look at", path))?.len();
        decode(path, || {
            let builder =
                ParquetRecordBatchReaderBuilder::try_new(file).map_err(|fault| damaged(path, fault))?;
            let schema = Arc::clone(builder.schema());
            let rows = stated_rows(path, builder.metadata(), bytes)?;
            let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(|fault| damaged(path, fault))?;
            Ok(Self { path: path.to_owned(), schema, rows, read: 0, reader })
        })
    }

    /// Rows of the file.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Names of the columns.
    pub fn columns(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    /// Names of the columns whose times name no zone: a batch has them as if they were UTC's.
    pub fn local_times(&self) -> Vec<String> {
        let is_local = |field: &&Arc<Field>| matches!(field.data_type(), DataType::Timestamp(_, None));
        self.schema.fields().iter().filter(is_local).map(|field| field.name().clone()).collect()
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// Where the file is damaged or holds more rows than it states.
    pub fn next_batch(&mut self) -> Result<Option<Table>, StoreError> {
        let (path, reader) = (&self.path, &mut self.reader);
        let batch = decode(path, || reader.next().transpose().map_err(|fault| damaged(path, fault)))?;
        let Some(batch) = batch else { return Ok(None) };
        self.read = self.read.saturating_add(batch.num_rows() as u64);
        if self.read > self.rows {
            let fault = format!("it states {} rows and holds {} or more", self.rows, self.read);
            return Err(damaged(path, fault));
        }
        from_batch(path, &batch).map(Some)
    }

    fn empty(&self) -> Result<Table, StoreError> {
        from_batch(&self.path, &RecordBatch::new_empty(Arc::clone(&self.schema)))
    }
}

fn damaged(path: &Path, fault: impl ToString) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), fault: fault.to_string() }
}

fn properties() -> WriterProperties {
    let level = ZstdLevel::try_new(3).unwrap_or_default();
    WriterProperties::builder().set_compression(Compression::ZSTD(level)).build()
}

fn to_batch(table: &Table) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (name, column) in table.columns() {
        let array = to_array(column);
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

fn to_array(column: &Column) -> ArrayRef {
    match column {
        Column::Int(values) => {
            let mut builder = Int64Builder::with_capacity(values.len());
            values.iter().for_each(|value| builder.append_option(*value));
            Arc::new(builder.finish())
        }
        Column::Float(values) => {
            let mut builder = Float64Builder::with_capacity(values.len());
            values.iter().for_each(|value| builder.append_option(*value));
            Arc::new(builder.finish())
        }
        Column::Text(values) => {
            let mut builder = StringBuilder::new();
            values.iter().for_each(|value| builder.append_option(value.as_deref()));
            Arc::new(builder.finish())
        }
        Column::Bool(values) => {
            let mut builder = BooleanBuilder::with_capacity(values.len());
            values.iter().for_each(|value| builder.append_option(*value));
            Arc::new(builder.finish())
        }
        Column::Time(values) => {
            let mut builder = TimestampMicrosecondBuilder::with_capacity(values.len()).with_timezone("UTC");
            let micros = |time: &Timestamp| time.millis().saturating_mul(1000);
            values.iter().for_each(|value| builder.append_option(value.as_ref().map(micros)));
            Arc::new(builder.finish())
        }
        Column::Day(values) => {
            let mut builder = Date32Builder::with_capacity(values.len());
            values.iter().for_each(|value| builder.append_option(value.map(|day| day.0)));
            Arc::new(builder.finish())
        }
    }
}

fn from_batch(path: &Path, batch: &RecordBatch) -> Result<Table, StoreError> {
    let mut table = Table::new();
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let column = from_array(array).ok_or_else(|| {
            damaged(
                path,
                format!("column {} is of kind {}, which is not read", field.name(), field.data_type()),
            )
        })?;
        table
            .push(field.name().clone(), column)
            .map_err(|source| StoreError::Table { path: path.to_owned(), source })?;
    }
    Ok(table)
}

fn from_array(array: &ArrayRef) -> Option<Column> {
    macro_rules! ints {
        ($kind:ty) => {{
            let values = array.as_primitive::<$kind>().iter();
            Column::Int(values.map(|value| value.and_then(|value| i64::try_from(value).ok())).collect())
        }};
    }
    macro_rules! times {
        ($kind:ty, $ms:expr) => {{
            let values = array.as_primitive::<$kind>().iter();
            let to_ms: fn(i64) -> i64 = $ms;
            Column::Time(values.map(|value| value.map(|v| Timestamp::from_millis(to_ms(v)))).collect())
        }};
    }
    let texts = |value: Option<&str>| value.map(str::to_owned);
    Some(match array.data_type() {
        DataType::Int8 => ints!(Int8Type),
        DataType::Int16 => ints!(Int16Type),
        DataType::Int32 => ints!(Int32Type),
        DataType::Int64 => ints!(Int64Type),
        DataType::UInt8 => ints!(UInt8Type),
        DataType::UInt16 => ints!(UInt16Type),
        DataType::UInt32 => ints!(UInt32Type),
        DataType::UInt64 => ints!(UInt64Type),
        DataType::Float32 => {
            Column::Float(array.as_primitive::<Float32Type>().iter().map(|v| v.map(f64::from)).collect())
        }
        DataType::Float64 => Column::Float(array.as_primitive::<Float64Type>().iter().collect()),
        DataType::Decimal128(_, scale) => {
            let unit = 10f64.powi(i32::from(*scale));
            Column::Float(
                array.as_primitive::<Decimal128Type>().iter().map(|v| v.map(|v| v as f64 / unit)).collect(),
            )
        }
        DataType::Utf8 => Column::Text(array.as_string::<i32>().iter().map(texts).collect()),
        DataType::LargeUtf8 => Column::Text(array.as_string::<i64>().iter().map(texts).collect()),
        DataType::Utf8View => Column::Text(array.as_string_view().iter().map(texts).collect()),
        DataType::Boolean => Column::Bool(array.as_boolean().iter().collect()),
        DataType::Date32 => {
            Column::Day(array.as_primitive::<Date32Type>().iter().map(|v| v.map(LimaDay)).collect())
        }
        DataType::Timestamp(TimeUnit::Second, _) => times!(TimestampSecondType, |v| v.saturating_mul(1000)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => times!(TimestampMillisecondType, |v| v),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            times!(TimestampMicrosecondType, |v| v.div_euclid(1000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            times!(TimestampNanosecondType, |v| v.div_euclid(1_000_000))
        }
        DataType::Null => Column::Text(vec![None; array.len()]),
        _ => return None,
    })
}
