//! The preparation and the model as the files of a version, and scoring with both.

use qhatu_features::{Preparation, PreparationError};
use qhatu_models::propensity::Propensity;
use qhatu_models::trees::Columns;
use qhatu_models::{ModelError, TensorFile};
use serde::Serialize;

use super::importance::pick_rows;
use super::text::{Rows, TextColumn, TextPreparation};
use crate::error::TrainError;

/// The file of the classifier, its calibration and threshold.
const MODEL_FILE: &str = "model.safetensors";
/// The file of the imputers, encoders and scalers.
const PREPARATION_FILE: &str = "preparation.json";

/// A model with the preparation that it was fitted with.
#[derive(Debug, Clone, PartialEq)]
pub struct Scorer {
    /// From a table's columns to numbers.
    pub preparation: Preparation,
    /// From texts' vectors to numbers, which stand behind those.
    pub texts: TextPreparation,
    /// From numbers to a probability.
    pub model: Propensity,
}

/// Why a row has the probability it has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// Calibrated.
    pub probability: f64,
    /// The score expected of any row: log-odds, for a forest its share of yes.
    pub expected: f64,
    /// What each column adds to that, largest first.
    pub columns: Vec<(String, f64)>,
}

impl Scorer {
    /// The files that it is kept in.
    pub const FILES: [&'static str; 2] = [MODEL_FILE, PREPARATION_FILE];

    /// The names of the numbers that the model takes.
    pub(super) fn names(&self) -> Vec<String> {
        [self.preparation.names(), self.texts.names()].concat()
    }

    /// The column that each of them comes from.
    pub(super) fn sources(&self) -> Vec<&str> {
        [self.preparation.sources(), self.texts.sources()].concat()
    }

    /// The columns that it takes, once each.
    pub fn columns(&self) -> Vec<&str> {
        [self.preparation.columns(), self.texts.columns()].concat()
    }

    /// Whether it takes a column as texts, categories among them; otherwise as numbers.
    pub fn takes_texts(&self, column: &str) -> bool {
        self.preparation.takes_texts(column) || self.texts.columns().contains(&column)
    }

    /// The numbers of every row, a column for each of [`Scorer::names`].
    pub(super) fn prepare(&self, rows: Rows) -> Result<Vec<Vec<f64>>, TrainError> {
        let mut prepared = self.preparation.transform(rows.table)?;
        prepared.extend(self.texts.transform(rows.texts)?);
        Ok(prepared)
    }

    /// The probability of each row of a table with the columns of training; others are passed over. A category that
    /// training did not see is as good as missing.
    ///
    /// # Errors
    /// Where a column is missing or holds something else than in training, or texts were read by another text model.
    pub fn probabilities<'a>(&self, rows: impl Into<Rows<'a>>) -> Result<Vec<f64>, TrainError> {
        let prepared = self.prepare(rows.into())?;
        Ok(self.model.probabilities(Columns::numbers(&prepared))?)
    }

    /// What each column of a row adds to its score, and the score that is expected of any row.
    ///
    /// # Errors
    /// As [`Scorer::probabilities`], and where there is no such row.
    pub fn explain<'a>(&self, rows: impl Into<Rows<'a>>, row: usize) -> Result<Explained, TrainError> {
        let all = rows.into();
        if row >= all.count() {
            return Err(TrainError::Preparation(PreparationError::Rows { row, rows: all.count() }));
        }
        let texts: Vec<TextColumn> = all.texts.iter().map(|column| column.pick(&[row])).collect();
        let table = pick_rows(all.table, &[row]);
        let prepared = self.prepare(Rows { table: &table, texts: &texts })?;
        let values: Vec<f64> = prepared.iter().map(|column| column[0]).collect();
        let found = self.model.classifier.contributions(&values);
        let mut columns: Vec<(String, f64)> = Vec::new();
        // A category's columns of 0 and 1, and a text's components, are one column to whoever asks.
        for (name, value) in self.sources().into_iter().zip(found.features) {
            match columns.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += value,
                None => columns.push((name.to_owned(), value)),
            }
        }
        columns.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        let probability = self.model.probabilities(Columns::numbers(&prepared))?[0];
        Ok(Explained { probability, expected: found.expected, columns })
    }

    /// Name and content of each file.
    ///
    /// # Errors
    /// Where the model's tensors do not fit together.
    pub fn to_files(&self) -> Result<Vec<(&'static str, Vec<u8>)>, TrainError> {
        let mut file = self.model.save();
        self.texts.save(&mut file)?;
        let model = file.to_bytes().map_err(ModelError::from)?;
        Ok(vec![(MODEL_FILE, model), (PREPARATION_FILE, self.preparation.to_json()?)])
    }

    /// Reads both files; `file` gives a file's content by its name.
    ///
    /// # Errors
    /// Where one is missing or damaged, or they are not of one model.
    pub fn from_files<'a>(file: impl Fn(&str) -> Option<&'a [u8]>) -> Result<Self, TrainError> {
        let read = |name: &'static str| {
            file(name).ok_or_else(|| TrainError::Scorer { fault: format!("the file {name} is missing") })
        };
        let preparation = Preparation::from_json(read(PREPARATION_FILE)?)?;
        let tensors = TensorFile::from_bytes(read(MODEL_FILE)?).map_err(ModelError::from)?;
        let model = Propensity::load(&tensors)?;
        let texts = TextPreparation::load(&tensors)?;
        let own = Self { preparation, texts, model };
        if own.names() != own.model.names {
            let fault = "the preparation makes other numbers than the model takes: they are not of one model";
            return Err(TrainError::Scorer { fault: fault.to_owned() });
        }
        Ok(own)
    }
}
