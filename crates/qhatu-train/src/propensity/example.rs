//! The rows to learn from: a table, and which rows are a yes.

use qhatu_features::Recipe;
use qhatu_models::propensity::Kind;
use qhatu_schema::{DenseColumn, DenseTable};
use sha2::{Digest, Sha256};

use super::text::TextColumn;
use crate::error::TrainError;

/// A table of features with what came of each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Examples {
    /// The features, without the target.
    pub table: DenseTable,
    /// Columns of texts that a text model has read; their texts stand in the table too.
    pub texts: Vec<TextColumn>,
    /// Whether each row is a yes.
    pub labels: Vec<bool>,
    /// When each row was, as a number of its window, from 0; empty where rows have no order in time.
    pub periods: Vec<u32>,
}

impl Examples {
    /// Takes the target out of a table: a column of 0 and 1, or of texts for yes and no (true and false, yes and no, sí
    /// and no, 1 and 0, in any case). Columns in `leave_out` go too.
    ///
    /// # Errors
    /// Where a named column is not there, or the target holds a gap or anything else.
    pub fn new(mut table: DenseTable, target: &str, leave_out: &[String]) -> Result<Self, TrainError> {
        let known: Vec<String> = table.columns.iter().map(|(name, _)| name.clone()).collect();
        let missing = leave_out
            .iter()
            .map(String::as_str)
            .chain([target])
            .find(|name| !known.iter().any(|k| k == name));
        if let Some(name) = missing {
            return Err(TrainError::NoColumn { name: name.to_owned(), known: known.join(", ") });
        }
        let labels = table.column(target).map_or_else(|| Ok(Vec::new()), |column| labels(target, column))?;
        table.columns.retain(|(name, _)| name != target && !leave_out.contains(name));
        Ok(Self { table, texts: Vec::new(), labels, periods: Vec::new() })
    }

    /// The same rows with these of the texts' vectors alone.
    ///
    /// # Errors
    /// Where one of them was not read.
    pub fn with_texts(&self, names: &[String]) -> Result<Self, TrainError> {
        let find = |name: &String| self.texts.iter().find(|column| column.name == *name).cloned();
        let of = |name: &String| find(name).ok_or_else(|| TrainError::NoText { name: name.clone() });
        let texts = names.iter().map(of).collect::<Result<_, _>>()?;
        let (table, labels, periods) = (self.table.clone(), self.labels.clone(), self.periods.clone());
        Ok(Self { table, texts, labels, periods })
    }

    /// Says which rows they are: the same names and values, the same fingerprint. What is learned from, and which text model
    /// read the texts, is not part of it.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for (name, column) in &self.table.columns {
            hash.update(format!("{name}\n"));
            for row in 0..column.rows() {
                match column {
                    DenseColumn::Float(values) => hash.update(values[row].to_bits().to_le_bytes()),
                    DenseColumn::Time(values) => hash.update(values[row].to_le_bytes()),
                    DenseColumn::Text(texts) => hash.update(format!("{}\n", texts.get(row))),
                    DenseColumn::Label(texts) => hash.update(format!("{}\n", texts.get(row))),
                }
            }
        }
        self.labels.iter().for_each(|label| hash.update([u8::from(*label)]));
        self.periods.iter().for_each(|period| hash.update(period.to_le_bytes()));
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

fn labels(name: &str, column: &DenseColumn) -> Result<Vec<bool>, TrainError> {
    let read = |row: usize| -> Result<bool, String> {
        let text = match column {
            DenseColumn::Float(values) if values[row].is_nan() => String::new(),
            DenseColumn::Float(values) => values[row].to_string(),
            DenseColumn::Time(values) => values[row].to_string(),
            DenseColumn::Text(texts) => texts.get(row).to_owned(),
            DenseColumn::Label(texts) => texts.get(row).to_owned(),
        };
        match text.trim().to_lowercase().as_str() {
            "1" | "true" | "yes" | "sí" | "si" => Ok(true),
            "0" | "false" | "no" => Ok(false),
            _ => Err(text),
        }
    };
    let label = |row: usize| {
        read(row).map_err(|value| TrainError::Target { name: name.to_owned(), row: row + 1, value })
    };
    (0..column.rows()).map(label).collect()
}

/// How each column of a table is prepared for a kind of model, unless something else is asked for: trees take numbers
/// with their gaps and categories by number; a regression takes filled and scaled numbers and a column for each
/// category. Columns of times are left out.
pub fn recipes(table: &DenseTable, kind: Kind, asked: &[(String, Recipe)]) -> Vec<(String, Recipe)> {
    let of = |(name, column): &(String, DenseColumn)| {
        let usual = match (column, kind) {
            (DenseColumn::Time(_), _) => None,
            (DenseColumn::Float(_), Kind::Logistic) => Some(Recipe::Standard),
            (DenseColumn::Float(_), _) => Some(Recipe::Number),
            (_, Kind::Logistic) => Some(Recipe::OneHot),
            (_, _) => Some(Recipe::Label),
        };
        let asked = asked.iter().find(|(known, _)| known == name).map(|(_, recipe)| *recipe);
        asked.or(usual).map(|recipe| (name.clone(), recipe))
    };
    table.columns.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> DenseTable {
        let text = |texts: [&str; 4]| DenseColumn::Label(texts.into_iter().collect());
        DenseTable {
            columns: vec![
                ("views".to_owned(), DenseColumn::Float(vec![1.0, 2.0, f64::NAN, 4.0])),
                ("month".to_owned(), text(["Feb", "", "May", "Feb"])),
                ("bought".to_owned(), text(["TRUE", "False", "sí", "0"])),
                ("when".to_owned(), DenseColumn::Time(vec![1, 2, 3, 4])),
            ],
        }
    }

    #[test]
    fn the_target_leaves_the_table() {
        let examples = Examples::new(table(), "bought", &["when".to_owned()]).unwrap();
        assert_eq!(examples.labels, [true, false, true, false]);
        let names: Vec<&str> = examples.table.columns.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["views", "month"]);
        let mut other = examples.clone();
        assert_eq!(other.fingerprint(), examples.fingerprint());
        other.labels[3] = true;
        assert_ne!(other.fingerprint(), examples.fingerprint());
    }

    #[test]
    fn what_is_no_target_is_said_with_its_row() {
        let fault =
            |target: &str, out: &[String]| Examples::new(table(), target, out).unwrap_err().to_string();
        assert!(fault("month", &[]).contains("row 1 of the target \"month\" is \"Feb\""));
        assert!(fault("views", &[]).contains("row 2"));
        assert!(
            fault("revenue", &[]).contains("there is no column \"revenue\"; there are views, month, bought")
        );
        assert!(fault("bought", &["shop".to_owned()]).contains("\"shop\""));
    }

    #[test]
    fn each_kind_has_its_recipes_and_asked_ones_win() {
        let table = table();
        let of = |kind| {
            let asked = [("views".to_owned(), Recipe::MinMax)];
            recipes(&table, kind, &asked).into_iter().map(|(_, recipe)| recipe).collect::<Vec<_>>()
        };
        assert_eq!(of(Kind::Boosting), [Recipe::MinMax, Recipe::Label, Recipe::Label]);
        assert_eq!(of(Kind::Logistic), [Recipe::MinMax, Recipe::OneHot, Recipe::OneHot]);
    }
}
