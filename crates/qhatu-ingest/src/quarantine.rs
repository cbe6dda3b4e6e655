//! Rows that were refused: kept with file, line, reason and original text, to be mended and brought in
//! again.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::IngestError;

/// A row as the quarantine keeps it: one JSON object a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The file it came from.
    pub file: String,
    /// The line it began at, from 1 with the header; for Parquet the row from 1.
    pub line: u64,
    /// Why it was refused.
    pub reason: String,
    /// What exactly, with the value.
    pub detail: String,
    /// The row as it stood there; mend it here and import this file again.
    pub text: String,
    /// The first line of the file, for formats that have one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub header: String,
}

/// Where refused rows go: a file per import, made with the first of them.
pub struct Quarantine {
    path: Option<PathBuf>,
    file: Option<BufWriter<File>>,
}

impl Quarantine {
    /// A quarantine in `<dir>/<name>.jsonl`.
    pub fn new(dir: &Path, name: &str) -> Self {
        Self { path: Some(dir.join(format!("{name}.jsonl"))), file: None }
    }

    /// One that keeps nothing, for a check without an import.
    pub fn none() -> Self {
        Self { path: None, file: None }
    }

    /// The file, where anything was refused.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().and(self.path.as_deref())
    }

    /// Keeps a row.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn keep(&mut self, refused: &Refused) -> Result<(), IngestError> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        let io = |source| IngestError::Io { path: path.clone(), source };
        if self.file.is_none() {
            fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(io)?;
            let file = File::options().create(true).append(true).open(&path).map_err(io)?;
            self.file = Some(BufWriter::new(file));
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let line = serde_json::to_string(refused).map_err(|error| io(error.into()))?;
        writeln!(file, "{line}").map_err(io)
    }

    /// Makes what was kept last.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn sync(&mut self) -> Result<(), IngestError> {
        let (Some(file), Some(path)) = (&mut self.file, &self.path) else { return Ok(()) };
        let done = file.flush().and_then(|()| file.get_ref().sync_all());
        done.map_err(|source| IngestError::Io { path: path.clone(), source })
    }
}
