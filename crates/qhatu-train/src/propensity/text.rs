//! Columns of texts as features. A text model, which this crate does not know, made a vector of each different text; what
//! a classifier takes are the vectors' principal components, found in training rows alone.
//!
//! Why not the vectors themselves: a text model gives hundreds of numbers, none of which means anything alone, and a tree
//! cuts one at a time. 30 components of a language model's vectors serve trees on tables well (Grinsztajn, Oyallon, Kim and
//! Varoquaux, "Vectorizing string entries for data processing on tables", 2023), and cost what 30 columns cost. Attention
//! takes the same components of a text as one token.

use std::sync::Arc;

use qhatu_models::principal_components::PrincipalComponents;
use qhatu_models::{ModelError, Stream, TensorFile};
use qhatu_schema::{DenseTable, NO_TEXT};
use serde::{Deserialize, Serialize};

use super::example::Examples;
use crate::error::TrainError;

/// Vectors of texts, and which text model made them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TextVectors {
    /// The text model's fingerprint.
    pub model: String,
    /// Numbers of a vector.
    pub width: usize,
    /// One vector behind another.
    pub values: Vec<f32>,
}

/// A column of texts.
#[derive(Debug, Clone, PartialEq)]
pub struct TextColumn {
    /// Its name.
    pub name: String,
    /// The number of each row's vector; [`NO_TEXT`] where there is no text.
    pub codes: Vec<u32>,
    /// The vectors; columns may share them.
    pub vectors: Arc<TextVectors>,
}

impl TextColumn {
    /// Some of its rows.
    pub(super) fn pick(&self, rows: &[usize]) -> Self {
        let codes = rows.iter().map(|row| self.codes[*row]).collect();
        Self { name: self.name.clone(), codes, vectors: Arc::clone(&self.vectors) }
    }
}

/// What is scored: a table, and its texts where a model reads any.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Numbers, categories and times.
    pub table: &'a DenseTable,
    /// Texts with their vectors.
    pub texts: &'a [TextColumn],
}

impl<'a> From<&'a DenseTable> for Rows<'a> {
    fn from(table: &'a DenseTable) -> Self {
        Self { table, texts: &[] }
    }
}

impl<'a> From<&'a Examples> for Rows<'a> {
    fn from(examples: &'a Examples) -> Self {
        Self { table: &examples.table, texts: &examples.texts }
    }
}

impl Rows<'_> {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.texts.first().map_or_else(|| self.table.rows(), |column| column.codes.len())
    }
}

/// How columns of texts become numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TextPreparation {
    model: String,
    columns: Vec<(String, PrincipalComponents)>,
    filled: bool,
}

/// What is kept beside the components' numbers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// The text model's fingerprint.
    model: String,
    columns: Vec<String>,
    /// Whether a gap is as good as the mean text.
    filled: bool,
}

const KEPT: &str = "texts";

impl TextPreparation {
    /// Finds at most `width` components of each column in the rows of `training`, and no others. Where `filled`, a gap is
    /// as good as the mean text; otherwise its numbers are missing.
    pub(super) fn fit(
        texts: &[TextColumn],
        training: &[usize],
        (width, filled): (usize, bool),
        stream: Stream,
    ) -> Self {
        let fit = |(place, column): (usize, &TextColumn)| {
            let TextVectors { width: inputs, values, .. } = &*column.vectors;
            let mut counts = vec![0; values.len() / inputs.max(&1)];
            let known = training.iter().map(|row| column.codes[*row]).filter(|code| *code != NO_TEXT);
            known.for_each(|code| counts[code as usize] += 1);
            let stream = stream.child(place as u64);
            (column.name.clone(), PrincipalComponents::fit(values, *inputs, &counts, width, stream))
        };
        let model = texts.first().map(|column| column.vectors.model.clone()).unwrap_or_default();
        Self { model, columns: texts.iter().enumerate().map(fit).collect(), filled }
    }

