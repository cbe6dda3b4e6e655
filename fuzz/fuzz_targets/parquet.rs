//! Parquet files of anybody: read as a table, and imported with and without a mapping.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = qhatu_fuzz::file("a.parquet", bytes);
    if let Ok(table) = qhatu_store::read_table(&path) {
        assert!(table.columns().iter().all(|(_, column)| column.rows() == table.rows()));
    }
    qhatu_fuzz::import(&path, None);
    qhatu_fuzz::import(&path, Some(&qhatu_ingest::online_retail()));
});
