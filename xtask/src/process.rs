//! Running other programs: with their output shown as it comes, or read.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `program`, shows what it prints, and returns its standard output and whether it succeeded.
pub(crate) fn run_shown(
    root: &Path,
    program: &str,
    args: &[&str],
    env: &[(&str, &str)],
) -> Result<(String, bool), String> {
    let mut child = Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    let stdout = child.stdout.take().expect("the pipe asked for above");
    let mut text = String::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.map_err(|error| format!("cannot read what {program} prints: {error}"))?;
        eprintln!("{line}");
        text.push_str(&line);
        text.push('\n');
    }
    let status = child.wait().map_err(|error| format!("cannot wait for {program}: {error}"))?;
    Ok((text, status.success()))
}

/// Runs `program` with its output shown; an error where it does not succeed.
pub(crate) fn run(root: &Path, program: &str, args: &[&str]) -> Result<(), String> {
    match run_shown(root, program, args, &[])? {
        (_, true) => Ok(()),
        (_, false) => Err(format!("{program} {} failed; what it said stands above", args.join(" "))),
    }
}

/// Runs `program` silently and returns its standard output.
pub(crate) fn read(root: &Path, program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(args)
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "{program} {} failed:\n{}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{program} printed bytes that are not UTF-8"))
}
