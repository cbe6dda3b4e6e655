//! From features to the numbers a model takes: each column by its recipe, fitted on training rows alone,
//! kept as JSON beside the model's weights, and the same when scoring.

use qhatu_schema::{DenseColumn, DenseTable};
use serde::{Deserialize, Serialize};

use crate::encoder::{LabelEncoder, MeanImputer, MinMaxScaler, OneHotEncoder, StandardScaler};

/// How a column becomes numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    /// A number as it is; gaps stay gaps (trees take them so).
    Number,
    /// A number, gaps filled with the mean.
    Mean,
    /// Gaps filled with the mean, then mean 0 and deviation 1.
    Standard,
    /// Gaps filled with the mean, then from 0 to 1.
    MinMax,
    /// A category as its number; a gap where it has none or was not seen in training.
    Label,
    /// A category as a column of 0 and 1 each; all 0 where it has none or was not seen in training.
    OneHot,
}

impl Recipe {
    /// Whether it takes texts; the others take numbers.
    pub fn takes_texts(self) -> bool {
        matches!(self, Self::Label | Self::OneHot)
    }
}

/// What cannot be prepared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PreparationError {
    /// The table has no such column.
    #[error("there is no column {name:?} to prepare")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A number's recipe for a text, or a text's for a number.
    #[error("column {name:?} holds {found}, which the recipe {recipe:?} does not take")]
    Kind {
        /// Its name.
        name: String,
        /// What it holds.
        found: &'static str,
        /// What was asked for.
        recipe: Recipe,
    },
    /// No row to learn from, or one that is not there.
    #[error(
        "training row {row} of a table with {rows}: there must be at least one, and each within the table"
    )]
    Rows {
        /// The row.
        row: usize,
        /// Rows of the table.
        rows: usize,
    },
    /// What was kept cannot be read.
    #[error("the preparation kept with the model cannot be read: {fault}")]
    Damaged {
        /// What is wrong.
        fault: String,
    },
}

