//! A small made-up shop in a temporary folder, and the program run on it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A shop project with half a year of purchases.
pub(crate) struct Shop {
    folder: TempDir,
}

impl Shop {
    /// Made by `qhatu init` and `qhatu ingest`.
    pub(crate) fn new() -> Self {
        let shop = Self::bare();
        shop.ingest("events.jsonl", &purchases());
        shop
    }

    /// A shop of which nothing is known.
    pub(crate) fn bare() -> Self {
        let folder = TempDir::new().unwrap();
        let shop = Self { folder };
        shop.succeed(&["init", &shop.dir().to_string_lossy()]);
        shop
    }

    /// Brings in what a file of this name holds.
    pub(crate) fn ingest(&self, name: &str, text: &str) {
        fs::write(self.dir().join(name), text).unwrap();
        self.succeed(&["ingest", "--dir", ".", name]);
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join("shop")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir().join("data")
    }

    /// Runs a command on this shop.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Starts a command and does not wait for it.
    pub(crate) fn start(&self, words: &[&str]) -> Child {
        self.command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let dir = self.dir();
        fs::create_dir_all(&dir).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_qhatu"));
        command.args(words).current_dir(dir);
        command
    }

    /// What a command prints that must succeed.
    pub(crate) fn succeed(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command says that must fail.
    pub(crate) fn fail(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    pub(crate) fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.succeed(words)).unwrap()
    }

    /// Number and file checksums of the version that an alias points to.
    pub(crate) fn alias(&self, alias: &str) -> Option<(u64, BTreeMap<String, String>)> {
        let versions = self.json(&["models", "list", "--json"]);
        let points = |version: &&Value| version["aliases"].as_array().unwrap().iter().any(|a| a == alias);
        let number = versions.as_array().unwrap().iter().find(points)?["version"].as_u64().unwrap();
        let shown = self.json(&["models", "show", &number.to_string(), "--json"]);
        let file = |file: &Value| {
            (file["name"].as_str().unwrap().to_owned(), file["sha256"].as_str().unwrap().to_owned())
        };
        Some((number, shown["files"].as_array().unwrap().iter().map(file).collect()))
    }

    /// The fitted models that a training may go on from, by file name.
    pub(crate) fn work(&self) -> BTreeMap<String, Vec<u8>> {
        let Ok(entries) = fs::read_dir(self.data().join("work")) else { return BTreeMap::new() };
        let whole = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "safetensors");
        let named = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        let paths = entries.map(|entry| entry.unwrap().path()).filter(whole);
        paths.map(|path| (named(&path), fs::read(&path).unwrap())).collect()
    }
}

/// 90 shoppers of two kinds over half a year: each orders every nine days or so, mostly one of five favourites, else
/// anything of their kind.
fn purchases() -> String {
    let mut random = 1_u64;
    let mut below = move |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let mut text = String::new();
    for shopper in 0..90_u64 {
        let favourites: Vec<u64> = (0..5).map(|_| below(30)).collect();
        let mut day = below(9);
        while day < 180 {
            for line in 0..3 {
                let pick = if below(10) < 6 { favourites[below(5) as usize] } else { below(30) };
                let item = 2 * pick + shopper % 2;
                let (month, date) = (1 + day / 30, 1 + day % 28);
                let order = format!("{shopper}-{day}");
                let _ = writeln!(
                    text,
                    r#"{{"event_id":"{order}-{line}","time":"2026-{month:02}-{date:02}T12:00:00-05:00","kind":"purchase","user_id":"u{shopper}","item_id":"i{item}","order_id":"{order}"}}"#
                );
            }
            day += 5 + below(9);
        }
    }
    text
}
