//! What the checks need beside Rust, installed into `.tools/`, pinned, and kept between runs.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::process;

const REQUIREMENTS: &str = "tests/python/requirements.txt";

/// The Python that has the packages of `tests/python/requirements.txt`; made where it is missing or
/// the list has changed.
pub(crate) fn python(root: &Path) -> Result<PathBuf, String> {
    let list = fs::read_to_string(root.join(REQUIREMENTS))
        .map_err(|error| format!("cannot read {REQUIREMENTS}: {error}"))?;
    let mut hasher = DefaultHasher::new();
    list.hash(&mut hasher);
    let stamp = format!("{:016x}", hasher.finish());
    let folder = root.join(".tools/python");
    let python = folder.join("bin/python");
    if fs::read_to_string(folder.join("stamp")).is_ok_and(|kept| kept == stamp) && python.exists() {
        return Ok(python);
    }
    drop(fs::remove_dir_all(&folder));
    eprintln!("== python packages of {REQUIREMENTS} into .tools/python");
    process::run(root, "python3", &["-m", "venv", &folder.to_string_lossy()])?;
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", REQUIREMENTS];
    process::run(root, &python.to_string_lossy(), &pip)?;
    fs::write(folder.join("stamp"), stamp).map_err(|error| format!("cannot write the stamp: {error}"))?;
    Ok(python)
}