/// Recipes with what they learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    version: u32,
    columns: Vec<Prepared>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prepared {
    name: String,
    recipe: Recipe,
    learned: Learned,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Learned {
    Nothing,
    Mean(MeanImputer),
    Standard(MeanImputer, StandardScaler),
    MinMax(MeanImputer, MinMaxScaler),
    Label(LabelEncoder),
    OneHot(OneHotEncoder),
}

/// Version of the kept form.
const VERSION: u32 = 1;

impl Preparation {
    /// Of no columns at all, for a model that takes something else.
    pub fn none() -> Self {
        Self { version: VERSION, columns: Vec::new() }
    }

    /// Learns from the rows of `training` and no others.
    ///
    /// # Errors
    /// [`PreparationError`] where a column is missing or of the wrong kind, or there is nothing to learn from.
    pub fn fit(
        recipes: &[(&str, Recipe)],
        table: &DenseTable,
        training: &[usize],
    ) -> Result<Self, PreparationError> {
        let rows = table.rows();
        match training.iter().find(|row| **row >= rows) {
            Some(row) => return Err(PreparationError::Rows { row: *row, rows }),
            None if training.is_empty() => return Err(PreparationError::Rows { row: 0, rows }),
            None => {}
        }
        let prepared = recipes.iter().map(|(name, recipe)| {
            let column = find(table, name)?;
            let learned = learn(name, *recipe, column, training)?;
            Ok(Prepared { name: (*name).to_owned(), recipe: *recipe, learned })
        });
        Ok(Self { version: VERSION, columns: prepared.collect::<Result<_, _>>()? })
    }

    /// The names of the numbers of a row: the column's, with `=category` behind it for one-hot columns.
    pub fn names(&self) -> Vec<String> {
        let of = |column: &Prepared| match &column.learned {
            Learned::OneHot(encoder) => {
                encoder.labels().map(|label| format!("{}={label}", column.name)).collect()
            }
            _ => vec![column.name.clone()],
        };
        self.columns.iter().flat_map(of).collect()
    }

    /// For each of [`Preparation::names`] whether its numbers are those of categories ([`Recipe::Label`]).
    pub fn categorical(&self) -> Vec<bool> {
        let of = |column: &Prepared| match &column.learned {
            Learned::OneHot(encoder) => vec![false; encoder.labels().count()],
            Learned::Label(_) => vec![true],
            _ => vec![false],
        };
        self.columns.iter().flat_map(of).collect()
    }

    /// The table's columns that it takes, once each, in order.
    pub fn columns(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for column in &self.columns {
            if !names.contains(&column.name.as_str()) {
                names.push(&column.name);
            }
        }
        names
    }

    /// Whether it takes a column of the table as texts, for each of [`Preparation::columns`].
    pub fn takes_texts(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name == name && column.recipe.takes_texts())
    }

    /// For each of [`Preparation::names`] the table's column that it comes from.
    pub fn sources(&self) -> Vec<&str> {
        let of = |column: &Prepared| match &column.learned {
            Learned::OneHot(encoder) => encoder.labels().count(),
            _ => 1,
        };
        self.columns.iter().flat_map(|own| std::iter::repeat_n(own.name.as_str(), of(own))).collect()
    }

    /// The numbers of every row of a table, a column for each of [`Preparation::names`].
    ///
    /// # Errors
    /// [`PreparationError`] where a column is missing or of the wrong kind.
    pub fn transform(&self, table: &DenseTable) -> Result<Vec<Vec<f64>>, PreparationError> {
        let mut all = Vec::new();
        for column in &self.columns {
            all.extend(column.transform(find(table, &column.name)?)?);
        }
        Ok(all)
    }

    /// As JSON, to be kept with the model.
    ///
    /// # Errors
    /// None in truth; the encoder's passes through.
    pub fn to_json(&self) -> Result<Vec<u8>, PreparationError> {
        serde_json::to_vec_pretty(self).map_err(damaged)
    }

    /// From what was kept.
    ///
    /// # Errors
    /// [`PreparationError::Damaged`] where it is not what [`Preparation::to_json`] wrote.
    pub fn from_json(bytes: &[u8]) -> Result<Self, PreparationError> {
        let own: Self = serde_json::from_slice(bytes).map_err(damaged)?;
        match own.version {
            VERSION => Ok(own),
            other => Err(damaged(format!("it is of version {other}, this program reads {VERSION}"))),
        }
    }
}

impl Prepared {
    fn transform(&self, column: &DenseColumn) -> Result<Vec<Vec<f64>>, PreparationError> {
        let numbers = || numbers(&self.name, self.recipe, column);
        let each = |of: &dyn Fn(f64) -> f64| Ok(vec![numbers()?.into_iter().map(of).collect()]);
        match &self.learned {
            Learned::Nothing => Ok(vec![numbers()?]),
            Learned::Mean(imputer) => each(&|value| imputer.transform(value)),
            Learned::Standard(imputer, scaler) => each(&|value| scaler.transform(imputer.transform(value))),
            Learned::MinMax(imputer, scaler) => each(&|value| scaler.transform(imputer.transform(value))),
            Learned::Label(encoder) => {
                let number = |text: &str| encoder.transform(text).map_or(f64::NAN, |number| number as f64);
                Ok(vec![texts(&self.name, self.recipe, column)?.into_iter().map(number).collect()])
            }
            Learned::OneHot(encoder) => {
                let texts = texts(&self.name, self.recipe, column)?;
                let columns = encoder
                    .labels()
                    .map(|label| texts.iter().map(|text| f64::from(u8::from(*text == label))).collect());
                Ok(columns.collect())
            }
        }
    }
}

