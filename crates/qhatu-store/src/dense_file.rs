//! Millions of rows as Parquet: columns are encoded beside each other on two threads, in the order in
//! which the rows come. In memory is one group of rows, encoded.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::builder::{Float64Builder, Int32Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, DictionaryArray, StringArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use qhatu_schema::{DenseColumn, DenseTable, Labels, NO_INT, NO_TEXT};

use crate::error::StoreError;
use crate::paths::{folder_of, sync_dir};

/// Rows of a group.
const GROUP_ROWS: usize = 1_000_000;
/// Threads that encode.
const THREADS: usize = 2;

/// Writes a dense table as one Parquet file, whole or not at all.
///
/// # Errors
/// [`StoreError`] with the path.
pub fn write_dense_table(path: &Path, table: &DenseTable) -> Result<(), StoreError> {
    let mut writer = DenseWriter::create(path)?;
    writer.write(table)?;
    writer.finish()
}

/// Writes a Parquet file batch by batch; it appears under its name with [`DenseWriter::finish`].
pub struct DenseWriter {
    path: PathBuf,
    staging: PathBuf,
    open: Option<Open>,
}

struct Open {
    schema: Arc<Schema>,
    file: SerializedFileWriter<File>,
    factory: ArrowRowGroupWriterFactory,
    columns: Vec<ArrowColumnWriter>,
    rows: usize,
    groups: usize,
}

impl DenseWriter {
    /// Begins a file.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let folder = folder_of(path);
        std::fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self { path: path.to_owned(), staging: folder.join(format!(".{name}.new")), open: None })
    }

    /// Adds rows; every batch has the columns of the first.
    ///
    /// # Errors
    /// Where the columns differ or the disk refuses.
    pub fn write(&mut self, table: &DenseTable) -> Result<(), StoreError> {
        let fault = |fault: ParquetError| StoreError::Damaged {
            path: self.staging.clone(),
            fault: fault.to_string(),
        };
        let schema = schema_of(table);
        let open = match &mut self.open {
            Some(open) if open.schema != schema => {
                let fault = "a batch has other columns than the first".to_owned();
                return Err(StoreError::Damaged { path: self.path.clone(), fault });
            }
            Some(open) => open,
            None => {
                let file = File::create(&self.staging).map_err(StoreError::io("create", &self.staging))?;
                self.open.insert(Open::new(file, schema).map_err(fault)?)
            }
        };
        open.write(table).map_err(fault)
    }

    /// Syncs the file and gives it its name.
    ///
    /// # Errors
    /// Where nothing was written or the disk refuses.
    pub fn finish(mut self) -> Result<(), StoreError> {
        let damaged = |fault: String| StoreError::Damaged { path: self.staging.clone(), fault };
        let Some(mut open) = self.open.take() else { return Err(damaged("no batch was written".to_owned())) };
        open.close_group().map_err(|fault| damaged(fault.to_string()))?;
        let file = open.file.into_inner().map_err(|fault| damaged(fault.to_string()))?;
        file.sync_all().map_err(StoreError::io("sync", &self.staging))?;
        std::fs::rename(&self.staging, &self.path).map_err(StoreError::io("rename", &self.staging))?;
        sync_dir(folder_of(&self.path))
    }
}

impl Open {
    fn new(file: File, schema: Arc<Schema>) -> Result<Self, ParquetError> {
        let options = ArrowWriterOptions::new().with_properties(properties(&schema));
        let writer = ArrowWriter::try_new_with_options(file, Arc::clone(&schema), options)?;
        let (file, factory) = writer.into_serialized_writer()?;
        let columns = factory.create_column_writers(0)?;
        Ok(Self { schema, file, factory, columns, rows: 0, groups: 0 })
    }

