//! The program from outside: the demo from an empty folder, its lake and features read by others, its
//! server asked by strangers. Each check is one in the test command's count.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::bench::{Server, binary, copy_catalogue, target};
use crate::{process, tools};

/// The demo's last purchase, plus a millisecond: what its feature tables are as of.
const AS_OF: &str = "2011-12-09 12:50:00.001+00";

/// The guides whose commands are run one after the other, each in a folder of its own; the API's are run on the demo.
const GUIDES: [(&str, &str); 5] = [
    ("the import guide's commands", "import"),
    ("the evaluation guide's commands", "evaluation"),
    ("the sequence guide's commands", "sequence"),
    ("the text guide's commands", "text"),
    ("the propensity guide's commands", "propensity"),
];

/// What was checked, and how it ended.
pub(crate) type Checked = (&'static str, Result<(), String>);

/// Runs the scenario; without the built program or Python nothing of it can run.
pub(crate) fn run(root: &Path) -> Result<Vec<Checked>, String> {
    process::run(root, "cargo", &["build", "--release", "--locked", "-p", "qhatu"])?;
    let python = tools::python(root)?.to_string_lossy().into_owned();
    let folder = root.join("target/scenario");
    drop(fs::remove_dir_all(&folder));
    let demo = folder.join("demo").to_string_lossy().into_owned();
    let data = format!("{demo}/data");
    let mut checked = vec![
        ("measures against trec_eval and numpy", measures_agree(root, &python)),
        ("off-policy estimates on logged impressions", {
            let qhatu = binary(root).to_string_lossy().into_owned();
            let scratch = folder.join("off_policy").to_string_lossy().into_owned();
            process::run(root, &python, &["tests/python/off_policy_check.py", &qhatu, &scratch])
        }),
        ("trees read by XGBoost", trees_exported(root, &python)),
        ("text models read by transformers", text_models_exported(root, &python)),
        ("demo from an empty folder", demo_prints_lists(root, &demo)),
        ("demo again goes on where it was", demo_again_is_quick(root, &demo)),
        ("lake and features read by DuckDB and pandas", {
            features_with_rows(root, &demo, AS_OF)
                .and_then(|()| process::run(root, &python, &["tests/python/lake_check.py", &data, AS_OF]))
        }),
        ("features of a log with visits, read by DuckDB", visits_checked(root, &python, &demo)),
    ];
    let programs =
        binary(root).parent().map_or_else(String::new, |folder| folder.to_string_lossy().into_owned());
    for (name, guide) in GUIDES {
        let path = format!("docs/guides/{guide}.md");
        checked.push((name, process::run(root, &python, &["tests/python/guide_check.py", &path, &programs])));
    }
    checked.push(("a propensity model beside the demo's lists", {
        let table = "data/online_shoppers/online_shoppers.parquet";
        let words = ["propensity", "fit", table, "--target", "Revenue", "--dir", &demo];
        process::read(root, &binary(root).to_string_lossy(), &words).map(drop)
    }));
    match Server::start(root, Path::new(&demo)) {
        Err(fault) => checked.push(("server over the demo", Err(fault))),
        Ok(server) => {
            let base = format!("http://{}", server.address);
            checked.push(("API against its description", {
                process::run(root, &python, &["tests/python/openapi_check.py", &base])
            }));
            checked.push(("the API guide's commands", {
                process::run(root, &python, &["tests/python/guide_check.py", "docs/guides/api.md", &base])
            }));
            checked.push(("what the guide promises of lists", {
                process::run(root, &python, &["tests/python/server_check.py", &base])
            }));
            checked.push(("server drains on SIGTERM", server.stop()));
        }
    }
    Ok(checked)
}

/// Our measures on shared cases, recomputed by trec_eval and by numpy.
fn measures_agree(root: &Path, python: &str) -> Result<(), String> {
    process::run(root, "cargo", &["build", "--workspace", "--locked", "--example", "shared_cases"])?;
    let example = target(root).join("debug/examples/shared_cases");
    let cases = process::read(root, &example.to_string_lossy(), &[])?;
    let path = root.join("target/scenario/cases.json");
    let written = fs::create_dir_all(root.join("target/scenario")).and_then(|()| fs::write(&path, cases));
    written.map_err(|error| format!("{}: {error}", path.display()))?;
    process::run(root, python, &["tests/python/metrics_check.py", &path.to_string_lossy()])
}

/// Our trees as XGBoost's JSON: its margins are ours.
fn trees_exported(root: &Path, python: &str) -> Result<(), String> {
    process::run(root, "cargo", &["build", "--workspace", "--locked", "--example", "xgboost_export"])?;
    let example = target(root).join("debug/examples/xgboost_export");
    let trees = process::read(root, &example.to_string_lossy(), &[])?;
    let path = root.join("target/scenario/trees.json");
    let written = fs::create_dir_all(root.join("target/scenario")).and_then(|()| fs::write(&path, trees));
    written.map_err(|error| format!("{}: {error}", path.display()))?;
    process::run(root, python, &["tests/python/xgboost_check.py", &path.to_string_lossy()])
}

/// What `qhatu text` writes, loaded and run by `transformers` in a Python that has PyTorch or JAX.
pub(crate) fn text_models_exported(root: &Path, python: &str) -> Result<(), String> {
    let qhatu = binary(root).to_string_lossy().into_owned();
    let scratch = root.join("target/scenario/text_models").to_string_lossy().into_owned();
    process::run(root, python, &["tests/python/export_check.py", &qhatu, &scratch])
}

fn demo(root: &Path, dir: &str) -> Result<String, String> {
    process::read(root, &binary(root).to_string_lossy(), &["demo", "--no-serve", "--dir", dir])
}

fn demo_prints_lists(root: &Path, dir: &str) -> Result<(), String> {
    let printed = demo(root, dir)?;
    eprintln!("{printed}");
    for words in
        ["accepted        399656", "promoted to champion", "shopper ", "blend − own_frequency", "bought"]
    {
        if !printed.contains(words) {
            return Err(format!("the demo does not print {words:?}"));
        }
    }
    Ok(())
}

/// The feature tables as of a time, and what was known before each event.
fn features_with_rows(root: &Path, dir: &str, as_of: &str) -> Result<(), String> {
    // SQL writes a space before the hour and an offset of hours alone.
    let as_of = format!("{}:00", as_of.replacen(' ', "T", 1));
    let qhatu = binary(root).to_string_lossy().into_owned();
    process::read(root, &qhatu, &["features", "--rows", "--as-of", &as_of, "--dir", dir]).map(drop)
}

/// The demo has purchases only: a log generated around them has views, searches, clicks, carts, lists
/// and visits too, as of a moment in its middle.
fn visits_checked(root: &Path, python: &str, demo: &str) -> Result<(), String> {
    const AS_OF: &str = "2011-06-01 17:00:00.000+00";
    let shop = root.join("target/scenario/visits").to_string_lossy().into_owned();
    let data = format!("{shop}/data");
    let qhatu = binary(root).to_string_lossy().into_owned();
    process::read(root, &qhatu, &["init", &shop])?;
    let base = format!("{demo}/data");
    copy_catalogue(root, &base, &data)?;
    let made = process::read(root, python, &["benches/peers/features_log.py", &base, &data, "300000"])?;
    features_with_rows(root, &shop, AS_OF)?;
    process::run(root, python, &["tests/python/lake_check.py", &data, AS_OF, made.trim()])
}

fn demo_again_is_quick(root: &Path, dir: &str) -> Result<(), String> {
    let start = Instant::now();
    let printed = demo(root, dir)?;
    if printed.contains("promoted") {
        return Err("the demo trained again what was trained".to_owned());
    }
    match start.elapsed() {
        took if took < Duration::from_secs(15) => Ok(()),
        took => Err(format!("it took {} s", took.as_secs())),
    }
}
