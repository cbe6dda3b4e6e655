//! Propensity end to end: the mission's worked example, real sessions with the figures to reach, and proof that
//! nothing learns from rows that judge.
#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use std::path::Path;

use qhatu_features::Recipe;
use qhatu_models::propensity::Kind;
use qhatu_models::trees::ForestConfig;
use qhatu_models::{Stream, propensity};
use qhatu_schema::{DenseColumn, DenseTable};
use qhatu_train::propensity::{Balance, Examples, PropensityConfig, Scorer, recipes, train};

/// The rows of the worked example: 10,000 of them, one in fifty of the prices and views missing.
fn worked_example() -> DenseTable {
    let random = Stream::new(2026);
    let between = |of: u64, row: u64, low: i64, high: i64| {
        let span = usize::try_from(high - low + 1).unwrap();
        low as f64 + random.child(of).below(row, span) as f64
    };
    let gap = |of: u64, row: u64, value: f64| {
        if random.child(100 + of).below(row, 50) == 0 { f64::NAN } else { value }
    };
    let rows = 0..10_000_u64;
    let views: Vec<f64> = rows.clone().map(|row| gap(0, row, between(0, row, 1, 20))).collect();
    let searches: Vec<f64> = rows.clone().map(|row| between(1, row, 0, 10)).collect();
    let clicks: Vec<f64> = rows.clone().map(|row| between(2, row, 0, 5)).collect();
    let categories = ["Electronics", "Clothing", "Books"];
    let category = rows.clone().map(|row| categories[random.child(3).below(row, 3)]);
    let price: Vec<f64> = rows.clone().map(|row| gap(4, row, between(4, row, 10, 1000))).collect();
    let user = |row: u64| {
        let (high, low) = (random.child(5).at(row), random.child(6).at(row));
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    };
    let users: Vec<String> = rows.clone().map(user).collect();
    let score = (0..10_000).map(|row| views[row] + searches[row] + clicks[row]).collect();
    let target = clicks.iter().map(|clicks| f64::from(u8::from(*clicks > 2.0))).collect();
    let float = |name: &str, values: Vec<f64>| (name.to_owned(), DenseColumn::Float(values));
    DenseTable {
        columns: vec![
            ("user_id".to_owned(), DenseColumn::Text(users.iter().map(String::as_str).collect())),
            float("num_product_views", views),
            float("num_search_queries", searches),
            float("num_clicks", clicks),
            ("product_category".to_owned(), DenseColumn::Label(category.collect())),
            float("product_price", price),
            float("engagement_score", score),
            float("target_variable", target),
        ],
    }
}

fn files(scorer: &Scorer) -> Scorer {
    let files = scorer.to_files().unwrap();
    let find = |name: &str| files.iter().find(|(known, _)| *known == name).map(|(_, bytes)| bytes.as_slice());
    Scorer::from_files(find).unwrap()
}

#[test]
fn the_missions_worked_example() {
    let examples = Examples::new(worked_example(), "target_variable", &["user_id".to_owned()]).unwrap();
    let recipes = [
        ("num_product_views", Recipe::Standard),
        ("num_search_queries", Recipe::Standard),
        ("num_clicks", Recipe::Standard),
        ("engagement_score", Recipe::Standard),
        ("product_price", Recipe::Mean),
        ("product_category", Recipe::OneHot),
    ]
    .map(|(name, recipe)| (name.to_owned(), recipe));
    let model = propensity::Config {
        kind: Kind::Forest,
        forest: ForestConfig { trees: 100, ..ForestConfig::default() },
        ..propensity::Config::default()
    };
    // Five folds: each is a split of 80 to 20 with a fixed seed.
    let config = PropensityConfig { model, importance_repeats: 1, ..PropensityConfig::default() };
    let trained = train(&examples, &recipes, &config).unwrap();
    let first = &trained.report.folds[0];
    assert_eq!((first.training_rows, first.figures.rows), (8000, 2000));
    // The target is a function of an input, so a model that learned anything is right everywhere.
    assert_eq!(first.figures.accuracy, 1.0);
    assert!(trained.report.pooled.roc_auc > 0.9999, "{:?}", trained.report.pooled);
    let (leading, lost) = &trained.report.importance[0];
    assert!(leading == "num_clicks" && *lost > 0.3, "{:?}", trained.report.importance);
    assert!(trained.report.importance[1..].iter().all(|(_, lost)| *lost < 0.05));
    let why = trained.scorer.explain(&examples.table, 0).unwrap();
    assert_eq!((why.columns.len(), why.columns[0].0.as_str()), (6, "num_clicks"), "{why:?}");
    assert!(trained.scorer.explain(&examples.table, 10_000).is_err());
    // Stored and loaded again it says the same.
    let loaded = files(&trained.scorer);
    assert_eq!(loaded, trained.scorer);
    let told = trained.scorer.probabilities(&examples.table).unwrap();
    assert_eq!(loaded.probabilities(&examples.table).unwrap(), told);
    let right =
        told.iter().zip(&examples.labels).filter(|(p, y)| (**p >= loaded.model.threshold) == **y).count();
    assert_eq!(right, 10_000);
}

