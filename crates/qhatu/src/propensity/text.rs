//! Columns of texts, read by a text model: each different text once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qhatu_schema::{DenseColumn, DenseTable, NO_TEXT};
use qhatu_text::{TextEncoder, TextError};
use qhatu_train::propensity::{Scorer, TextColumn, TextVectors};

use crate::fault::Fault;
use crate::progress::Stage;

/// Which columns of a table are texts, for a model that is fitted.
#[derive(Debug, clap::Args)]
pub(super) struct TextArgs {
    /// Columns of texts that a text model reads, with commas between.
    #[arg(
        long = "text",
        value_name = "COLUMN",
        value_delimiter = ',',
        requires = "text_model",
        conflicts_with = "shoppers"
    )]
    pub(super) columns: Vec<String>,
    /// The folder of that text model (see `qhatu text`).
    #[arg(long, value_name = "FOLDER", requires = "columns")]
    pub(super) text_model: Option<PathBuf>,
    /// Most numbers that a text becomes: its vector's first principal components.
    #[arg(long, default_value_t = 30, requires = "columns")]
    pub(super) text_width: usize,
}

/// The text model of a model that was fitted with one.
#[derive(Debug, clap::Args)]
pub(super) struct TextModelArg {
    /// Where the model reads texts: the folder of the text model that it was fitted with.
    #[arg(long, value_name = "FOLDER")]
    text_model: Option<PathBuf>,
}

impl TextModelArg {
    /// The texts of a table that a model reads, with their vectors.
    pub(super) fn read(&self, scorer: &Scorer, table: &DenseTable) -> Result<Vec<TextColumn>, Fault> {
        let columns: Vec<String> = scorer.texts.columns().into_iter().map(str::to_owned).collect();
        match (&self.text_model, columns.is_empty()) {
            (None, true) => Ok(Vec::new()),
            (Some(folder), false) => read(&columns, folder, table),
            (Some(folder), true) => {
                let folder = folder.display();
                Err(Fault::Said(format!("--text-model {folder}: the model was fitted without texts")))
            }
            (None, false) => Err(Fault::Said(format!(
                "the model reads the texts of {}; name the text model that it was fitted with, as --text-model FOLDER",
                columns.join(", ")
            ))),
        }
    }
}

/// Columns of a table with the vectors that the text model of a folder gives their texts.
pub(super) fn read(columns: &[String], folder: &Path, table: &DenseTable) -> Result<Vec<TextColumn>, Fault> {
    if let Some(name) =
        columns.iter().enumerate().find_map(|(at, name)| columns[..at].contains(name).then_some(name))
    {
        return Err(Fault::Said(format!("--text {name}: a column is named once")));
    }
    columns.iter().try_for_each(|name| check(name, table))?;
    if !folder.is_dir() {
        let folder = folder.display();
        return Err(Fault::Said(format!(
            "--text-model {folder}: there is no such folder; `qhatu text import` makes one"
        )));
    }
    let encoder = TextEncoder::read(folder)?;
    let stage = Stage::begin("read", 0);
    let what = |texts: usize| format!("{texts} different texts of {}", columns.join(", "));
    let (read, texts) = Reader::new(encoder).encode(columns, table, |texts| stage.say(&what(texts)))?;
    stage.end(&what(texts));
    Ok(read)
}

/// A text model with its fingerprint, which takes all of its weights to say.
pub(super) struct Reader {
    encoder: TextEncoder,
    /// As it is kept beside a model that reads texts by it.
    pub(super) model: String,
}

impl Reader {
    pub(super) fn new(encoder: TextEncoder) -> Self {
        let model = encoder.fingerprint().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { encoder, model }
    }

    /// Columns of a table with their texts' vectors, and how many different texts there are, which `begun` hears before they
    /// are encoded.
    pub(super) fn encode(
        &self,
        columns: &[String],
        table: &DenseTable,
        begun: impl FnOnce(usize),
    ) -> Result<(Vec<TextColumn>, usize), TextError> {
        let mut known = Known::default();
        let mut coded = Vec::new();
        for name in columns {
            let Some(column) = table.column(name) else { continue };
            coded.push((name.clone(), known.codes(column)));
        }
        begun(known.texts.len());
        let (model, width) = (self.model.clone(), self.encoder.width());
        let vectors = Arc::new(TextVectors { model, width, values: self.encoder.encode(&known.texts)? });
        let with_vectors = |(name, codes)| TextColumn { name, codes, vectors: Arc::clone(&vectors) };
        Ok((coded.into_iter().map(with_vectors).collect(), known.texts.len()))
    }
}

fn check(name: &str, table: &DenseTable) -> Result<(), Fault> {
    let holds = match table.column(name) {
        Some(DenseColumn::Text(_) | DenseColumn::Label(_)) => return Ok(()),
        Some(DenseColumn::Float(_)) => "numbers",
        Some(DenseColumn::Time(_)) => "times",
        None => {
            let known: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
            let known = known.join(", ");
            return Err(Fault::Said(format!("--text {name}: there is no such column; there are {known}")));
        }
    };
    Err(Fault::Said(format!("--text {name}: the column holds {holds}, not texts")))
}

/// Different texts in the order in which they first occur.
#[derive(Default)]
struct Known {
    numbers: BTreeMap<String, u32>,
    texts: Vec<String>,
}

impl Known {
    fn codes(&mut self, column: &DenseColumn) -> Vec<u32> {
        match column {
            DenseColumn::Text(texts) => texts.iter().map(|text| self.code(text)).collect(),
            DenseColumn::Label(labels) => {
                (0..labels.codes.len()).map(|row| self.code(labels.get(row))).collect()
            }
            DenseColumn::Float(_) | DenseColumn::Time(_) => vec![NO_TEXT; column.rows()],
        }
    }

    fn code(&mut self, text: &str) -> u32 {
        if text.trim().is_empty() {
            return NO_TEXT;
        }
        if let Some(code) = self.numbers.get(text) {
            return *code;
        }
        let code = self.texts.len() as u32;
        self.numbers.insert(text.to_owned(), code);
        self.texts.push(text.to_owned());
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_read_once_over_all_columns() {
        let mut known = Known::default();
        let titles = DenseColumn::Label(["mug", "", "cup", "mug"].into_iter().collect());
        let queries = DenseColumn::Text([" ", "cup", "tea", "mug"].into_iter().collect());
        assert_eq!(known.codes(&titles), [0, NO_TEXT, 1, 0]);
        assert_eq!(known.codes(&queries), [NO_TEXT, 1, 2, 0]);
        assert_eq!(known.texts, ["mug", "cup", "tea"]);
    }
}
