//! Where code of others reads bytes of others. A decoder may trust a file's header and panic where it
//! lies (found by fuzzing: levels of a Parquet page that end before they should); here that is an
//! error like every other, with the file's name.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::file::metadata::ParquetMetaData;

use crate::error::StoreError;

/// Rows that a Parquet file may state beyond [`ROWS_PER_BYTE`].
const ROWS_AT_LEAST: u64 = 65_536;
/// Rows that a byte of a Parquet file may stand for. A row of a shop names a thing or a time, which takes
/// more than half a bit however well it is packed; runs of nothing could state billions in a page.
const ROWS_PER_BYTE: u64 = 16;

thread_local! {
    /// Whether a panic of this thread will be caught and told as an error.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder; its panic becomes [`StoreError::Damaged`]. What the decoder held is not used again.
pub(crate) fn decode<T>(path: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let outer = CAUGHT.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(outer);
    outcome.unwrap_or_else(|panic| {
        let told = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let told = told.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        let fault = format!("its decoder gave up on what the file says of itself: {told}");
        Err(StoreError::Damaged { path: path.to_owned(), fault })
    })
}

/// The rows that a Parquet file of so many bytes states, where all that it states of them agrees.
///
/// # Errors
/// [`StoreError::Damaged`] where groups of rows do not add up, where columns are not as long as their group,
/// where there are rows and no column, or more rows than the bytes can hold.
pub(crate) fn stated_rows(path: &Path, metadata: &ParquetMetaData, bytes: u64) -> Result<u64, StoreError> {
    let damaged = |fault: String| StoreError::Damaged { path: path.to_owned(), fault };
    let stated = metadata.file_metadata().num_rows();
    let mut found = 0_i64;
    for (place, group) in metadata.row_groups().iter().enumerate() {
        let rows = group.num_rows();
        found = found
            .checked_add(rows)
            .filter(|_| rows >= 0)
            .ok_or_else(|| damaged(format!("group {place} states {rows} rows; is the file whole?")))?;
        let mut flat = group.columns().iter().filter(|column| column.column_descr().max_rep_level() == 0);
        if let Some(column) = flat.find(|column| column.num_values() != rows) {
            let (name, values) = (column.column_path().string(), column.num_values());
            let fault = format!("column {name} has {values} values in group {place} of {rows} rows");
            return Err(damaged(fault));
        }
    }
    let rows = u64::try_from(found).unwrap_or(0);
    if found != stated {
        return Err(damaged(format!("it states {stated} rows, its groups together {found}")));
    }
    if rows > 0 && metadata.file_metadata().schema_descr().num_columns() == 0 {
        return Err(damaged(format!("it states {rows} rows and has no column")));
    }
    if rows > ROWS_AT_LEAST.saturating_add(ROWS_PER_BYTE.saturating_mul(bytes)) {
        return Err(damaged(format!("it states {rows} rows in {bytes} bytes, more than can be meant")));
    }
    Ok(rows)
}

/// Keeps panics that become errors off standard error; every other one is told as before. For a program's
/// start: a panic hook is the whole process's.
pub fn tell_only_uncaught_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !CAUGHT.get() {
            usual(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::file::metadata::{
        FileMetaData, ParquetMetaDataBuilder, ParquetMetaDataWriter, RowGroupMetaData,
    };
    use parquet::schema::types::{SchemaDescriptor, Type};

    use super::*;
    use crate::table_file::read_table;

    /// A file of no column that states so many rows.
    fn without_columns(rows: i64) -> Vec<u8> {
        let schema = Type::group_type_builder("schema").build().unwrap();
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(schema)));
        let metadata = FileMetaData::new(1, rows, None, None, Arc::clone(&schema), None);
        let group = RowGroupMetaData::builder(schema).set_num_rows(rows).build().unwrap();
        let metadata = ParquetMetaDataBuilder::new(metadata).add_row_group(group).build();
        let mut bytes = b"PAR1".to_vec();
        ParquetMetaDataWriter::new(&mut bytes, &metadata).finish().unwrap();
        bytes
    }

    #[test]
    fn a_file_that_states_rows_it_cannot_hold_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("claims.parquet");
        let cases = [(without_columns(i64::MAX), "no column"), (without_columns(-3), "-3 rows")];
        for (bytes, word) in cases {
            std::fs::write(&path, bytes).unwrap();
            let said = read_table(&path).expect_err("it lies").to_string();
            assert!(said.contains("claims.parquet") && said.contains(word), "{said}");
        }
    }

    #[test]
    fn a_decoders_panic_is_an_error_with_the_files_name_and_the_next_file_is_read() {
        let path = Path::new("a.parquet");
        let fault = decode(path, || -> Result<(), StoreError> { panic!("level {} is beyond", 7) });
        let said = fault.expect_err("it panicked").to_string();
        assert!(said.contains("a.parquet") && said.contains("level 7 is beyond"), "{said}");
        assert_eq!(decode(path, || Ok(3)).expect("sound"), 3);
        assert!(!CAUGHT.get());
    }
}