fn shoppers() -> DenseTable {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = qhatu_store::read_table(&root.join("data/online_shoppers/online_shoppers.parquet")).unwrap();
    DenseTable::from(&table)
}

/// The real sessions at their natural share of buyers.
#[test]
fn real_sessions_reach_the_figures() {
    let examples = Examples::new(shoppers(), "Revenue", &[]).unwrap();
    assert_eq!(examples.labels.iter().filter(|label| **label).count(), 1908);
    let config = PropensityConfig { importance_repeats: 0, ..PropensityConfig::default() };
    let report = train(&examples, &recipes(&examples.table, Kind::Boosting, &[]), &config).unwrap().report;
    let of = |name: &str| report.over_folds[name].mean;
    let found = (of("roc_auc"), of("pr_auc"), of("ece"));
    let found = (found, report.pooled.ece);
    assert!(found.0.0 >= 0.93 && found.0.1 >= 0.74 && found.0.2 <= 0.02 && found.1 <= 0.02, "{found:?}");
}

#[test]
fn every_kind_learns_and_balancing_touches_training_rows_alone() {
    let mut table = shoppers();
    table.columns.iter_mut().for_each(|(_, column)| *column = head(column, 3000));
    let examples = Examples::new(table, "Revenue", &[]).unwrap();
    for kind in [Kind::Boosting, Kind::Forest, Kind::Logistic] {
        for balance in [Balance::None, Balance::Weights, Balance::OverSample] {
            let mut config =
                PropensityConfig { balance, folds: 3, importance_repeats: 0, ..Default::default() };
            config.model.kind = kind;
            config.model.boosting.rounds = 40;
            config.model.forest.trees = 30;
            let recipes = recipes(&examples.table, kind, &[]);
            let report = train(&examples, &recipes, &config).unwrap().report;
            assert!(report.pooled.roc_auc > 0.8, "{kind:?} {balance:?} {}", report.pooled.roc_auc);
            // Judged at the natural share of buyers, and calibrated to it.
            assert_eq!(report.folds.iter().map(|fold| fold.figures.rows).sum::<usize>(), 3000);
            let told: f64 = report.pooled.reliability.iter().map(|bin| bin.told * bin.rows as f64).sum();
            let happened = examples.labels.iter().filter(|label| **label).count() as f64;
            assert!((told / happened - 1.0).abs() < 0.1, "{kind:?} {balance:?}: {told} {happened}");
        }
    }
}

fn head(column: &DenseColumn, rows: usize) -> DenseColumn {
    match column {
        DenseColumn::Float(values) => DenseColumn::Float(values[..rows].to_vec()),
        DenseColumn::Label(labels) => DenseColumn::Label((0..rows).map(|row| labels.get(row)).collect()),
        _ => panic!("no such column here"),
    }
}

