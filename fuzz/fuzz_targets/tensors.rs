//! A model's file: tensors that are read come back from their bytes, and a recommender, a propensity model or a map of texts
//! that loads scores.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qhatu_models::principal_components::PrincipalComponents;
use qhatu_models::propensity::Propensity;
use qhatu_models::trees::Columns;
use qhatu_models::{Act, FoldNow, History, TensorFile, Told, load_model, top_k};
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

/// A fold that says what may be said, and once in a while too little.
#[derive(Debug)]
struct Fold {
    columns: usize,
}

impl FoldNow for Fold {
    fn rows(&self, items: &[ItemIdx]) -> Vec<f32> {
        let said = [0.0, f32::NAN, -1.0, 1e30].into_iter().cycle();
        said.take((items.len() * self.columns).saturating_sub(items.len() % 3)).collect()
    }
}

/// A map of texts to components, alone in a file.
fn components(file: &TensorFile) {
    let Ok(map) = PrincipalComponents::load(file, "text.") else { return };
    if map.inputs() > ITEMS_MAX || map.width() > ITEMS_MAX {
        return;
    }
    let vectors = vec![0.5; 2 * map.inputs()];
    assert_eq!(map.transform(&vectors).len(), if map.inputs() > 0 { 2 * map.width() } else { 0 });
    let mut again = TensorFile::default();
    map.save(&mut again, "text.");
    PrincipalComponents::load(&again, "text.").expect("what a map saves is a map");
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = TensorFile::from_bytes(bytes) else { return };
    if let Ok(written) = file.to_bytes() {
        let again = TensorFile::from_bytes(&written).expect("what was written is read");
        // NaN is a number too, so bytes are compared.
        assert_eq!(again.to_bytes().expect("it was written before"), written);
    }
    components(&file);
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
    let fold = Fold { columns: model.fold_columns().len() };
    model.recommend_because(&History { fold: Some(&fold), only_seen: &[true, false], ..history }, 5, &|_| {
        false
    });
    model.similar_items(ItemIdx(1), 5);
    load_model(&model.save()).expect("what a model saves is a model");
});
