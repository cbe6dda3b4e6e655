//! Fitted trees as XGBoost's JSON with rows and our margins for `tests/python/xgboost_check.py`, on standard output.

use std::io::{Write, stdout};

use qhatu_models::trees::{
    BoostingConfig, Columns, ForestConfig, Growth, Lesson, Objective, Target, TreeEnsemble, fit_boosting,
    fit_forest,
};
use qhatu_models::{ModelError, Stream};
use serde_json::{Value, json};

const ROWS: u64 = 1500;
const CATEGORICAL: [bool; 5] = [false, false, true, false, true];

fn main() -> Result<(), ModelError> {
    let random = Stream::new(20_261_125);
    let value = |feature: u64, row: u64| match random.child(feature).below(row, 12) {
        0 => f64::NAN,
        _ if CATEGORICAL[feature as usize] => random.child(50 + feature).below(row, 9) as f64,
        _ => (random.child(50 + feature).at(row) >> 40) as f64 / 1000.0 - 5000.0,
    };
    let columns: Vec<Vec<f64>> =
        (0..5).map(|feature| (0..ROWS).map(|row| value(feature, row)).collect()).collect();
    let sum = |row: usize| -> f64 {
        let weigh = |(place, column): (usize, &Vec<f64>)| match column[row] {
            value if value.is_nan() => 0.7,
            value if CATEGORICAL[place] => (value * 5.0) % 4.0,
            value => value / 4000.0,
        };
        columns.iter().enumerate().map(weigh).sum()
    };
    let labels: Vec<f32> =
        (0..ROWS as usize).map(|row| f32::from(u8::from(sum(row) + 0.3 * (row % 7) as f64 > 4.0))).collect();
    let sums: Vec<f32> = (0..ROWS as usize).map(|row| sum(row) as f32).collect();
    let learned = Columns { values: &columns, categorical: &CATEGORICAL };
    let boosted = |objective, labels: &[f32]| -> Result<TreeEnsemble, ModelError> {
        let target = Target::new(labels);
        let lesson = Lesson { columns: learned, target, objective, validation: None };
        let growth = Growth { leaves: 15, ..Growth::default() };
        let config = BoostingConfig { rounds: 50, growth, ..BoostingConfig::default() };
        Ok(fit_boosting(&lesson, &config, 1)?.trees)
    };
    let forest = ForestConfig { trees: 20, ..ForestConfig::default() };
    let models = [
        (Objective::Logistic, boosted(Objective::Logistic, &labels)?),
        (Objective::Squared, boosted(Objective::Squared, &sums)?),
        (Objective::Squared, fit_forest(learned, &Target::new(&labels), &forest, 1)?),
    ];
    let names = ["a", "b", "c", "d", "e"].map(str::to_owned);
    let exported: Vec<Value> = models
        .iter()
        .map(|(objective, trees)| {
            Ok(json!({
                "model": trees.to_xgboost(*objective, &names),
                "margins": trees.margins(learned)?,
            }))
        })
        .collect::<Result<_, ModelError>>()?;
    let row =
        |row: usize| columns.iter().map(|column| column[row].is_finite().then_some(column[row])).collect();
    let rows: Vec<Vec<Option<f64>>> = (0..ROWS as usize).map(row).collect();
    let all = json!({ "rows": rows, "categorical": CATEGORICAL, "models": exported });
    // Where nobody reads there is nobody to tell.
    drop(writeln!(stdout(), "{all}"));
    Ok(())
}
