//! Programs that are asked by a line and answer by a line, so that ours and a peer can be timed in turns.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A program that is asked by a line and answers by a line.
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
            // PyTorch spends much of a step in page faults unless glibc keeps the pages it has.
            .envs([("MALLOC_MMAP_MAX_", "0"), ("MALLOC_TRIM_THRESHOLD_", "17179869184")])
            .env("MALLOC_TOP_PAD_", "268435456")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {program}: {error}"))?;
        let input = child.stdin.take().ok_or("no standard input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Self { child, input, output })
    }

    pub(super) fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| format!("cannot read an answer: {error}"))?;
        if line.is_empty() {
            return Err("a program ended before it answered; what it said stands above".to_owned());
        }
        Ok(line.trim().to_owned())
    }

    /// Milliseconds of each repetition.
    pub(super) fn ask(&mut self, question: &str) -> Result<Vec<f64>, String> {
        writeln!(self.input, "{question}").map_err(|error| error.to_string())?;
        let answer = self.line()?;
        let numbers = answer.split_whitespace().map(str::parse::<f64>).collect::<Result<Vec<_>, _>>();
        numbers.map_err(|error| format!("{answer:?} are no milliseconds: {error}"))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