fn learn(
    name: &str,
    recipe: Recipe,
    column: &DenseColumn,
    training: &[usize],
) -> Result<Learned, PreparationError> {
    let own_numbers = || -> Result<Vec<f64>, PreparationError> {
        let all = numbers(name, recipe, column)?;
        Ok(training.iter().map(|row| all[*row]).collect())
    };
    let own_texts = || -> Result<Vec<&str>, PreparationError> {
        let all = texts(name, recipe, column)?;
        Ok(training.iter().map(|row| all[*row]).filter(|text| !text.is_empty()).collect())
    };
    // The scaler learns from the filled column, as in a pipeline of scikit-learn.
    let filled = || -> Result<(MeanImputer, Vec<f64>), PreparationError> {
        let numbers = own_numbers()?;
        let imputer = MeanImputer::fit(&numbers);
        Ok((imputer, numbers.into_iter().map(|value| imputer.transform(value)).collect()))
    };
    Ok(match recipe {
        Recipe::Number => {
            own_numbers()?;
            Learned::Nothing
        }
        Recipe::Mean => Learned::Mean(MeanImputer::fit(&own_numbers()?)),
        Recipe::Standard => {
            let (imputer, filled) = filled()?;
            Learned::Standard(imputer, StandardScaler::fit(&filled))
        }
        Recipe::MinMax => {
            let (imputer, filled) = filled()?;
            Learned::MinMax(imputer, MinMaxScaler::fit(&filled))
        }
        Recipe::Label => Learned::Label(LabelEncoder::fit(own_texts()?)),
        Recipe::OneHot => Learned::OneHot(OneHotEncoder::fit(own_texts()?)),
    })
}

fn find<'a>(table: &'a DenseTable, name: &str) -> Result<&'a DenseColumn, PreparationError> {
    table.column(name).ok_or_else(|| PreparationError::Missing { name: name.to_owned() })
}

/// Numbers beyond all bounds are gaps.
fn numbers(name: &str, recipe: Recipe, column: &DenseColumn) -> Result<Vec<f64>, PreparationError> {
    match column {
        DenseColumn::Float(values) => {
            Ok(values.iter().map(|value| if value.is_finite() { *value } else { f64::NAN }).collect())
        }
        DenseColumn::Time(_) => Err(wrong_kind(name, recipe, "times")),
        DenseColumn::Text(_) | DenseColumn::Label(_) => Err(wrong_kind(name, recipe, "texts")),
    }
}

fn texts<'a>(name: &str, recipe: Recipe, column: &'a DenseColumn) -> Result<Vec<&'a str>, PreparationError> {
    match column {
        DenseColumn::Text(texts) => Ok(texts.iter().collect()),
        DenseColumn::Label(labels) => Ok((0..labels.codes.len()).map(|row| labels.get(row)).collect()),
        DenseColumn::Float(_) => Err(wrong_kind(name, recipe, "numbers")),
        DenseColumn::Time(_) => Err(wrong_kind(name, recipe, "times")),
    }
}

fn wrong_kind(name: &str, recipe: Recipe, found: &'static str) -> PreparationError {
    PreparationError::Kind { name: name.to_owned(), found, recipe }
}

