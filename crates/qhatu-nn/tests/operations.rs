//! The set of operations is closed: what docs/adr/0002-operations.md lists is what there is.
#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The functions by which values and gradients pass, by module; what makes or describes an operation is none.
fn in_the_code(root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let passes = ["forward", "backward", "loss", "apply", "add", "uniform"];
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root.join("src/operation")).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_string_lossy().into_owned();
        if module == "mod" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("pub fn "));
        let names = names.filter_map(|rest| rest.split(['(', '<']).next());
        let passing = names.filter(|name| passes.iter().any(|own| name.starts_with(own)));
        found.insert(module, passing.map(str::to_owned).collect());
    }
    found
}

/// The functions that a row of the page's table names.
fn on_the_page(root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let page = fs::read_to_string(root.join("../../docs/adr/0002-operations.md")).unwrap();
    let row = |line: &str| -> Option<(String, BTreeSet<String>)> {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let module = cells.next()?.trim_end_matches('`').to_owned();
        let named = cells.next()?.split('`').skip(1).step_by(2);
        Some((module, named.map(str::to_owned).collect()))
    };
    page.lines().filter_map(row).collect()
}

#[test]
fn the_page_lists_every_operation_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = in_the_code(root);
    assert_eq!(code.len(), 11);
    assert_eq!(on_the_page(root), code);
}

#[test]
fn loops_are_reached_through_the_crate_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("src/lib.rs")).unwrap();
    let private = text.lines().any(|line| line == "mod kernel;");
    assert!(private, "the kernels are private: whoever computes goes through an operation");
}
