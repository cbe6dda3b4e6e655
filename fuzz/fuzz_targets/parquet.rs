//! Parquet files of anybody: read as a table, and imported with and without a mapping. A panic of the decoder
//! that the store turns into an error is none; every other one ends the run. A file that states many rows, as
//! a small file of runs may rightly do, is left out: what takes long is no fault.

#![no_main]

use libfuzzer_sys::fuzz_target;

/// Rows of the largest file that is read.
const ROWS: u64 = 20_000;

fuzz_target!(init: qhatu_store::tell_only_uncaught_panics(), |bytes: &[u8]| {
    let path = qhatu_fuzz::file("a.parquet", bytes);
    if qhatu_store::TableReader::open(&path).is_ok_and(|reader| reader.rows() > ROWS) {
        return;
    }
    if let Ok(table) = qhatu_store::read_table(&path) {
        assert!(table.columns().iter().all(|(_, column)| column.rows() == table.rows()));
    }
    qhatu_fuzz::import(&path, None);
    qhatu_fuzz::import(&path, Some(&qhatu_ingest::online_retail()));
});