fn damaged(fault: impl ToString) -> PreparationError {
    PreparationError::Damaged { fault: fault.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: f64 = f64::NAN;
    const RECIPES: &[(&str, Recipe)] = &[
        ("views", Recipe::Standard),
        ("price", Recipe::MinMax),
        ("clicks", Recipe::Mean),
        ("views", Recipe::Number),
        ("category", Recipe::OneHot),
        ("category", Recipe::Label),
    ];

    fn table(views: [f64; 4], categories: [&str; 4]) -> DenseTable {
        let float = |name: &str, values: [f64; 4]| (name.to_owned(), DenseColumn::Float(values.to_vec()));
        DenseTable {
            columns: vec![
                float("views", views),
                float("price", [5.0, 5.0, 5.0, 9.0]),
                float("clicks", [GAP, GAP, GAP, 4.0]),
                ("category".to_owned(), DenseColumn::Label(categories.into_iter().collect())),
            ],
        }
    }

    #[test]
    fn only_training_rows_are_learned_from() {
        let training = [0, 1, 2];
        let one = table([1.0, GAP, 5.0, 1e9], ["b", "a", "", "unseen"]);
        let other = table([1.0, GAP, 5.0, -7.0], ["b", "a", "", "b"]);
        let fitted = Preparation::fit(RECIPES, &one, &training).unwrap();
        assert_eq!(fitted, Preparation::fit(RECIPES, &other, &training).unwrap());
        assert_ne!(fitted, Preparation::fit(RECIPES, &one, &[0, 1, 2, 3]).unwrap());
    }

    #[test]
    fn what_training_never_saw_has_its_place_when_scoring() {
        let one = table([1.0, GAP, 5.0, 3.0], ["b", "a", "", "unseen"]);
        let fitted = Preparation::fit(RECIPES, &one, &[0, 1, 2]).unwrap();
        assert_eq!(
            fitted.names(),
            ["views", "price", "clicks", "views", "category=a", "category=b", "category"]
        );
        assert_eq!(fitted.categorical(), [false, false, false, false, false, false, true]);
        assert_eq!(fitted.columns(), ["views", "price", "clicks", "category"]);
        assert_eq!(
            fitted.sources(),
            ["views", "price", "clicks", "views", "category", "category", "category"]
        );
        let columns = fitted.transform(&one).unwrap();
        assert_eq!(columns[0][1], 0.0, "a gap is the mean, which is 0 when scaled");
        assert_eq!(columns[1], [0.0, 0.0, 0.0, 4.0], "a constant becomes 0, its unit stays");
        assert_eq!(columns[2], [0.0, 0.0, 0.0, 4.0], "a column without a value is filled with 0");
        assert!(columns[3][1].is_nan());
        assert_eq!(
            (columns[4].as_slice(), columns[5].as_slice()),
            (&[0.0, 1.0, 0.0, 0.0][..], &[1.0, 0.0, 0.0, 0.0][..])
        );
        assert_eq!(columns[6][..2], [1.0, 0.0]);
        assert!(columns[6][2].is_nan() && columns[6][3].is_nan());
    }

    #[test]
    fn what_is_kept_is_read_back_to_the_bit() {
        let one = table([0.1, GAP, 1.0 / 3.0, 3.0], ["b", "a", "ñ", "unseen"]);
        let fitted = Preparation::fit(RECIPES, &one, &[0, 1, 2]).unwrap();
        let kept = fitted.to_json().unwrap();
        let read = Preparation::from_json(&kept).unwrap();
        assert_eq!(read, fitted);
        let bits = |preparation: &Preparation| -> Vec<u64> {
            preparation.transform(&one).unwrap().concat().iter().map(|value| value.to_bits()).collect()
        };
        assert_eq!(bits(&read), bits(&fitted));
        assert!(Preparation::from_json(&kept[..kept.len() - 9]).is_err());
        let newer = String::from_utf8(kept).unwrap().replace("\"version\": 1", "\"version\": 2");
        assert!(Preparation::from_json(newer.as_bytes()).unwrap_err().to_string().contains("version 2"));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let one = table([1.0, GAP, 5.0, 3.0], ["b", "a", "", "x"]);
        let fault = |recipes: &[(&str, Recipe)], rows: &[usize]| {
            Preparation::fit(recipes, &one, rows).unwrap_err().to_string()
        };
        assert!(fault(&[("colour", Recipe::Mean)], &[0]).contains("no column \"colour\""));
        assert!(fault(&[("category", Recipe::Mean)], &[0]).contains("holds texts"));
        assert!(fault(&[("views", Recipe::OneHot)], &[0]).contains("holds numbers"));
        assert!(fault(RECIPES, &[]).contains("at least one"));
        assert!(fault(RECIPES, &[9]).contains("training row 9 of a table with 4"));
    }
}
