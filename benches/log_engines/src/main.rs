//! Embedded engines for the event log, each doing what the log promises: group commit, synced before
//! the answer, an id counts once, read by offset. `cargo xtask bench engines` runs them in turns and
//! keeps the figures; docs/adr/0001-event-log-engine.md says what was made of them.
//!
//! ```text
//! log_engines throughput ENGINE DIR BATCH WRITERS SECONDS   durable events per second
//! log_engines fill ENGINE DIR EVENTS                        writes until it is killed; says when EVENTS are in
//! log_engines recover ENGINE DIR EVENTS                     after the kill: opens, checks, looks ids up
//! ```

mod corpus;
mod engine;
mod group;
mod measure;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), String> {
    let number =
        |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?} is not a number: {error}"));
    match words {
        ["throughput", engine, dir, batch, writers, seconds] => measure::throughput(
            engine::open(engine, Path::new(dir))?,
            number(batch)?,
            number(writers)?,
            number(seconds)?,
        ),
        ["fill", engine, dir, events] => {
            measure::fill(engine::open(engine, Path::new(dir))?, number(events)?)
        }
        ["recover", engine, dir, events] => measure::recover(engine, Path::new(dir), number(events)?),
        _ => {
            Err("usage: log_engines throughput|fill|recover ENGINE DIR …; see the head of main.rs".to_owned())
        }
    }
}
