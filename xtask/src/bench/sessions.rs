//! Retailrocket's sessions: how well each model names the next item of every test prefix (items of the prefix stay in the
//! list), beside the papers' formulas written on NumPy with the same settings; and what a query of VSTAN costs.
//!
//! Settings were chosen on the last 4,700 training sessions (`examples/sessions.rs` with `last:4700`), never on the test.

use std::path::Path;

use serde_json::Value;

use super::knn::{self, Percentiles};
use super::{Row, Spread, mean};
use crate::tools;

const ROUNDS: usize = 3;
/// NumPy is timed on every so-manieth prefix only.
const PEER_EVERY: &str = "8";

/// A row of the table.
struct Asked {
    what: &'static str,
    model: &'static str,
    settings: &'static str,
    /// What it must reach in HR@20 and MRR@20, and what may lack.
    goal: Option<[f64; 2]>,
    slack: f64,
    /// Whether it stands beside NumPy, which takes five minutes for a row.
    on_numpy: bool,
    /// With how many seeds it is fitted.
    seeds: u64,
}

/// What counts as equal to a figure that was measured elsewhere.
const SLACK: f64 = 0.01;
const PLAIN: Asked =
    Asked { what: "", model: "", settings: "", goal: None, slack: SLACK, on_numpy: false, seeds: 1 };
const NEAR: Asked = Asked { model: "vstan", ..PLAIN };
const RULES: Asked = Asked { model: "decayed_markov", ..PLAIN };
const MIXTURE: Asked =
    Asked { model: "lambda_mart", goal: Some([0.60, 0.31]), slack: 0.0, seeds: 3, ..PLAIN };

const ASKED: [Asked; 8] = [
    Asked { what: "VSTAN", settings: VSTAN, goal: Some([0.568, 0.288]), on_numpy: true, ..NEAR },
    Asked { what: "STAN", settings: STAN, goal: Some([0.566, 0.287]), ..NEAR },
    Asked { what: "VS-kNN", settings: VS_KNN, goal: Some([0.552, 0.273]), ..NEAR },
    Asked {
        what: "rules of all items of the prefix",
        settings: r#"{"window":10,"normalization":0.5,"k":500}"#,
        goal: Some([0.496, 0.237]),
        ..RULES
    },
    Asked {
        what: "rules of the last item alone",
        settings: r#"{"window":10,"history_window":1,"normalization":0.5,"k":500}"#,
        ..RULES
    },
    Asked {
        what: "the prefix's own items",
        model: "own_frequency",
        settings: r#"{"half_life_days":1e-7}"#,
        goal: Some([0.391, 0.260]),
        ..PLAIN
    },
    // The goal is that of the mixture with a sequence model; what it brings is the difference.
    Asked { what: "VSTAN and rules, sorted by trees", settings: SORTED, goal: None, ..MIXTURE },
    Asked { what: "the same and GRU4Rec", settings: SORTED_WITH_GRU, ..MIXTURE },
];

const VSTAN: &str = r#"{"m":1500,"k":100,"max_length":50,"lambda_spw":7.24,"lambda_ipw":3.62,"lambda_inh":3.62,"lambda_snh":80,"lambda_idf":2}"#;
const STAN: &str = r#"{"m":1500,"k":500,"max_length":50,"lambda_spw":1.81,"weighting_score":"same","lambda_inh":1.81,"lambda_snh":80,"lambda_idf":0}"#;
const VS_KNN: &str = r#"{"m":1500,"k":500,"max_length":50,"weighting":"log","similarity":"vec","weighting_score":"log","lambda_inh":0,"lambda_snh":0,"lambda_idf":5}"#;

const SORTED: &str =
    r#"{"held_out_days":5,"parts":{"vstan":{},"decayed_markov":{"window":10,"normalization":0.5,"k":500}}}"#;
const SORTED_WITH_GRU: &str = r#"{"held_out_days":5,"parts":{"vstan":{},"decayed_markov":{"window":10,"normalization":0.5,"k":500},"gru4rec":{"steps":"items","repeats":false,"trend":false,"objective":"sampled_softmax","negatives":2048,"hidden_size":64,"batch_size":256,"parts":2,"max_length":40,"hidden_dropout_prob":0.3,"item_dropout_prob":0.0,"weight_decay":0.01,"learning_rate":0.003,"recency_half_life_days":0,"horizon_days":0,"validation_days":1,"refit":true,"warmup_steps":100,"epochs":5}}}"#;

pub(crate) fn run(root: &Path) -> Result<Vec<Row>, String> {
    let example = knn::example(root)?.to_string_lossy().into_owned();
    let folder = knn::sessions(root, "retailrocket")?;
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (train, test) = (file("train.txt"), file("test.tsv"));
    let python = tools::python(root)?.to_string_lossy().into_owned();
    let numpy = |settings: &str, every: &str| {
        knn::json(root, &python, &["benches/peers/vstan_numpy.py", &train, &test, settings, every])
    };
    let mut rows = Vec::new();
    for asked in &ASKED {
        let fit = |seed: u64| {
            let model = format!("{}@{seed}", asked.model);
            knn::json(root, &example, &[&train, &test, &model, asked.settings])
        };
        let ours = (1..=asked.seeds).map(fit).collect::<Result<Vec<_>, _>>()?;
        let peer = if asked.on_numpy { Some(numpy(asked.settings, "1")?) } else { None };
        rows.extend(quality(asked, &ours, peer.as_ref())?);
    }
    let (mut ours, mut theirs, mut version) = (Percentiles::default(), Percentiles::default(), String::new());
    for _ in 0..ROUNDS {
        ours.add(&knn::json(root, &example, &[&train, &test, "vstan", VSTAN])?)?;
        let said = numpy(VSTAN, PEER_EVERY)?;
        version = format!("VSTAN's formulas on NumPy {}", said["numpy"].as_str().unwrap_or("?"));
        theirs.add(&said)?;
    }
    rows.extend(knn::against("retailrocket by VSTAN", &ours, (&version, &theirs)));
    Ok(rows)
}

fn quality(asked: &Asked, ours: &[Value], peer: Option<&Value>) -> Result<Vec<Row>, String> {
    let figure =
        |said: &Value, name: &str| said[name].as_f64().ok_or_else(|| format!("{said} has no {name}"));
    let row = |place: usize| -> Result<Row, String> {
        let (name, metric) = [("hr_at_20", "HR@20"), ("mrr_at_20", "MRR@20")][place];
        let own = ours.iter().map(|said| figure(said, name)).collect::<Result<Vec<_>, _>>()?;
        let mean = mean(&own);
        let peer = peer.map(|said| -> Result<_, String> {
            let version = said["numpy"].as_str().unwrap_or("?");
            Ok((format!("the formulas on NumPy {version}"), Spread::of(&[figure(said, name)?])))
        });
        let goal = asked.goal.map(|goal| goal[place]);
        Ok(Row {
            what: format!("{}, {metric}", asked.what),
            unit: String::new(),
            ours: Spread::of(&own),
            peer: peer.transpose()?,
            ratio: None,
            goal: goal.map_or("reported".to_owned(), |goal| match asked.slack {
                0.0 => format!("≥ {goal:.3}, mean of the seeds"),
                slack => format!("≥ {goal:.3} less {:.0} %", 100.0 * slack),
            }),
            reached: goal.map(|goal| mean >= goal * (1.0 - asked.slack)),
        })
    };
    [0, 1].into_iter().map(row).collect()
}
