//! The report of a training that read titles by a text model: how it read a few, in JSON and on the page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::shop::Shop;

/// The smallest text model of the tests: random weights, letters as pieces.
fn text_model() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../qhatu-text/tests/golden/tiny_bert")
}

/// Titles of the 60 items, each a few letters; those of even and odd items begin alike.
fn catalogue() -> (String, BTreeMap<String, String>) {
    let (mut lines, mut titles) = (String::new(), BTreeMap::new());
    for item in 0..60_u8 {
        let letter = |by: u8| char::from(b'a' + item / 2 * by % 26);
        let title = format!("{} {} {}", ["a b", "x y"][usize::from(item % 2)], letter(1), letter(7));
        let _ = writeln!(lines, r#"{{"item_id":"i{item}","title":"{title}"}}"#);
        titles.insert(format!("i{item}"), title);
    }
    (lines, titles)
}

#[test]
fn the_report_shows_how_a_few_titles_are_read() {
    let shop = Shop::new();
    let (lines, titles) = catalogue();
    fs::write(shop.dir().join("items.jsonl"), lines).unwrap();
    shop.succeed(&["ingest", "--dir", ".", "items.jsonl"]);
    let models = ["--models", "recent_popularity,popularity,text_neighbours"];
    let file = shop.dir().join("qhatu.toml");
    let settings = fs::read_to_string(&file).unwrap();
    let named = settings.replacen("\nmodel = \"\"", &format!("\nmodel = {:?}", text_model()), 1);
    assert_ne!(settings, named, "[train.text_neighbours] model is there to be set");
    fs::write(&file, named).unwrap();
    let output = shop.run(&[&["train"], &models[..]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("{} read by ", titles.len())), "{said}");
    let read = |name: &str| fs::read_to_string(shop.data().join("reports").join(name)).unwrap();
    let report: Value = serde_json::from_str(&read("evaluation.json")).unwrap();
    let page = read("evaluation.html");
    let readings = report["titles"].as_array().unwrap();
    assert_eq!(readings.len(), 3);
    for reading in readings {
        let of = |key: &str| reading[key].as_str().unwrap();
        assert_eq!(
            (of("title"), of("nearest_title")),
            (titles[of("item")].as_str(), titles[of("nearest")].as_str())
        );
        assert_ne!(of("title"), of("nearest_title"));
        let (pieces, attention) =
            (reading["pieces"].as_array().unwrap(), reading["attention"].as_array().unwrap());
        let texts: Vec<&str> = pieces.iter().map(|piece| piece["text"].as_str().unwrap()).collect();
        assert_eq!(texts.join(" "), format!("[CLS] {} [SEP]", of("title")));
        assert_eq!(attention.len(), pieces.len());
        let sums_to_one = |values: Vec<f64>| (values.iter().sum::<f64>() - 1.0).abs() < 2e-3;
        assert!(sums_to_one(pieces.iter().map(|piece| piece["share"].as_f64().unwrap()).collect()));
        for row in attention {
            assert!(sums_to_one(
                row.as_array().unwrap().iter().map(|share| share.as_f64().unwrap()).collect()
            ));
        }
        assert!(pieces.iter().any(|piece| piece["adds"].as_f64().unwrap() != 0.0));
        for part in [of("title"), of("nearest_title"), "Map of attention", "Cómo lee los títulos"] {
            assert!(page.contains(part), "{part}");
        }
        // As `qhatu text explain` says it.
        let model = text_model();
        let words = ["text", "explain", "--model", model.to_str().unwrap(), of("title")];
        let said = shop.succeed(&[&words[..], &["--against", of("nearest_title")]].concat());
        let likeness = said.lines().next().unwrap().replace("cosine ", "");
        assert!((likeness.parse::<f64>().unwrap() - reading["likeness"].as_f64().unwrap()).abs() < 2e-4);
    }
    let judged = shop.json(&[&["evaluate", "--json"], &models[..]].concat());
    assert_eq!(judged["titles"], report["titles"]);
    // Without a model that reads titles there is nothing to show.
    let plain = shop.json(&["evaluate", "--models", "recent_popularity", "--json"]);
    assert_eq!(plain.get("titles"), None);
}
