//! Columns as they are computed with: numbers side by side without a tag for each, texts one behind the
//! other, and texts that repeat by their number in a list. [`Table`] is the plain type for
//! small data; this is the one for millions of rows.

use std::sync::Arc;

use crate::table::{Column, Table};
use crate::time::Timestamp;

/// The number of a text where there is none.
pub const NO_TEXT: u32 = u32::MAX;
/// Milliseconds where there is no time, and micros where there is no price.
pub const NO_INT: i64 = i64::MIN;

/// Texts one behind the other; the empty text stands for a gap (no id is empty).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    text: String,
    ends: Vec<usize>,
}

impl Texts {
    /// No texts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one at the end.
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    /// How many there are, gaps included.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text at a place; the empty one for a gap and beyond the end.
    pub fn get(&self, place: usize) -> &str {
        let Some(end) = self.ends.get(place) else { return "" };
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..*end]
    }

    /// All in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|place| self.get(place))
    }

    /// Puts those of `other` behind its own.
    pub fn extend(&mut self, other: &Self) {
        let shift = self.text.len();
        self.text.push_str(&other.text);
        self.ends.extend(other.ends.iter().map(|end| end + shift));
    }
}

impl<'a> FromIterator<&'a str> for Texts {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut all = Self::new();
        texts.into_iter().for_each(|text| all.push(text));
        all
    }
}

/// Texts that repeat: a number per row, and the text of each number. Two numbers may have one text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// The number of each row's text; [`NO_TEXT`] where it has none.
    pub codes: Vec<u32>,
    /// The text of each number.
    pub texts: Arc<Texts>,
}

impl Labels {
    /// A row's text; the empty one for a gap.
    pub fn get(&self, row: usize) -> &str {
        self.codes.get(row).map_or("", |code| self.texts.get(*code as usize))
    }

    /// `rows` gaps.
    pub fn gaps(rows: usize) -> Self {
        Self { codes: vec![NO_TEXT; rows], texts: Arc::default() }
    }

    /// Puts the rows of `other` behind its own.
    pub fn extend(&mut self, other: &Self) {
        let shift = u32::try_from(self.texts.len()).unwrap_or(NO_TEXT);
        let moved = |code: &u32| if *code == NO_TEXT { NO_TEXT } else { code + shift };
        self.codes.extend(other.codes.iter().map(moved));
        Arc::make_mut(&mut self.texts).extend(&other.texts);
    }
}

/// A text per row; the empty text is a gap.
impl<'a> FromIterator<&'a str> for Labels {
    fn from_iter<I: IntoIterator<Item = &'a str>>(rows: I) -> Self {
        let mut known = std::collections::HashMap::new();
        let (mut codes, mut texts) = (Vec::new(), Texts::new());
        for text in rows {
            codes.push(if text.is_empty() {
                NO_TEXT
            } else {
                *known.entry(text).or_insert_with(|| {
                    texts.push(text);
                    u32::try_from(texts.len() - 1).unwrap_or(NO_TEXT)
                })
            });
        }
        Self { codes, texts: Arc::new(texts) }
    }
}

/// The values of one column of a [`DenseTable`].
#[derive(Debug, Clone, PartialEq)]
pub enum DenseColumn {
    /// Numbers; NaN is a gap.
    Float(Vec<f64>),
    /// Times in milliseconds; [`NO_INT`] is a gap.
    Time(Vec<i64>),
    /// Texts that differ; the empty one is a gap.
    Text(Texts),
    /// Texts that repeat.
    Label(Labels),
}

impl DenseColumn {
    /// Number of rows, gaps included.
    pub fn rows(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Time(values) => values.len(),
            Self::Text(texts) => texts.len(),
            Self::Label(labels) => labels.codes.len(),
        }
    }
}

/// Named columns of equal length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DenseTable {
    /// Names and values, in order.
    pub columns: Vec<(String, DenseColumn)>,
}

impl DenseTable {
    /// Number of rows; 0 without columns.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| column.rows())
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&DenseColumn> {
        self.columns.iter().find(|(known, _)| known == name).map(|(_, column)| column)
    }
}

/// Numbers and truth values (1 and 0) become numbers, texts labels, days the texts of their dates.
impl From<&Table> for DenseTable {
    fn from(table: &Table) -> Self {
        let number = |value: Option<f64>| value.unwrap_or(f64::NAN);
        let of = |column: &Column| match column {
            Column::Int(values) => {
                DenseColumn::Float(values.iter().map(|value| number(value.map(|own| own as f64))).collect())
            }
            Column::Float(values) => DenseColumn::Float(values.iter().map(|value| number(*value)).collect()),
            Column::Bool(values) => {
                let own = |value: &Option<bool>| number(value.map(|own| f64::from(u8::from(own))));
                DenseColumn::Float(values.iter().map(own).collect())
            }
            Column::Text(values) => {
                DenseColumn::Label(values.iter().map(|value| value.as_deref().unwrap_or_default()).collect())
            }
            Column::Time(values) => DenseColumn::Time(
                values.iter().map(|value| value.map_or(NO_INT, Timestamp::millis)).collect(),
            ),
            Column::Day(values) => {
                let texts: Vec<String> = values
                    .iter()
                    .map(|value| value.map_or_else(String::new, |day| day.to_string()))
                    .collect();
                DenseColumn::Label(texts.iter().map(String::as_str).collect())
            }
        };
        Self { columns: table.columns().iter().map(|(name, column)| (name.clone(), of(column))).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_labels_give_back_what_was_put_in() {
        let mut texts: Texts = ["a", "", "ñandú"].into_iter().collect();
        texts.extend(&["b"].into_iter().collect());
        assert_eq!(texts.iter().collect::<Vec<_>>(), ["a", "", "ñandú", "b"]);
        assert_eq!((texts.len(), texts.get(9)), (4, ""));
        let mut labels: Labels = ["x", "", "y", "x"].into_iter().collect();
        labels.extend(&["y", ""].into_iter().collect());
        assert_eq!(labels.codes, [0, NO_TEXT, 1, 0, 2, NO_TEXT]);
        let all: Vec<&str> = (0..6).map(|row| labels.get(row)).collect();
        assert_eq!(all, ["x", "", "y", "x", "y", ""]);
    }

    #[test]
    fn a_plain_table_keeps_its_values_and_gaps() {
        let mut table = Table::new();
        table.push("n", Column::Int(vec![Some(3), None])).unwrap();
        table.push("b", Column::Bool(vec![None, Some(true)])).unwrap();
        table.push("t", Column::Text(vec![Some("x".into()), None])).unwrap();
        table.push("at", Column::Time(vec![None, Some(Timestamp::from_millis(5))])).unwrap();
        let dense = DenseTable::from(&table);
        let floats = |name: &str| match dense.column(name) {
            Some(DenseColumn::Float(values)) => values.clone(),
            other => panic!("{name}: {other:?}"),
        };
        assert!(floats("n")[0] == 3.0 && floats("n")[1].is_nan());
        assert!(floats("b")[0].is_nan() && floats("b")[1] == 1.0);
        assert_eq!(dense.column("t"), Some(&DenseColumn::Label(["x", ""].into_iter().collect())));
        assert_eq!(dense.column("at"), Some(&DenseColumn::Time(vec![NO_INT, 5])));
    }
}
