//! Reading files that others made: never more than a bound says.

use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::TextError;

/// Settings files are smaller than this.
const MOST_JSON_BYTES: u64 = 64 << 20;

/// A file's bytes, if it holds at most `most`.
pub(crate) fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, TextError> {
    let file = std::fs::File::open(path).map_err(TextError::io("open", path))?;
    let bytes = file.metadata().map_err(TextError::io("read", path))?.len();
    if bytes > most {
        return Err(TextError::TooLarge { path: path.to_owned(), bytes, most });
    }
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    file.take(most).read_to_end(&mut content).map_err(TextError::io("read", path))?;
    Ok(content)
}

/// A JSON file's content.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, TextError> {
    let bytes = read_bounded(path, MOST_JSON_BYTES)?;
    serde_json::from_slice(&bytes).map_err(|fault| TextError::file(path.display().to_string(), fault))
}

/// A JSON file's content, or nothing where there is no such file.
pub(crate) fn read_json_if_there<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, TextError> {
    if path.exists() { read_json(path).map(Some) } else { Ok(None) }
}

/// Writes a file whole: beside its place first, then moved there.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), TextError> {
    let beside = path.with_extension("part");
    std::fs::write(&beside, bytes).map_err(TextError::io("write", &beside))?;
    std::fs::rename(&beside, path).map_err(TextError::io("write", path))
}
