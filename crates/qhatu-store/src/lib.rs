//! Where things are kept: the event log, the lake, documents, tables.
//!
//! Each role is a trait with one contract suite that every implementation passes, so that a shop that
//! outgrows one machine changes the implementation and nothing else. Only this crate knows a database
//! or Parquet.

mod catalogue;
mod dense_file;
mod documents;
mod error;
mod event_columns;
mod event_table;
mod foreign;
mod lake;
mod log;
mod paths;
mod table_file;

pub use catalogue::Catalogue;
pub use dense_file::{DenseWriter, write_dense_table};
pub use documents::{Document, Documents, MemoryDocuments, open_documents};
pub use error::StoreError;
pub use foreign::tell_only_uncaught_panics;
pub use lake::{Compacted, Lake};
pub use log::{EventLog, MemoryLog, open_event_log};
pub use paths::{Paths, write_atomic};
pub use table_file::{TableReader, TableWriter, read_table, write_table};
