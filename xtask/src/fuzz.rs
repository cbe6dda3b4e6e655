//! `cargo xtask fuzz [TARGET] [--seconds N]`: every decoder fed by libFuzzer, which grows inputs that reach
//! new code. The targets are the files of `fuzz/fuzz_targets`, their seeds lie in `fuzz/corpus/TARGET`,
//! words of the formats in `fuzz/dictionary/TARGET.dict`.
//!
//! Stable Rust suffices: LLVM's coverage pass is asked for by flags that rustc hands through (what
//! cargo-fuzz does on nightly, without the address sanitizer: our decoders hold no `unsafe`). Debug
//! assertions and overflow checks are on. `fuzz/` is a workspace of its own and is built in `target/fuzz`,
//! so that a usual build knows nothing of it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::process;

/// Seconds for each target, and always in continuous integration.
const SECONDS: u64 = 60;
/// Where the test command's random numbers begin, so that what it finds it finds again; by hand each run begins elsewhere.
const TEST_SEED: u32 = 20_261_125;
/// Targets that run side by side.
const AT_ONCE: usize = 2;
/// Bytes of the longest input, where no seed is longer.
const LONGEST: u64 = 1 << 16;
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// A target's name, and how it ended.
pub(crate) type Checked = (String, Result<(), String>);

/// The command: one target or all, for so many seconds each, or one input once.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), String> {
    let mut seconds = seconds();
    let mut chosen = None;
    let mut input = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--seconds" => {
                let number = words.next().and_then(|number| number.parse().ok());
                seconds = number.ok_or("--seconds takes a whole number")?;
            }
            "--input" => input = Some(*words.next().ok_or("--input takes the path of a file")?),
            name => chosen = Some(name),
        }
    }
    let known = targets(root)?;
    if let Some(name) = chosen.filter(|name| !known.iter().any(|known| known == name)) {
        return Err(format!("there is no fuzz target {name:?}; there are {}", known.join(", ")));
    }
    if let Some(input) = input {
        let name =
            chosen.ok_or("--input needs the target that it is for: cargo xtask fuzz TARGET --input FILE")?;
        return again(root, name, input);
    }
    let names = chosen.map_or(known, |name| vec![name.to_owned()]);
    let faults: Vec<String> = fuzz(root, names, seconds, None)?
        .into_iter()
        .filter_map(|(name, outcome)| outcome.err().map(|fault| format!("FAILED: {name}\n{fault}")))
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

/// Every target, for the test command. Where the targets cannot be built, that is the one check.
pub(crate) fn checks(root: &Path) -> Vec<Checked> {
    let outcome = targets(root).and_then(|names| fuzz(root, names, seconds(), Some(TEST_SEED)));
    outcome.unwrap_or_else(|fault| vec![("fuzz targets".to_owned(), Err(fault))])
}

/// A minute; locally `QHATU_FUZZ_SECONDS` says otherwise.
fn seconds() -> u64 {
    let stated = std::env::var("QHATU_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    match std::env::var_os("CI") {
        Some(_) => SECONDS,
        None => stated.unwrap_or(SECONDS),
    }
}

fn targets(root: &Path) -> Result<Vec<String>, String> {
    let folder = root.join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let stem = |path: PathBuf| path.file_stem().map(|name| name.to_string_lossy().into_owned());
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| stem(entry.path())).collect();
    names.sort();
    Ok(names)
}

