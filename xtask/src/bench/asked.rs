//! A program that is asked by a line and answers by a line, so that ours and its peers can take turns.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A program that is asked by a line and answers by a line, on two threads.
pub(super) struct Asked {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Asked {
    pub(super) fn start(root: &Path, program: &str, args: &[&str]) -> Result<Self, String> {
        let mut child = Command::new(program)
            .args(args)
            .current_dir(root)
            .env("RAYON_NUM_THREADS", "2")
            .env("OMP_NUM_THREADS", "2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {program}: {error}"))?;
        let input = child.stdin.take().ok_or("no standard input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Self { child, input, output })
    }

    /// The next line that it prints.
    pub(super) fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| format!("cannot read an answer: {error}"))?;
        if line.is_empty() {
            return Err("a program ended before it answered; what it said stands above".to_owned());
        }
        Ok(line.trim().to_owned())
    }

    /// The numbers that it answers a line with.
    pub(super) fn ask(&mut self, line: &str) -> Result<Vec<f64>, String> {
        writeln!(self.input, "{line}").map_err(|error| error.to_string())?;
        let answer = self.line()?;
        let numbers = answer.split_whitespace().map(str::parse::<f64>).collect::<Result<Vec<_>, _>>();
        numbers.map_err(|error| format!("{answer:?} are no numbers: {error}"))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
