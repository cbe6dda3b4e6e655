//! `qhatu propensity`: a table in, a model out, the same answers from a folder and from the registry.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::shop::Shop;

/// 400 sessions; who viewed more than six times and comes from an e-mail buys, nearly always.
pub(crate) fn sessions() -> String {
    sessions_of(400)
}

fn sessions_of(rows: u32) -> String {
    let mut text = String::from("views,source,browser,bought\n");
    for row in 0..rows {
        let (views, source) = (row * 7 % 13, ["mail", "search", "direct"][(row % 3) as usize]);
        let bought = (views > 6 && source == "mail") != (row % 41 == 0);
        let shown = if row % 17 == 0 { String::new() } else { views.to_string() };
        let _ = writeln!(text, "{shown},{source},{},{bought}", row % 4);
    }
    text
}

#[test]
fn a_model_is_fitted_kept_and_scores_from_folder_and_registry() {
    let shop = Shop::new();
    fs::write(shop.dir().join("sessions.csv"), sessions()).unwrap();
    let fit = ["propensity", "fit", "sessions.csv", "--target", "bought", "--categories", "browser"];
    let said = shop.succeed(&[&fit[..], &["--out", "model", "--dir", ".", "--trees", "30"]].concat());
    for words in [
        "roc_auc",
        "over 5 folds",
        "told yes",
        "views",
        "the model is in model",
        "registered as propensity 1",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let report: Value =
        serde_json::from_slice(&fs::read(shop.dir().join("model/report.json")).unwrap()).unwrap();
    assert!(report["over_folds"]["roc_auc"]["mean"].as_f64().unwrap() > 0.8, "{report}");
    assert_eq!(report["folds"].as_array().unwrap().len(), 5);
    let from_folder =
        shop.succeed(&["propensity", "score", "sessions.csv", "--model", "model", "--categories", "browser"]);
    let from_registry =
        shop.succeed(&["propensity", "score", "sessions.csv", "--dir", ".", "--categories", "browser"]);
    assert_eq!(from_folder, from_registry);
    assert_eq!(from_folder.lines().count(), 400);
    let first: Value = serde_json::from_str(from_folder.lines().next().unwrap()).unwrap();
    assert!(first["probability"].as_f64().is_some_and(|p| (0.0..=1.0).contains(&p)), "{first}");
    let explained = ["propensity", "explain", "sessions.csv", "--model", "model", "--row", "1", "--json"];
    let explained = shop.json(&[&explained[..], &["--categories", "browser"]].concat());
    assert_eq!(explained["probability"], first["probability"]);
    assert_eq!(explained["columns"].as_array().unwrap().len(), 3, "{explained}");
    // The same seed gives the same bytes.
    shop.succeed(&[&fit[..], &["--out", "again", "--trees", "30"]].concat());
    for file in ["model.safetensors", "preparation.json", "report.json"] {
        let of = |folder: &str| fs::read(shop.dir().join(folder).join(file)).unwrap();
        assert!(of("model") == of("again"), "{file}");
    }
}

/// Only what is not worse than the champion on the same rows and folds becomes champion, and the champion scores.
#[test]
fn a_worse_model_is_not_promoted() {
    let shop = Shop::new();
    fs::write(shop.dir().join("sessions.csv"), sessions()).unwrap();
    fs::write(shop.dir().join("more.csv"), sessions_of(520)).unwrap();
    let narrow: String = sessions()
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>())
        .fold(String::new(), |text, row| text + &format!("{},{},{}\n", row[0], row[2], row[3]));
    fs::write(shop.dir().join("narrow.csv"), narrow).unwrap();
    let fit = |table: &str, more: &[&str]| {
        let words = ["propensity", "fit", table, "--target", "bought", "--trees", "30", "--dir", "."];
        shop.succeed(&[&words[..], more].concat())
    };
    let says = |said: String, parts: &[&str]| {
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
    };
    let blind = ["--leave-out", "source"];
    says(
        fit("sessions.csv", &blind),
        &["propensity 1 is promoted to champion; better: folds.roc_auc", "of chance"],
    );
    says(
        fit("sessions.csv", &[]),
        &["propensity 2 is promoted to champion; better", "of champion v1 (boosting), difference"],
    );
    let told = || shop.succeed(&["propensity", "score", "sessions.csv", "--dir", "."]);
    let best = told();
    says(
        fit("sessions.csv", &blind),
        &["propensity 3 is not promoted; not better", "--past-gate promotes it"],
    );
    assert_eq!(told(), best, "the champion scores, not the newest version");
    // Other rows: the champion's settings are judged on them.
    says(fit("more.csv", &blind), &["propensity 4 is not promoted; not better", "of champion v2"]);
    says(fit("more.csv", &[]), &["propensity 5 is promoted to champion; not worse", "of champion v2"]);
    says(
        fit("narrow.csv", &[]),
        &["propensity 6 is not promoted; champion v5 cannot be judged on these rows", "\"source\""],
    );
    assert_ne!(told(), best);
    says(fit("narrow.csv", &["--past-gate"]), &["propensity 7 is promoted to champion; past the gate"]);
    says(told(), &["\"row\":400"]);
}

