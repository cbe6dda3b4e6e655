//! `qhatu off-policy` on a table that a shop writes itself: CSV as well as Parquet, and what is wrong with it is said.

use std::fs;

use serde_json::Value;

use crate::shop::Shop;

/// The other way shows the first thing twice as often and the second half as often: weights 2 and 1/2.
const LOG: &str = "reward,propensity,target,shown\n1,0.25,0.5,a\n0,0.5,0.25,b\n1,0.5,0.25,b\n0,0.25,0.5,a\n";

fn said(text: &str) -> String {
    let shop = Shop::bare();
    fs::write(shop.dir().join("log.csv"), text).unwrap();
    shop.fail(&["off-policy", "log.csv"])
}

#[test]
fn a_csv_of_impressions_is_judged() {
    let shop = Shop::bare();
    fs::write(shop.dir().join("log.csv"), LOG).unwrap();
    let found: Value = shop.json(&["off-policy", "log.csv", "--json"]);
    let mean = |name: &str| found[name]["mean"].as_f64().unwrap();
    // By hand: (2 + 1/2) / 4, and (2 + 1/2) / 5.
    assert!((mean("logged") - 0.5).abs() < 1e-12, "{found}");
    assert!((mean("ips") - 0.625).abs() < 1e-12, "{found}");
    assert!((mean("snips") - 0.5).abs() < 1e-12, "{found}");
    // The mean weight is 1.25, which is far from 1; where weights are clipped that says nothing.
    let doubt = "the mean weight is far from 1";
    assert!(shop.succeed(&["off-policy", "log.csv"]).contains(doubt));
    assert!(!shop.succeed(&["off-policy", "log.csv", "--clip", "1"]).contains(doubt));
}

#[test]
fn what_is_wrong_with_a_table_is_said() {
    let missing = said("reward,propensity\n1,0.5\n");
    assert!(missing.contains("no column target; there are reward, propensity"), "{missing}");
    let words = said(&LOG.replace("0.25,0.5,a", "often,0.5,a"));
    assert!(words.contains("column propensity holds texts, not numbers"), "{words}");
    let gap = said(&LOG.replace("0.5,0.25,b", "0.5,,b"));
    assert!(gap.contains("column target has no value in row 2"), "{gap}");
    let empty = said("reward,propensity,target\n");
    assert!(empty.contains("log.csv"), "{empty}");
}
