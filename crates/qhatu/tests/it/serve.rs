//! `qhatu serve` as a process: what it says, and where.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use crate::shop::Shop;

#[test]
fn a_log_that_is_no_terminal_has_no_colours() {
    let shop = Shop::bare();
    let mut server = Command::new(env!("CARGO_BIN_EXE_qhatu"))
        .args(["serve", "--port", "0"])
        .current_dir(shop.dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    let mut said = String::new();
    server.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(line.starts_with("listening on http://127.0.0.1:"), "{line}");
    assert!(said.contains("no key is configured") && !said.contains('\u{1b}'), "{said}");
}
