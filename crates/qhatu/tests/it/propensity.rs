//! `qhatu propensity`: a table in, a model out, the same answers from a folder and from the registry.

use std::fmt::Write;
use std::fs;

use serde_json::Value;

use crate::shop::Shop;

/// 400 sessions; who viewed more than six times and comes from an e-mail buys, nearly always.
fn sessions() -> String {
    let mut text = String::from("views,source,browser,bought\n");
    for row in 0..400_u32 {
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