/// What stands in rows that judge changes nothing of what is learned for them: not the encoders, not the model.
#[test]
fn nothing_learns_from_rows_that_judge() {
    let column = |by: usize| (0..60).map(|row| (row * by % 13) as f64).collect::<Vec<f64>>();
    let labels: Vec<f64> = (0..60).map(|row| f64::from(u8::from(row * 5 % 13 > 6))).collect();
    let table = |views: Vec<f64>, towns: [&'static str; 60]| DenseTable {
        columns: vec![
            ("views".to_owned(), DenseColumn::Float(views)),
            ("town".to_owned(), DenseColumn::Label(towns.into_iter().collect())),
            ("bought".to_owned(), DenseColumn::Float(labels.clone())),
        ],
    };
    let names = ["Lima", "Cusco", "Piura"];
    let towns = std::array::from_fn(|row| names[row % 3]);
    let config = PropensityConfig { folds: 3, importance_repeats: 0, ..PropensityConfig::default() };
    for kind in [Kind::Boosting, Kind::Logistic] {
        let mut config = config.clone();
        config.model.kind = kind;
        config.model.boosting.growth.min_rows_in_leaf = 2;
        let figures = |table: DenseTable| {
            let examples = Examples::new(table, "bought", &[]).unwrap();
            let recipes = recipes(&examples.table, kind, &[]);
            qhatu_train::propensity::fold_scorers(&examples, &recipes, &config).unwrap()
        };
        let plain = figures(table(column(5), towns));
        // Each fold's own rows become absurd in turn: its scorer stays the same to the bit, the others change.
        for (fold, (judging, scorer)) in plain.iter().enumerate() {
            let (mut views, mut towns) = (column(5), towns);
            for row in judging {
                views[*row] = 1e9 + *row as f64;
                towns[*row] = "Atlantis";
            }
            let other = figures(table(views, towns));
            assert_eq!(&other[fold].1, scorer, "{kind:?} {fold}");
            let next = (fold + 1) % 3;
            assert_ne!(other[next].1.preparation, plain[next].1.preparation);
        }
    }
}

#[test]
fn what_is_damaged_or_of_another_model_is_refused() {
    let examples = Examples::new(shoppers(), "Revenue", &[]).unwrap();
    let small = |columns: usize| {
        let mut examples = examples.clone();
        examples.table.columns.truncate(columns);
        examples.table.columns.iter_mut().for_each(|(_, column)| *column = head(column, 2000));
        examples.labels.truncate(2000);
        let mut config = PropensityConfig { folds: 2, importance_repeats: 0, ..PropensityConfig::default() };
        config.model.boosting.rounds = 5;
        let recipes = recipes(&examples.table, Kind::Boosting, &[]);
        (train(&examples, &recipes, &config).unwrap().scorer.to_files().unwrap(), examples)
    };
    let ((one, examples), (other, _)) = (small(4), small(5));
    let read = |model: &[u8], preparation: &[u8]| {
        Scorer::from_files(|name| match name {
            "model.safetensors" => Some(model),
            "preparation.json" => Some(preparation),
            _ => None,
        })
    };
    let loaded = read(&one[0].1, &one[1].1).unwrap();
    let said = loaded.probabilities(&DenseTable { columns: examples.table.columns[..3].to_vec() });
    assert!(said.unwrap_err().to_string().contains("there is no column \"Informational_Duration\""));
    assert!(read(&one[0].1, &other[1].1).unwrap_err().to_string().contains("not of one model"));
    assert!(Scorer::from_files(|_| None).unwrap_err().to_string().contains("is missing"));
    for cut in [0, 1, 8, 100, one[0].1.len() / 2, one[0].1.len() - 1] {
        assert!(read(&one[0].1[..cut], &one[1].1).is_err(), "{cut}");
    }
    for cut in [0, 1, one[1].1.len() / 2, one[1].1.len() - 1] {
        assert!(read(&one[0].1, &one[1].1[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn what_cannot_be_trained_on_is_said() {
    let table = |labels: Vec<f64>| DenseTable {
        columns: vec![
            ("a".to_owned(), DenseColumn::Float(vec![0.0; labels.len()])),
            ("y".to_owned(), DenseColumn::Float(labels)),
        ],
    };
    let fault = |labels: Vec<f64>, config: &PropensityConfig| {
        let examples = Examples::new(table(labels), "y", &[]).unwrap();
        train(&examples, &recipes(&examples.table, Kind::Boosting, &[]), config).unwrap_err().to_string()
    };
    let config = PropensityConfig::default();
    assert!(fault(vec![0.0; 30], &config).contains("0 of 30 rows are a yes"));
    assert!(fault(vec![1.0; 30], &config).contains("30 of 30 rows are a yes"));
    assert!(fault(vec![], &config).contains("0 of 0 rows"));
    let one_fold = PropensityConfig { folds: 1, ..config.clone() };
    assert!(fault(vec![0.0, 1.0], &one_fold).contains("folds = 1"));
    let mut bins = config;
    bins.model.boosting.growth.bins = 1;
    assert!(fault([0.0, 1.0].repeat(9), &bins).contains("bins = 1"));
}
