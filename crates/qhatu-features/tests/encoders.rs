//! Imputing, scaling and encoding against scikit-learn's numbers, made by golden/encoders.py.

use qhatu_features::{Preparation, Recipe};
use qhatu_schema::{DenseColumn, DenseTable};
use serde_json::Value;

#[test]
fn the_numbers_are_scikit_learns() {
    let golden: Value = serde_json::from_str(include_str!("golden/encoders.json")).unwrap();
    let floats = |values: &Value| -> Vec<f64> {
        values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect()
    };
    let mut columns: Vec<(String, DenseColumn)> = Vec::new();
    for (name, values) in golden["numbers"].as_object().unwrap() {
        columns.push((name.clone(), DenseColumn::Float(floats(values))));
    }
    let categories = golden["category"].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
    columns.push(("category".to_owned(), DenseColumn::Label(categories.collect())));
    let table = DenseTable { columns };
    let rows: Vec<usize> = (0..usize::try_from(golden["training_rows"].as_u64().unwrap()).unwrap()).collect();

    let mut compared = 0;
    for (name, expected) in golden["expected"].as_object().unwrap() {
        let (column, recipe) = name.split_once('.').unwrap();
        let recipe: Recipe = serde_json::from_value(recipe.into()).unwrap();
        let fitted = Preparation::fit(&[(column, recipe)], &table, &rows).unwrap();
        let found = fitted.transform(&table).unwrap();
        let expected = match recipe {
            Recipe::OneHot => expected.as_array().unwrap().iter().map(floats).collect(),
            _ => vec![floats(expected)],
        };
        assert_eq!(found.len(), expected.len(), "{name}");
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            // scikit-learn's -1 for a category that training did not see is our gap.
            let same = (found.is_nan() && *expected == -1.0)
                || (found - expected).abs() <= 1e-12 * expected.abs().max(1.0);
            assert!(same, "{name}: {found}, scikit-learn {expected}");
            compared += 1;
        }
    }
    assert_eq!(compared, 5 * 3 * 100 + 3 * 100 + 100);
}