    fn write(&mut self, table: &DenseTable) -> Result<(), ParquetError> {
        // The columns lie in a pile; whoever is free takes the next. Texts, which take longest, lie on top.
        let mut pile: Vec<(&DenseColumn, &str, &mut ArrowColumnWriter)> = table
            .columns
            .iter()
            .zip(&mut self.columns)
            .map(|((name, column), writer)| (column, name.as_str(), writer))
            .collect();
        pile.sort_by_key(|(column, ..)| match column {
            DenseColumn::Time(_) => 0,
            DenseColumn::Float(_) => 1,
            DenseColumn::Label(_) => 2,
            DenseColumn::Text(_) => 3,
        });
        let pile = Mutex::new(pile);
        let work = || -> Result<(), ParquetError> {
            loop {
                let next = pile.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some((column, name, writer)) = next else { return Ok(()) };
                let array = to_array(column);
                let field = Field::new(name, array.data_type().clone(), true);
                for leaf in compute_leaves(&field, &array)? {
                    writer.write(&leaf)?;
                }
            }
        };
        std::thread::scope(|threads| {
            let others: Vec<_> = (1..THREADS).map(|_| threads.spawn(work)).collect();
            let own = work();
            let all = others.into_iter().map(|other| {
                other.join().unwrap_or_else(|_| Err(ParquetError::General("a thread ended early".to_owned())))
            });
            all.fold(own, |done, other| done.and(other))
        })?;
        self.rows += table.rows();
        if self.rows >= GROUP_ROWS { self.close_group() } else { Ok(()) }
    }

    fn close_group(&mut self) -> Result<(), ParquetError> {
        if self.rows == 0 && self.groups > 0 {
            return Ok(());
        }
        self.groups += 1;
        let next = self.factory.create_column_writers(self.groups)?;
        let columns = std::mem::replace(&mut self.columns, next);
        let chunks: Vec<ArrowColumnChunk> =
            columns.into_iter().map(ArrowColumnWriter::close).collect::<Result<_, _>>()?;
        let mut group = self.file.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

/// Event ids never repeat, so a dictionary of them would only cost.
fn properties(schema: &Schema) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for field in schema.fields().iter().filter(|field| field.name() == "event_id") {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(field.name().as_str()), false);
    }
    properties.build()
}

/// What readers see: texts that repeat are texts like others.
fn schema_of(table: &DenseTable) -> Arc<Schema> {
    let field = |(name, column): &(String, DenseColumn)| {
        let kind = match column {
            DenseColumn::Float(_) => DataType::Float64,
            DenseColumn::Time(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            DenseColumn::Text(_) | DenseColumn::Label(_) => DataType::Utf8,
        };
        Field::new(name, kind, true)
    };
    Arc::new(Schema::new(table.columns.iter().map(field).collect::<Vec<_>>()))
}

fn to_array(column: &DenseColumn) -> ArrayRef {
    match column {
        DenseColumn::Float(values) => {
            let mut builder = Float64Builder::with_capacity(values.len());
            values.iter().for_each(|value| builder.append_option((!value.is_nan()).then_some(*value)));
            Arc::new(builder.finish())
        }
        DenseColumn::Time(values) => {
            let mut builder = TimestampMicrosecondBuilder::with_capacity(values.len()).with_timezone("UTC");
            let micros = |ms: i64| (ms != NO_INT).then(|| ms.saturating_mul(1000));
            values.iter().for_each(|value| builder.append_option(micros(*value)));
            Arc::new(builder.finish())
        }
        DenseColumn::Text(texts) => {
            let mut builder = StringBuilder::new();
            texts.iter().for_each(|text| builder.append_option((!text.is_empty()).then_some(text)));
            Arc::new(builder.finish())
        }
        DenseColumn::Label(labels) => from_labels(labels),
    }
}

fn from_labels(labels: &Labels) -> ArrayRef {
    let texts: StringArray = labels.texts.iter().map(Some).collect();
    let mut keys = Int32Builder::with_capacity(labels.codes.len());
    for code in &labels.codes {
        let key = i32::try_from(*code).ok().filter(|_| *code != NO_TEXT);
        keys.append_option(key);
    }
    Arc::new(DictionaryArray::new(keys.finish(), Arc::new(texts)))
}
