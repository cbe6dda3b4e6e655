//! What a model loses when a column is shuffled (Breiman, 2001): permutation importance, on rows that judge.

use qhatu_eval::metrics;
use qhatu_models::Stream;
use qhatu_models::trees::Columns;
use qhatu_schema::{DenseColumn, DenseTable, Labels, Texts};

use super::artifact::Scorer;
use super::text::Rows;
use crate::error::TrainError;

/// For each column that the model takes, by how much ROC-AUC falls when it is shuffled, mean over `repeats`.
/// All numbers of a column (a category's columns of 0 and 1, a text's components) are shuffled together: a row is prepared
/// by itself, so that they are the numbers of the shuffled column. Columns that say the same thing share their
/// importance, so each seems to be worth little.
pub(super) fn importance(
    scorer: &Scorer,
    rows: Rows,
    labels: &[bool],
    repeats: usize,
    stream: Stream,
) -> Result<Vec<(String, f64)>, TrainError> {
    let auc = |prepared: &[Vec<f64>]| -> Result<f64, TrainError> {
        let told = scorer.model.probabilities(Columns::numbers(prepared))?;
        Ok(metrics::auc_roc(&told, labels).unwrap_or(0.5))
    };
    let prepared = scorer.prepare(rows)?;
    let sources = scorer.sources();
    let whole = auc(&prepared)?;
    let mut found = Vec::new();
    for (place, name) in scorer.columns().into_iter().enumerate() {
        let mut lost = 0.0;
        for repeat in 0..repeats {
            let order = stream.child(place as u64).child(repeat as u64).shuffled(labels.len());
            let mut shuffled = prepared.clone();
            for (numbers, _) in shuffled.iter_mut().zip(&sources).filter(|(_, source)| **source == name) {
                *numbers = order.iter().map(|row| numbers[*row]).collect();
            }
            lost += whole - auc(&shuffled)?;
        }
        found.push((name.to_owned(), lost / repeats.max(1) as f64));
    }
    Ok(found)
}

/// The rows of a column in another order, or some of them.
pub(super) fn pick(column: &DenseColumn, rows: &[usize]) -> DenseColumn {
    match column {
        DenseColumn::Float(values) => DenseColumn::Float(rows.iter().map(|row| values[*row]).collect()),
        DenseColumn::Time(values) => DenseColumn::Time(rows.iter().map(|row| values[*row]).collect()),
        DenseColumn::Text(texts) => {
            DenseColumn::Text(rows.iter().map(|row| texts.get(*row)).collect::<Texts>())
        }
        DenseColumn::Label(labels) => DenseColumn::Label(Labels {
            codes: rows.iter().map(|row| labels.codes[*row]).collect(),
            texts: labels.texts.clone(),
        }),
    }
}

/// Some rows of a table.
pub(super) fn pick_rows(table: &DenseTable, rows: &[usize]) -> DenseTable {
    let of = |(name, column): &(String, DenseColumn)| (name.clone(), pick(column, rows));
    DenseTable { columns: table.columns.iter().map(of).collect() }
}
