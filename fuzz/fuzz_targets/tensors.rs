//! A model's file: tensors that are read come back from their bytes, and a recommender or propensity model that loads
//! scores.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qhatu_models::propensity::Propensity;
use qhatu_models::trees::Columns;
use qhatu_models::{Act, History, TensorFile, Told, load_model, top_k};
use qhatu_schema::{Department, ItemIdx};

/// A catalogue larger than this is not scored here: a header may say so in a few bytes.
const ITEMS_MAX: usize = 1 << 16;

/// Rows of every kind of number, told and explained.
fn foretell(model: &Propensity) {
    let width = model.classifier.width();
    if width > ITEMS_MAX {
        return;
    }
    let rows = [0.0, 1.0, -3.5, 1e300, f64::NAN];
    let columns = vec![rows.to_vec(); width];
    model.probabilities(Columns::numbers(&columns)).expect("as many columns as features");
    model.classifier.contributions(&vec![1.0; width]);
    Propensity::load(&model.save()).expect("what a model saves is a model");
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = TensorFile::from_bytes(bytes) else { return };
    if let Ok(written) = file.to_bytes() {
        let again = TensorFile::from_bytes(&written).expect("what was written is read");
        // NaN is a number too, so bytes are compared.
        assert_eq!(again.to_bytes().expect("it was written before"), written);
    }
    if let Ok(model) = Propensity::load(&file) {
        foretell(&model);
    }
    let Ok(model) = load_model(&file) else { return };
    let size = model.catalogue_size();
    if size > ITEMS_MAX {
        return;
    }
    let items = [1, 2, 3, 2, u32::MAX].map(ItemIdx);
    let times = [0, 1, 86_400_000, 1_700_000_000_000, i64::MAX];
    let history =
        History::bought(&items, &times, 1_700_000_000_000).in_department(Department::of_ubigeo("010101"));
    let mut scores = vec![0.0; size + 1];
    model.score(&history, &mut scores);
    for scored in top_k(&scores, 5, |_| false) {
        model.because(&history, scored.item);
    }
    model.recommend_because(&history, 5, &|item| item.0 == 2);
    let mut told = Told::default();
    for (place, act) in Act::ALL.into_iter().cycle().take(items.len()).enumerate() {
        told.push(items[place], times[place], act);
    }
    model.recommend_because(&History { told: Some(&told), ..history }, 5, &|item| item.0 == 2);
    model.similar_items(ItemIdx(1), 5);
    load_model(&model.save()).expect("what a model saves is a model");
});
