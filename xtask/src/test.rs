//! `cargo xtask test`: every check there is, one after the other, counted into one closing line.
//!
//! A step that runs tests adds its own counts; a step that only checks (format, lints, …) counts as
//! one. Tests that cannot run print `skipped: REASON`, and continuous integration (`CI` set)
//! refuses them.

use std::path::Path;

use crate::{fuzz, process, scenario, tidy, tools};

#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Count {
    fn check(&mut self, name: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(message) => {
                eprintln!("FAILED: {name}\n{message}");
                self.failed += 1;
            }
        }
    }
}

/// Runs everything; the error names what failed.
#[expect(clippy::print_stdout, reason = "the closing line is this program's answer")]
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let mut count = Count::default();
    count.check("format", command(root, &["fmt", "--all", "--check"], &[]));
    count.check("tidy", tidy::run(root));
    count.check(
        "lints",
        command(root, &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], &[]),
    );
    count.check(
        "documentation",
        command(root, &["doc", "--workspace", "--no-deps", "--locked"], &[("RUSTDOCFLAGS", "-D warnings")]),
    );
    // Some tests read what these packages bring, so they come first.
    count.check("python packages", tools::python(root).map(drop));
    cargo_tests(root, &mut count)?;
    match scenario::run(root) {
        Ok(checked) => checked.into_iter().for_each(|(name, outcome)| count.check(name, outcome)),
        Err(fault) => count.check("scenario", Err(fault)),
    }
    count.check("format of the fuzz targets", {
        command(root, &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"], &[])
    });
    fuzz::checks(root).into_iter().for_each(|(name, outcome)| count.check(&name, outcome));
    println!("{} passed, {} failed, {} skipped", count.passed, count.failed, count.skipped);
    match (count.failed, count.skipped, std::env::var_os("CI")) {
        (0, 0, _) | (0, _, None) => Ok(()),
        (0, ..) => Err("continuous integration takes no skipped test".to_owned()),
        (failed, ..) => Err(format!("{failed} failed")),
    }
}

fn command(root: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<(), String> {
    eprintln!("== cargo {}", args.join(" "));
    match process::run_shown(root, "cargo", args, env)? {
        (_, true) => Ok(()),
        (_, false) => Err(format!("cargo {} found faults; they stand above", args.join(" "))),
    }
}

fn cargo_tests(root: &Path, count: &mut Count) -> Result<(), String> {
    let args = ["test", "--workspace", "--locked", "--no-fail-fast", "--", "--nocapture", "--test-threads=2"];
    eprintln!("== cargo {}", args.join(" "));
    let (text, succeeded) = process::run_shown(root, "cargo", &args, &[])?;
    let before = count.failed;
    for line in text.lines() {
        if let Some(result) = line.strip_prefix("test result: ") {
            count.passed += number_before(result, " passed");
            count.failed += number_before(result, " failed");
            count.skipped += number_before(result, " ignored");
        }
    }
    let said_skipped = text.lines().filter(|line| line.contains("skipped: ")).count();
    count.skipped += said_skipped;
    count.passed = count.passed.saturating_sub(said_skipped);
    if !succeeded && count.failed == before {
        count.failed += 1;
    }
    Ok(())
}

/// The number that stands before `word` in cargo's closing line; 0 where there is none.
fn number_before(text: &str, word: &str) -> usize {
    let end = text.find(word).unwrap_or(0);
    let start = text[..end].rfind(|c: char| !c.is_ascii_digit()).map_or(0, |place| place + 1);
    text[start..end].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::number_before;

    #[test]
    fn counts_are_read_from_the_closing_line() {
        let line = "ok. 13 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.05s";
        assert_eq!(number_before(line, " passed"), 13);
        assert_eq!(number_before(line, " failed"), 2);
        assert_eq!(number_before(line, " nothing"), 0);
    }
}
