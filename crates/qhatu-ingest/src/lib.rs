//! How do events come in? Files of any shop become events, products and shoppers; what cannot be
//! understood is kept with its reason.
//!
//! A file is read in parts by all cores, each row explained by a [`Mapping`], checked, and handed to
//! a [`Sink`]. A row that is refused goes to the [`Quarantine`] with file, line, reason and original
//! text; the rest goes on. An event without an id gets one from its content, so that the same file
//! twice adds nothing.

mod csv;
mod decode;
mod described;
mod error;
mod import;
mod mapping;
mod parallel;
mod quarantine;
mod reading;
mod report;
mod row;
mod sink;
mod source;
mod table;

pub use decode::{DecodeError, decode_json_event};
pub use error::IngestError;
pub use import::{Importer, Progress};
pub use mapping::{Columns, Format, Mapping, MissingUser, Rules, online_retail};
pub use quarantine::{Quarantine, Refused};
pub use report::ImportReport;
pub use sink::{CheckSink, Sink, StoreSink};
pub use table::read_table_file;
