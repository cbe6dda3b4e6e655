//! `qhatu models`: list, show, promote, rollback, as text and as JSON; damaged files are refused.

use std::fs;

use crate::shop::Shop;

#[test]
fn versions_are_listed_shown_promoted_and_rolled_back() {
    let shop = Shop::new();
    assert!(shop.succeed(&["models", "list"]).contains("there is no version yet"));
    shop.succeed(&["train", "--models", "recent_popularity,decayed_markov"]);
    let (first, _) = shop.alias("champion").unwrap();
    let none = shop.fail(&["models", "rollback"]);
    assert!(none.contains("has no earlier champion to return to"), "{none}");
    shop.succeed(&["train", "--models", "recent_popularity,own_frequency"]);
    let (second, _) = shop.alias("champion").unwrap();
    assert_ne!(first, second, "own frequency beats the Markov model where people come back");

    let list = shop.succeed(&["models", "list"]);
    let champion = list.lines().find(|line| line.ends_with("champion")).unwrap();
    assert!(champion.contains("own_frequency"), "{list}");
    let shown = shop.succeed(&["models", "show", &second.to_string()]);
    for words in ["own_frequency", "all.ndcg_at_10", "half_life_days", "time split", "sha256", "seed 42"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let shown = shop.json(&["models", "show", &second.to_string(), "--json"]);
    assert_eq!(shown["aliases"], serde_json::json!(["champion"]));
    assert_eq!(shown["run"]["status"], "finished");
    assert_eq!(shown["run"]["data_fingerprint"], shown["data_fingerprint"]);
    assert!(shown["baselines"]["recent_popularity"]["all.ndcg_at_10"].is_f64());
    assert!(shop.fail(&["models", "show", "99"]).contains("there is no version"));

    let back = shop.json(&["models", "rollback", "--reason", "complaints", "--json"]);
    assert_eq!((back["version"].as_u64(), &back["aliases"][0]), (Some(first), &"champion".into()));
    let again = shop.json(&["models", "promote", &second.to_string(), "--json"]);
    assert_eq!(again["decision"]["promoted"], true);
    let refused = shop.fail(&["models", "promote", &first.to_string()]);
    assert!(refused.contains("is not promoted; not better: all.ndcg_at_10"), "{refused}");
    assert_eq!(shop.alias("champion").unwrap().0, second);
}

#[test]
fn damaged_and_foreign_files_are_refused_with_what_and_where() {
    let shop = Shop::new();
    shop.succeed(&["train", "--models", "recent_popularity,own_frequency"]);
    let folder = shop.data().join("artifacts/recommender/1");
    let says = |file: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>, words: &[&str]| {
        let path = folder.join(file);
        let kept = fs::read(&path).unwrap();
        fs::write(&path, change(kept.clone())).unwrap();
        let said = shop.fail(&["models", "show", "1"]);
        fs::write(&path, kept).unwrap();
        for word in words.iter().chain(&[file]) {
            assert!(said.contains(word), "{word}: {said}");
        }
    };
    let flipped = |mut bytes: Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    says("model.safetensors", &flipped, &["is damaged", "SHA-256", "roll back"]);
    says("model.safetensors", &|bytes| bytes[..bytes.len() - 1].to_vec(), &["is damaged", "bytes"]);
    let replaced = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replacen(from, to, 1).into_bytes()
    };
    let newer = replaced("\"format_version\": 1", "\"format_version\": 2");
    says(
        "manifest.json",
        &newer,
        &["is not for this qhatu", "version 2", "expected qhatu-artifact version 1"],
    );
    let other = replaced("\"model\": \"recommender\"", "\"model\": \"another\"");
    says("manifest.json", &other, &["it belongs to another version 1, expected recommender version 1"]);
    shop.succeed(&["models", "show", "1"]);
}
