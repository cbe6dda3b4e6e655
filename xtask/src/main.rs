//! The project's chores, run as `cargo xtask NAME`. `test` is the README's second command and all
//! that continuous integration calls.

mod bench;
mod fuzz;
mod process;
mod scenario;
mod test;
mod tidy;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test    format, lints, tidy, documentation and every test; ends with 'N passed, N failed, N skipped'
  tidy    arrows between crates, heads of files, budgets of packages
  fuzz [TARGET] [--seconds N]   the decoders on inputs that grow towards new code; a minute each in `test`
  bench NAME   one benchmark, or `all`; writes benches/results and docs/reference/benchmarks.md
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["test"] => test::run(&root()),
        ["tidy"] => tidy::run(&root()),
        ["fuzz", words @ ..] => fuzz::run(&root(), words),
        ["bench", name] => bench::run(&root(), name),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{}", message.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// The checkout this program was built from.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the workspace's root").to_owned()
}