#[test]
fn a_model_that_the_gate_refused_does_not_score() {
    let shop = Shop::new();
    let rows = (0..200).map(|row| format!("same,{}\n", row % 3 == 0));
    let text = rows.fold(String::from("source,bought\n"), |text, row| text + &row);
    fs::write(shop.dir().join("blind.csv"), text).unwrap();
    let fit = ["propensity", "fit", "blind.csv", "--target", "bought", "--trees", "5", "--dir", "."];
    let said = shop.succeed(&fit);
    assert!(said.contains("propensity 1 is not promoted"), "{said}");
    let score = ["propensity", "score", "blind.csv", "--dir", "."];
    let said = shop.fail(&score);
    assert!(
        said.contains("no propensity model passed the gate yet") && said.contains("--past-gate"),
        "{said}"
    );
    shop.succeed(&[&fit[..], &["--past-gate"]].concat());
    assert!(shop.succeed(&score).contains("\"row\":200"));
}

#[test]
fn a_shop_learns_which_of_its_own_shoppers_buy_next() {
    let shop = Shop::new();
    let fit = ["propensity", "fit", "--shoppers", "7", "--windows", "5", "--dir", "."];
    let report = shop.json(&[&fit[..], &["--model", "logistic", "--json"]].concat());
    // Of five windows the first teaches and the second teaches the calibration too.
    assert_eq!(report["folds"].as_array().unwrap().len(), 3);
    let trained = |fold: usize| report["folds"][fold]["training_rows"].as_u64().unwrap();
    assert_eq!(
        [trained(0), trained(1), trained(2)],
        [180, 270, 360],
        "90 shoppers a window, none of a later one"
    );
    assert!(report["over_folds"]["roc_auc"]["mean"].as_f64().unwrap() > 0.5, "{report}");
    // What foretells another thing takes no champion's place.
    let other =
        ["propensity", "fit", "--shoppers", "9", "--windows", "4", "--dir", ".", "--model", "logistic"];
    let said = shop.succeed(&other);
    let reason =
        "champion v1 foretells \"a purchase within 7 days\", this version \"a purchase within 9 days\"";
    assert!(said.contains(reason) && said.contains("--past-gate promotes it"), "{said}");
    let score = ["propensity", "score", "--shoppers", "--dir", ".", "--as-of", "2026-06-20"];
    let told = shop.succeed(&score);
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 90);
    let known = |line: &Value| line["user_id"].as_str().is_some_and(|user| user.starts_with('u'));
    assert!(lines.iter().all(known), "{told}");
    let parquet = [&score[..], &["--out", "told.parquet"]].concat();
    assert!(shop.succeed(&parquet).contains("90 rows in told.parquet"));
    let says = |words: &[&str], part: &str| {
        let said = shop.fail(words);
        assert!(said.contains(part), "{part}: {said}");
    };
    says(
        &["propensity", "fit", "--shoppers", "28", "--windows", "40", "--dir", "."],
        "take fewer or shorter windows",
    );
    says(&[&fit[..], &["--leave-out", "nose"]].concat(), "--leave-out nose: shoppers have no such feature");
    says(&["propensity", "score", "--shoppers", "--dir", ".", "--as-of", "soon"], "--as-of");
}