    /// The columns that it takes.
    pub fn columns(&self) -> Vec<&str> {
        self.columns.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The fingerprint of the text model that the vectors must come from; empty where it takes no texts.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The numbers' names: the column's, with a dot and the number of the component behind it.
    pub(super) fn names(&self) -> Vec<String> {
        let of = |(name, map): &(String, PrincipalComponents)| {
            (0..map.width()).map(|component| format!("{name}.{component}")).collect::<Vec<String>>()
        };
        self.columns.iter().flat_map(of).collect()
    }

    /// The column of each number.
    pub(super) fn sources(&self) -> Vec<&str> {
        self.columns.iter().flat_map(|(name, map)| std::iter::repeat_n(name.as_str(), map.width())).collect()
    }

    /// Which numbers are one text's, where the first has the number `from`.
    pub(super) fn spans(&self, mut from: usize) -> Vec<std::ops::Range<usize>> {
        let mut spans = Vec::new();
        for (_, map) in self.columns.iter().filter(|(_, map)| map.width() > 0) {
            spans.push(from..from + map.width());
            from += map.width();
        }
        spans
    }

    /// The numbers of every row, a column for each of [`TextPreparation::names`].
    ///
    /// # Errors
    /// Where a column was not read, or by another text model.
    pub(super) fn transform(&self, texts: &[TextColumn]) -> Result<Vec<Vec<f64>>, TrainError> {
        let mut all = Vec::new();
        for (name, map) in &self.columns {
            let found = texts.iter().find(|column| column.name == *name);
            let column = found.ok_or_else(|| TrainError::NoText { name: name.clone() })?;
            if column.vectors.model != self.model || column.vectors.width != map.inputs() {
                let (own, given) = (self.model.clone(), column.vectors.model.clone());
                return Err(TrainError::TextModel { own, given });
            }
            all.extend(self.numbers(column, map));
        }
        Ok(all)
    }

    /// Only the texts of these rows are looked at, each once.
    fn numbers(&self, column: &TextColumn, map: &PrincipalComponents) -> Vec<Vec<f64>> {
        let (inputs, width) = (map.inputs(), map.width());
        let mut used: Vec<u32> = column.codes.iter().copied().filter(|code| *code != NO_TEXT).collect();
        used.sort_unstable();
        used.dedup();
        let vector = |code: &u32| &column.vectors.values[*code as usize * inputs..][..inputs];
        let vectors: Vec<f32> = used.iter().flat_map(vector).copied().collect();
        let components = map.transform(&vectors);
        let gap = if self.filled { 0.0 } else { f64::NAN };
        let place = |code: &u32| used.binary_search(code).ok();
        let places: Vec<Option<usize>> = column.codes.iter().map(place).collect();
        let number = |component: usize| {
            let of =
                |place: &Option<usize>| place.map_or(gap, |at| f64::from(components[at * width + component]));
            places.iter().map(of).collect()
        };
        (0..width).map(number).collect()
    }

    /// Puts it into a file, if it takes any column.
    pub(super) fn save(&self, file: &mut TensorFile) -> Result<(), TrainError> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let columns = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let kept = Kept { model: self.model.clone(), columns, filled: self.filled };
        let kept = serde_json::to_string(&kept).map_err(|fault| damaged(&fault))?;
        file.settings.insert(KEPT.to_owned(), kept);
        for (place, (_, map)) in self.columns.iter().enumerate() {
            map.save(file, &prefix(place));
        }
        Ok(())
    }

    /// Reads it back; of no columns where the file has none.
    pub(super) fn load(file: &TensorFile) -> Result<Self, TrainError> {
        let Some(kept) = file.settings.get(KEPT) else { return Ok(Self::default()) };
        let Kept { model, columns, filled } = serde_json::from_str(kept).map_err(|fault| damaged(&fault))?;
        let map =
            |(place, name): (usize, String)| Ok((name, PrincipalComponents::load(file, &prefix(place))?));
        let columns = columns.into_iter().enumerate().map(map).collect::<Result<_, ModelError>>()?;
        Ok(Self { model, columns, filled })
    }
}

fn prefix(place: usize) -> String {
    format!("texts.{place}.")
}

fn damaged(fault: &serde_json::Error) -> TrainError {
    TrainError::Scorer { fault: format!("what it keeps of its texts cannot be read: {fault}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, codes: Vec<u32>) -> TextColumn {
        let values = vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 9.0, 9.0];
        TextColumn {
            name: name.to_owned(),
            codes,
            vectors: Arc::new(TextVectors { model: "m".to_owned(), width: 2, values }),
        }
    }

    fn fit(texts: &[TextColumn], training: &[usize], filled: bool) -> TextPreparation {
        TextPreparation::fit(texts, training, (30, filled), Stream::new(1))
    }

    #[test]
    fn only_training_rows_are_learned_from_and_gaps_stay_gaps() {
        let texts = [column("title", vec![0, 1, 2, NO_TEXT, 3])];
        let own = fit(&texts, &[0, 1, 2, 3], false);
        assert_eq!(own, fit(&[column("title", vec![0, 1, 2, NO_TEXT, 0])], &[0, 1, 2, 3], false));
        assert_ne!(own, fit(&texts, &[0, 1, 2, 3, 4], false));
        assert_eq!(
            (own.names(), own.sources()),
            (vec!["title.0".to_owned(), "title.1".to_owned()], vec!["title"; 2])
        );
        assert_eq!((own.columns(), own.spans(3).as_slice()), (vec!["title"], std::slice::from_ref(&(3..5))));
        let numbers = own.transform(&texts).unwrap();
        assert!(
            numbers
                .iter()
                .all(|numbers| numbers[3].is_nan() && numbers[..3].iter().sum::<f64>().abs() < 1e-5)
        );
        let filled = fit(&texts, &[0, 1, 2], true).transform(&texts).unwrap();
        assert_eq!([filled[0][3], filled[1][3]], [0.0; 2]);
    }

    #[test]
    fn what_is_kept_is_read_back_and_what_does_not_fit_is_said() {
        let texts = [column("title", vec![0, 1, 2]), column("query", vec![2, 1, NO_TEXT])];
        let own = fit(&texts, &[0, 1, 2], false);
        let mut file = TensorFile::default();
        own.save(&mut file).unwrap();
        assert_eq!(TextPreparation::load(&file).unwrap(), own);
        assert_eq!(TextPreparation::load(&TensorFile::default()).unwrap(), TextPreparation::default());
        file.settings.insert(KEPT.to_owned(), "{}".to_owned());
        assert!(TextPreparation::load(&file).unwrap_err().to_string().contains("its texts cannot be read"));
        assert!(own.transform(&texts[..1]).unwrap_err().to_string().contains("column \"query\""));
        let mut other = texts.clone();
        other[0].vectors = Arc::new(TextVectors { model: "n".to_owned(), ..(*texts[0].vectors).clone() });
        assert!(own.transform(&other).unwrap_err().to_string().contains("another text model"));
    }
}
