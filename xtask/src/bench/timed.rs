//! A command as a whole process: its seconds and its peak memory, on two processors.

use std::path::Path;

use crate::process;

/// Seconds and peak MiB of one run.
pub(super) type Measured = (f64, f64);

/// Runs `command`; what it prints goes to the file `output`, or nowhere for `-`.
pub(super) fn timed(root: &Path, python: &str, output: &str, command: &[&str]) -> Result<Measured, String> {
    let mut args = vec!["benches/peers/timed.py", output];
    args.extend(command);
    let printed = process::read(root, python, &args)?;
    let numbers: Vec<f64> = printed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [seconds, memory] => Ok((seconds, memory)),
        _ => Err(format!("benches/peers/timed.py printed {printed:?}")),
    }
}