#[test]
fn what_is_wrong_is_said() {
    let shop = Shop::new();
    let dir = shop.dir();
    fs::write(dir.join("sessions.csv"), sessions()).unwrap();
    let says = |words: &[&str], part: &str| {
        let said = shop.fail(words);
        assert!(said.contains(part), "{part}: {said}");
    };
    let fit = ["propensity", "fit", "sessions.csv", "--out", "model"];
    let with = |more: &[&'static str]| [&fit[..], more].concat();
    says(&with(&["--target", "revenue"]), "there is no column \"revenue\"; there are views, source");
    says(&with(&["--target", "source"]), "row 1 of the target \"source\" is \"mail\"");
    says(&with(&["--target", "bought", "--recipe", "views=one_hot"]), "holds numbers");
    says(&with(&["--target", "bought", "--recipe", "price=mean"]), "no such column");
    says(&with(&["--target", "bought", "--folds", "1"]), "folds = 1");
    says(&["propensity", "score", "sessions.csv", "--model", "nowhere"], "nowhere");
    says(&["propensity", "explain", "sessions.csv", "--dir", ".", "--row", "1"], "no propensity model yet");
    says(&["propensity", "score", "sessions.csv", "--dir", "."], "there is no propensity model yet");
    shop.succeed(&with(&["--target", "bought", "--trees", "3"]));
    let path = dir.join("model/model.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    says(&["propensity", "score", "sessions.csv", "--model", "model"], "not a whole safetensors file");
}

pub(crate) fn text_model() -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../qhatu-text/tests/golden/tiny_bert");
    folder.to_string_lossy().into_owned()
}

/// 400 searches of three words each; whoever looks for a "q" buys, and nothing else in the table says so.
pub(crate) fn searches() -> String {
    let mut random = 1_u64;
    let mut below = move |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let mut text = String::from("views,query,code,bought\n");
    for row in 0..400 {
        let (views, bought) = (below(17), below(10) < 4);
        let mut word = || char::from(b'a' + below(9) as u8);
        let words = [word(), if bought { 'q' } else { word() }, word()];
        let shown = match row % 50 {
            7 => String::new(),
            _ => words.map(String::from).join(" "),
        };
        let _ = writeln!(text, "{views},{shown},{row},{bought}");
    }
    text
}

/// What only a text says is found by every kind of model that reads it, and by none that does not.
#[test]
fn a_text_tells_what_no_other_column_does() {
    let shop = Shop::new();
    fs::write(shop.dir().join("searches.csv"), searches()).unwrap();
    let model = text_model();
    let fit = ["propensity", "fit", "searches.csv", "--target", "bought", "--json", "--leave-out"];
    let read = ["code", "--text", "query", "--text-model", &model];
    let auc = |report: &Value| report["over_folds"]["roc_auc"]["mean"].as_f64().unwrap();
    let blind = shop.json(&[&fit[..], &["code,query", "--trees", "20", "--out", "blind"]].concat());
    assert!((auc(&blind) - 0.5).abs() < 0.15, "{}", auc(&blind));
    for kind in ["boosting", "forest", "logistic", "attention", "ensemble"] {
        let how = ["--model", kind, "--trees", "40", "--epochs", "30", "--out", kind];
        let report = shop.json(&[&fit[..], &read[..], &how[..]].concat());
        assert!(auc(&report) > 0.8, "{kind}: {}", auc(&report));
        // The text is one feature, whatever it is made of.
        let importance = report["importance"].as_array().unwrap();
        assert_eq!(
            (importance.len(), &importance[0][0]),
            (2, &Value::from("query")),
            "{kind}: {importance:?}"
        );
        let of = ["searches.csv", "--model", kind, "--text-model", &model];
        let told = shop.succeed(&[&["propensity", "score"], &of[..]].concat());
        let first: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
        let why = shop.json(&[&["propensity", "explain", "--row", "1", "--json"], &of[..]].concat());
        assert_eq!(why["probability"], first["probability"], "{kind}");
        let columns = why["columns"].as_array().unwrap();
        assert_eq!((columns.len(), &columns[0][0]), (2, &Value::from("query")), "{kind}: {columns:?}");
    }
    // The same seed gives the same bytes.
    shop.json(&[&fit[..], &read[..], &["--trees", "40", "--out", "again"]].concat());
    let of = |folder: &str| fs::read(shop.dir().join(folder).join("model.safetensors")).unwrap();
    assert!(of("boosting") == of("again"));
}

#[test]
fn what_is_wrong_with_texts_is_said() {
    let shop = Shop::new();
    let dir = shop.dir();
    fs::write(dir.join("searches.csv"), searches()).unwrap();
    let model = text_model();
    let says = |words: &[&str], part: &str| {
        let said = shop.fail(words);
        assert!(said.contains(part), "{part}: {said}");
    };
    let fit = ["propensity", "fit", "searches.csv", "--target", "bought", "--out", "model", "--trees", "5"];
    let with = |column: &str, folder: &str, more: &[&str]| -> Vec<String> {
        let own = ["--text", column, "--text-model", folder];
        fit.iter().chain(&own).chain(more).map(|word| (*word).to_owned()).collect()
    };
    let wrong = |column: &str, folder: &str, more: &[&str], part: &str| {
        let words = with(column, folder, more);
        says(&words.iter().map(String::as_str).collect::<Vec<_>>(), part);
    };
    wrong(
        "title",
        &model,
        &[],
        "--text title: there is no such column; there are views, query, code, bought",
    );
    wrong("views", &model, &[], "--text views: the column holds numbers, not texts");
    wrong("query,query", &model, &[], "a column is named once");
    wrong("query", "nowhere", &[], "--text-model nowhere: there is no such folder");
    wrong("query", ".", &[], "config.json");
    wrong("query", &model, &["--leave-out", "query"], "named by --leave-out too");
    wrong("query", &model, &["--recipe", "query=one_hot"], "named by --recipe too");
    wrong("query", &model, &["--categories", "query"], "named by --categories too");
    wrong("bought", &model, &[], "named by --target too");
    wrong("query", &model, &["--text-width", "0"], "text_width = 0");
    let shoppers =
        ["propensity", "fit", "--shoppers", "7", "--dir", ".", "--text", "query", "--text-model", &model];
    assert_eq!(shop.run(&shoppers).status.code(), Some(2), "shoppers have no column of texts");
    for alone in [["--text", "query"], ["--text-model", &model]] {
        let status = shop.run(&[&fit[..], &alone[..]].concat()).status;
        assert_eq!(status.code(), Some(2), "one is nothing without the other");
    }
    let words = with("query", &model, &[]);
    shop.succeed(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let score = ["propensity", "score", "searches.csv", "--model", "model"];
    says(&score, "the model reads the texts of query; name the text model");
    // Another text model: the same with two letters exchanged.
    let other = dir.join("other");
    fs::create_dir(&other).unwrap();
    for file in ["config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"] {
        fs::copy(PathBuf::from(&model).join(file), other.join(file)).unwrap();
    }
    let words = fs::read_to_string(other.join("vocab.txt")).unwrap();
    fs::write(other.join("vocab.txt"), words.replace("\nk\nl\n", "\nl\nk\n")).unwrap();
    says(&[&score[..], &["--text-model", "other"]].concat(), "fitted with another text model");
    fs::write(dir.join("short.csv"), "views\n3\n").unwrap();
    let short = ["propensity", "score", "short.csv", "--model", "model", "--text-model", &model];
    says(&short, "--text query: there is no such column");
    shop.succeed(&[&fit[..], &["--leave-out", "query"]].concat());
    says(&[&score[..], &["--text-model", &model]].concat(), "the model was fitted without texts");
}
