//! The files of a version: written whole or not at all, opened only when they are what was written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::RegistryError;
use crate::version::ModelVersion;

const FORMAT: &str = "qhatu-artifact";
const FORMAT_VERSION: u32 = 1;
const MANIFEST: &str = "manifest.json";
/// A manifest larger than this is not one of ours.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// A file to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactFile {
    /// Its name within the version: `"model.safetensors"`.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What stands beside the files of a version and says what they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always `"qhatu-artifact"`.
    pub format: String,
    /// The version of this layout; a later one is refused.
    pub format_version: u32,
    /// The version they belong to, with everything known of it.
    pub version: ModelVersion,
    /// The files.
    pub files: Vec<ManifestFile>,
}

/// One file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

/// The files of a version, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenArtifact {
    /// What they are.
    pub manifest: Manifest,
    /// Their content by name.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Writes a version's files to `folder`, each fsynced, the manifest last.
pub(crate) fn write(
    folder: &Path,
    version: &ModelVersion,
    files: &[ArtifactFile],
) -> Result<(), RegistryError> {
    fs::create_dir_all(folder).map_err(RegistryError::io("create", folder))?;
    let mut listed = Vec::new();
    for file in files {
        check_name(&file.name)?;
        write_synced(&folder.join(&file.name), &file.bytes)?;
        listed.push(ManifestFile {
            name: file.name.clone(),
            bytes: file.bytes.len() as u64,
            sha256: hex(&Sha256::digest(&file.bytes)),
        });
    }
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        format_version: FORMAT_VERSION,
        version: version.clone(),
        files: listed,
    };
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| RegistryError::Damaged { path: folder.join(MANIFEST), fault: error.to_string() })?;
    write_synced(&folder.join(MANIFEST), &text)?;
    sync_folder(folder)
}

/// Opens the files in `folder`; refuses what is damaged, foreign or of another version.
pub(crate) fn open(folder: &Path, expected: &ModelVersion) -> Result<OpenArtifact, RegistryError> {
    let manifest = read_manifest(&folder.join(MANIFEST))?;
    if manifest.version.model != expected.model || manifest.version.version != expected.version {
        return Err(RegistryError::Foreign {
            path: folder.join(MANIFEST),
            fault: format!(
                "it belongs to {} version {}, expected {} version {}",
                manifest.version.model, manifest.version.version, expected.model, expected.version
            ),
        });
    }
    let mut files = BTreeMap::new();
    for file in &manifest.files {
        check_name(&file.name)?;
        files.insert(file.name.clone(), read_checked(&folder.join(&file.name), file)?);
    }
    Ok(OpenArtifact { manifest, files })
}

fn read_manifest(path: &Path) -> Result<Manifest, RegistryError> {
    let damaged = |fault: String| RegistryError::Damaged { path: path.to_owned(), fault };
    let size = fs::metadata(path).map_err(RegistryError::io("read", path))?.len();
    if size > MANIFEST_BYTES_MAX {
        return Err(damaged(format!("{size} bytes is no manifest")));
    }
    let bytes = fs::read(path).map_err(RegistryError::io("read", path))?;
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    let (format, number) = (value["format"].as_str(), value["format_version"].as_u64());
    if format != Some(FORMAT) || number != Some(u64::from(FORMAT_VERSION)) {
        return Err(RegistryError::Foreign {
            path: path.to_owned(),
            fault: format!(
                "format {} version {}, expected {FORMAT} version {FORMAT_VERSION}",
                value["format"], value["format_version"]
            ),
        });
    }
    serde_json::from_value(value).map_err(|error| damaged(error.to_string()))
}

fn read_checked(path: &Path, expected: &ManifestFile) -> Result<Vec<u8>, RegistryError> {
    let damaged = |fault: String| RegistryError::Damaged { path: path.to_owned(), fault };
    let size = fs::metadata(path).map_err(RegistryError::io("read", path))?.len();
    if size != expected.bytes {
        return Err(damaged(format!("{size} bytes, registered were {}", expected.bytes)));
    }
    let bytes = fs::read(path).map_err(RegistryError::io("read", path))?;
    let found = hex(&Sha256::digest(&bytes));
    if found != expected.sha256 {
        return Err(damaged(format!("its SHA-256 is {found}, registered was {}", expected.sha256)));
    }
    Ok(bytes)
}

/// Refuses what could leave the folder or surprise a file system.
pub(crate) fn check_name(name: &str) -> Result<(), RegistryError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fine = !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.chars().all(plain);
    if fine { Ok(()) } else { Err(RegistryError::Name { name: name.to_owned() }) }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
    let mut file = File::create(path).map_err(RegistryError::io("create", path))?;
    file.write_all(bytes).map_err(RegistryError::io("write", path))?;
    file.sync_all().map_err(RegistryError::io("sync", path))
}

/// Makes renames and new names in `folder` last.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), RegistryError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(RegistryError::io("sync", folder))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
