//! Where a project keeps what, and how a file is written so that it is whole or not there.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::StoreError;

/// The places of a project.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// The places within `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder of everything.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The event log.
    pub fn log_dir(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The lake.
    pub fn lake_dir(&self) -> PathBuf {
        self.root.join("lake")
    }

    /// Files of model versions.
    pub fn artifacts_dir(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// Documents.
    pub fn metadata_dir(&self) -> PathBuf {
        self.root.join("metadata")
    }

    /// Rows that were refused.
    pub fn quarantine_dir(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// Reports.
    pub fn reports_dir(&self) -> PathBuf {
        self.root.join("reports")
    }

    /// Feature tables.
    pub fn features_dir(&self) -> PathBuf {
        self.root.join("features")
    }

    /// What the server goes on from after a restart.
    pub fn state_dir(&self) -> PathBuf {
        self.root.join("state")
    }

    /// What an interrupted training goes on from.
    pub fn work_dir(&self) -> PathBuf {
        self.root.join("work")
    }
}

/// Writes a file so that after a crash it holds the old content or the new, never a part.
///
/// # Errors
/// [`StoreError::Io`] with the path.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let folder = folder_of(path);
    fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let staging = folder.join(format!(".{name}.new"));
    let mut file = File::create(&staging).map_err(StoreError::io("create", &staging))?;
    file.write_all(bytes).map_err(StoreError::io("write", &staging))?;
    file.sync_all().map_err(StoreError::io("sync", &staging))?;
    fs::rename(&staging, path).map_err(StoreError::io("rename", &staging))?;
    sync_dir(folder)
}

/// The folder that a file is in: the present one for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in a folder last.
pub(crate) fn sync_dir(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(StoreError::io("sync", folder))
}
