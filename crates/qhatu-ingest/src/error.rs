//! What stops an import; a row that cannot be understood does not.

use std::path::PathBuf;

use qhatu_store::StoreError;

/// A fault that stops the import of a file.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Columns that the mapping names are not there.
    #[error(
        "{} has no column {}; it has {found}{hint}",
        path.display(),
        missing.join(", ")
    )]
    MissingColumns {
        /// The file.
        path: PathBuf,
        /// What is missing.
        missing: Vec<String>,
        /// What there is.
        found: String,
        /// What to do.
        hint: String,
    },
    /// A CSV file without a mapping.
    #[error(
        "{} is CSV, and CSV needs a mapping that says what its columns mean: write one under \
         [ingest.mappings.NAME] in qhatu.toml and name it with --mapping", path.display()
    )]
    NoMapping {
        /// The file.
        path: PathBuf,
    },
    /// A CSV file without a first line.
    #[error("{} is empty or its packing is damaged: there is no first line that names its columns", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
    },
    /// The format cannot be told from the name.
    #[error("{}: the format cannot be told from the name; set format to csv, jsonl or parquet", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A row of a table that is wanted whole.
    #[error("{}, line {line}: {fault}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        fault: String,
    },
    /// The mapping names an encoding that does not exist.
    #[error("encoding {label:?} does not exist; use utf-8, windows-1252, iso-8859-1, utf-16le, …")]
    UnknownEncoding {
        /// What it names.
        label: String,
    },
}