/// Builds and runs targets, [`AT_ONCE`] at a time, from a seed or from one of libFuzzer's own.
fn fuzz(root: &Path, names: Vec<String>, seconds: u64, seed: Option<u32>) -> Result<Vec<Checked>, String> {
    let only = if names.len() == 1 { names.first().map(String::as_str) } else { None };
    build(root, only)?;
    eprintln!("== {} fuzz targets, {seconds} s each", names.len());
    let waiting = Mutex::new(VecDeque::from(names));
    let done = Mutex::new(Vec::new());
    let held = |fault: PoisonError<_>| fault.into_inner();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(name) = next else { return };
                    let outcome = one(root, &name, seconds, seed);
                    done.lock().unwrap_or_else(held).push((format!("fuzz {name}"), outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(done)
}

fn build(root: &Path, only: Option<&str>) -> Result<(), String> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    process::read(root, &compiler, &["--version"]).map_err(|fault| {
        format!(
            "libFuzzer is built from its C++ source, and there is no C++ compiler: install g++ or clang++, or \
             name one by CXX ({fault})"
        )
    })?;
    let host = host(root)?;
    let target = target(root).to_string_lossy().into_owned();
    // With a target named, the flags are for the targets alone and not for build scripts.
    let mut args = vec!["build", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml"];
    args.extend(["--target", &host, "--target-dir", &target]);
    if let Some(name) = only {
        args.extend(["--bin", name]);
    }
    eprintln!("== cargo {}", args.join(" "));
    match process::run_shown(root, "cargo", &args, &[("RUSTFLAGS", RUSTFLAGS)])? {
        (_, true) => Ok(()),
        (_, false) => {
            Err("the fuzz targets do not build; what is wrong stands above. Where it is the lock file: \
                           cargo update --workspace --manifest-path fuzz/Cargo.toml"
                .to_owned())
        }
    }
}

/// Runs one target on its seeds and what earlier runs grew from them.
fn one(root: &Path, name: &str, seconds: u64, seed: Option<u32>) -> Result<(), String> {
    let grown = target(root).join("corpus").join(name);
    let found = target(root).join("found").join(name);
    let scratch = Scratch::new(name)?;
    for folder in [&grown, &found] {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let log = target(root).join(format!("{name}.log"));
    let output = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let mut command = Command::new(program(root, name)?);
    command.current_dir(root).env("QHATU_FUZZ_FOLDER", &scratch.0);
    command.args([&grown, &root.join("fuzz/corpus").join(name)]);
    command.arg(format!("-artifact_prefix={}/", found.display()));
    command.arg(format!("-max_total_time={seconds}"));
    command.args(["-rss_limit_mb=2048", "-timeout=20", "-print_final_stats=1"]);
    command.arg(format!("-max_len={}", longest_seed(root, name).max(LONGEST)));
    command.args(seed.map(|seed| format!("-seed={seed}")));
    let words = root.join("fuzz/dictionary").join(format!("{name}.dict"));
    if words.exists() {
        command.arg(format!("-dict={}", words.display()));
    }
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .status()
        .map_err(|error| format!("cannot start the target: {error}"))?;
    let text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    if status.success() {
        eprintln!("fuzz {name}: {}", summary(&text));
        return Ok(());
    }
    Err(crash(name, &text, &log))
}

/// Bytes of the longest seed, which libFuzzer would cut otherwise.
fn longest_seed(root: &Path, name: &str) -> u64 {
    let seeds = fs::read_dir(root.join("fuzz/corpus").join(name)).into_iter().flatten().flatten();
    seeds.filter_map(|seed| Some(seed.metadata().ok()?.len())).max().unwrap_or(0)
}

/// How much was tried, from what libFuzzer says at the end.
fn summary(text: &str) -> String {
    let runs = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let last = text.lines().rev().find(|line| line.contains(" cov: ")).unwrap_or_default();
    let reached = last.split(" cov: ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("?");
    format!("{} inputs, {reached} places of the code reached", runs.unwrap_or("?").trim())
}

fn crash(name: &str, text: &str, log: &Path) -> String {
    let written = text.lines().find_map(|line| line.split("Test unit written to ").nth(1));
    let lines: Vec<&str> = text.lines().collect();
    let said = lines
        .iter()
        .position(|line| line.contains("panicked at") || line.contains("ERROR: libFuzzer"))
        .map_or(&lines[lines.len().saturating_sub(20)..], |place| &lines[place..lines.len().min(place + 6)]);
    let input = written.unwrap_or("(no input was written)");
    format!(
        "{}\nthe input is {input}\nagain: cargo xtask fuzz {name} --input {input}\neverything it said: {}",
        said.join("\n"),
        log.display()
    )
}

/// One input once, with everything shown.
fn again(root: &Path, name: &str, input: &str) -> Result<(), String> {
    build(root, Some(name))?;
    let scratch = Scratch::new(name)?;
    let folder = scratch.0.to_string_lossy().into_owned();
    let program = program(root, name)?.to_string_lossy().into_owned();
    match process::run_shown(root, &program, &[input], &[("QHATU_FUZZ_FOLDER", &folder)])? {
        (_, true) => Ok(()),
        (_, false) => Err(format!("{name} fails on {input}")),
    }
}

/// A folder for the files that a target imports, in memory where the system has such a place; gone with
/// this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self, String> {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = base.join(format!("qhatu-fuzz-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("fuzz")
}

fn program(root: &Path, name: &str) -> Result<PathBuf, String> {
    Ok(target(root).join(host(root)?).join("release").join(name))
}

fn host(root: &Path) -> Result<String, String> {
    let told = process::read(root, "rustc", &["-vV"])?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc -vV does not name its host".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let text = "#2\tINITED cov: 3 ft: 4\n#90\tDONE   cov: 1234 ft: 9 corp: 3/5b\nstat::number_of_executed_units: 90\n";
        assert_eq!(summary(text), "90 inputs, 1234 places of the code reached");
    }

    #[test]
    fn a_crash_names_its_input_and_how_to_see_it_again() {
        let text = "#1\nthread '<unnamed>' panicked at src/a.rs:3:5:\nboom\nartifact_prefix='x'; Test unit written to /t/crash-1\n";
        let said = crash("csv", text, Path::new("/t/csv.log"));
        assert!(said.contains("boom") && said.contains("cargo xtask fuzz csv --input /t/crash-1"), "{said}");
    }
}
