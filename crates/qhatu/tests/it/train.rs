//! `qhatu train` and `qhatu evaluate`: the same seed, the same bits; an interrupted training goes on; nothing is promoted
//! that does not beat what is there.

use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use crate::shop::Shop;

#[test]
fn a_seed_repeats_every_model_to_the_bit() {
    let (one, two) = (Shop::new(), Shop::new());
    one.succeed(&["train", "--seed", "7"]);
    two.succeed(&["train", "--seed", "7"]);
    assert!(one.work().len() >= 8, "{:?}", one.work().keys());
    assert!(one.work() == two.work(), "the fitted models differ");
    for alias in ["champion", "challenger"] {
        assert!(one.alias(alias).is_some());
        assert_eq!(one.alias(alias), two.alias(alias));
    }
    let before = two.work();
    two.succeed(&["evaluate", "--seed", "8"]);
    let (after, blend) = (two.work(), |name: &&String| name.starts_with("blend-"));
    let blends: Vec<_> = after.keys().filter(blend).collect();
    assert_eq!(blends.len(), 2, "another seed is another model");
    assert_ne!(after[blends[0]], after[blends[1]]);
    let popularities = |names: &std::collections::BTreeMap<String, Vec<u8>>| {
        names.keys().filter(|name| name.starts_with("popularity-")).count()
    };
    assert_eq!((popularities(&before), popularities(&after)), (1, 1), "what has no seed is fitted once");
}

/// Killed at four places between the first model and the registration, each time gone on from.
#[test]
fn a_training_killed_in_the_middle_ends_as_an_uninterrupted_one() {
    let (whole, broken) = (Shop::new(), Shop::new());
    whole.succeed(&["train"]);
    let mut interrupted = 0;
    for fitted in [1, 3, 6, 8] {
        let mut child = broken.start(&["train"]);
        let patience = Instant::now();
        while broken.work().len() < fitted && child.try_wait().unwrap().is_none() {
            assert!(patience.elapsed() < Duration::from_secs(120), "nothing is fitted");
        }
        // SIGKILL: nothing of the program runs any more.
        child.kill().unwrap();
        interrupted += usize::from(!child.wait().unwrap().success());
    }
    assert!(interrupted >= 3, "only {interrupted} of 4 were still running");
    broken.succeed(&["train"]);
    assert!(broken.work() == whole.work(), "the fitted models differ");
    for alias in ["champion", "challenger"] {
        let files = |shop: &Shop| shop.alias(alias).unwrap().1;
        assert_eq!(files(&broken), files(&whole), "{alias}");
    }
}

#[test]
fn what_does_not_beat_recent_popularity_is_no_first_champion() {
    let shop = Shop::new();
    let said = shop.succeed(&["train", "--models", "recent_popularity"]);
    assert!(said.contains("is not promoted; not better: all.ndcg_at_10"), "{said}");
    assert!(said.contains("of recent_popularity"), "{said}");
    assert_eq!(shop.alias("champion"), None);
    let missing = shop.fail(&["train", "--models", "popularity,blend"]);
    assert!(missing.contains("the gate's baseline must be among them"), "{missing}");
}

#[test]
fn what_does_not_beat_the_champion_is_not_promoted() {
    let shop = Shop::new();
    let first = shop.succeed(&["train"]);
    assert!(first.contains("is promoted to champion; better: all.ndcg_at_10"), "{first}");
    let report = first.lines().last().and_then(|line| line.strip_prefix("report: ")).unwrap();
    assert!(shop.dir().join(report).exists(), "{first}");
    let champion = shop.alias("champion");
    let second = shop.succeed(&["train", "--models", "recent_popularity,popularity"]);
    assert!(second.contains("is not promoted; not better: all.ndcg_at_10"), "{second}");
    assert!(second.contains("of champion v1 ("), "{second}");
    assert_eq!(shop.alias("champion"), champion);
}

#[test]
fn evaluate_judges_both_splits_and_earlier_days_and_registers_nothing() {
    let shop = Shop::new();
    let models = ["--models", "own_frequency,recent_popularity", "--json"];
    let time = shop.json(&[&["evaluate", "--split", "time"], &models[..]].concat());
    let one = shop.json(&[&["evaluate", "--split", "leave-one-out"], &models[..]].concat());
    let early = shop.json(&[&["evaluate", "--until", "2026-06-01", "--k", "5"], &models[..]].concat());
    assert_eq!(time["about"]["split"], "time");
    assert_eq!(one["about"]["split"], "leave_one_out");
    assert!(early["about"]["test_window"].as_str().unwrap().ends_with("2026-05-28"), "{}", early["about"]);
    for (report, k) in [(&time, 10), (&one, 10), (&early, 5)] {
        assert!(report["models"].as_array().unwrap().iter().all(|model| model["baseline"] == true));
        for target in ["all", "new"] {
            for measure in ["ndcg", "recall", "mrr", "map", "hit_rate", "coverage", "diversity", "novelty"] {
                let found = &report["models"][0]["targets"][target][format!("{measure}_at_{k}")];
                let of = |end: &str| found[end].as_f64().unwrap();
                assert!(of("low") <= of("mean") && of("mean") <= of("high"), "{target} {measure}: {found}");
                // Everyone hits, or every resample shows the same products: nothing varies.
                let alike = measure == "coverage" || of("mean") == 1.0;
                assert!(alike || of("low") < of("high"), "{target} {measure} has no interval: {found}");
            }
        }
    }
    for name in ["evaluation", "evaluation-leave-one-out", "evaluation-until-2026-06-01"] {
        assert!(shop.data().join(format!("reports/{name}.html")).exists(), "{name}");
        assert!(shop.data().join(format!("reports/{name}.json")).exists(), "{name}");
    }
    assert_eq!(shop.json(&["models", "list", "--json"]), serde_json::json!([]));
    for (words, says) in [
        (&["evaluate", "--models", "oracle"][..], "there is no model \"oracle\""),
        (&["evaluate", "--models", "ease,ease"], "each model is named once"),
        (&["evaluate", "--test-days", "500"], "lower [train] test_days"),
        (&["evaluate", "--until", "2020-01-01"], "there is no paid purchase"),
    ] {
        let said = shop.fail(words);
        assert!(said.contains(says), "{words:?}: {said}");
    }
}

/// Visits in which what lies in the cart is bought, whatever was looked at last.
fn visits() -> String {
    let mut text = String::new();
    for user in 0..160 {
        for visit in 0..3 {
            let (wanted, other) = ((user * 7 + visit * 5) % 12, (user * 5 + visit * 11 + 3) % 12);
            let steps = [
                ("view", other),
                ("view", wanted),
                ("add_to_cart", wanted),
                ("view", other),
                ("purchase", wanted),
            ];
            for (minute, (kind, item)) in steps.into_iter().enumerate() {
                let day = format!("2026-0{}-{:02}T10:{minute:02}:00Z", 3 + visit, 1 + user % 28);
                let _ = writeln!(
                    text,
                    r#"{{"event_id":"{user}-{visit}-{minute}","time":"{day}","kind":"{kind}","user_id":"visitor{user}","item_id":"cart{item}","order_id":"{user}-{visit}","quantity":1}}"#
                );
            }
        }
    }
    text
}

/// A champion that reads views and carts is told of them when another one is trained that does not.
#[test]
fn a_champion_is_judged_with_all_that_it_reads() {
    let shop = Shop::new();
    fs::write(shop.dir().join("visits.jsonl"), visits()).unwrap();
    shop.succeed(&["ingest", "visits.jsonl"]);
    let train = |acts: bool| {
        let config = format!(
            "[train]\nmodels = [\"popularity\", \"recent_popularity\", \"sasrec\"]\nsplit = \"leave_one_out\"\n\
             bootstrap_samples = 100\n[train.sasrec]\nsteps = \"items\"\nhidden_size = 16\nnum_attention_heads = 2\n\
             epochs = 8\nlearning_rate = 0.01\nwarmup_steps = 5\nema_decay = 0.5\n[train.sasrec.inputs]\nevent_kind = {acts}\n"
        );
        fs::write(shop.dir().join("qhatu.toml"), config).unwrap();
        shop.succeed(&["train"])
    };
    let between = |said: &str, before: &str, behind: &str| -> String {
        let (_, rest) = said.split_once(before).unwrap_or_else(|| panic!("{before}: {said}"));
        rest.split_once(behind).unwrap_or_else(|| panic!("{behind}: {said}")).0.to_owned()
    };
    let reached =
        between(&train(true), "(sasrec) is promoted to champion; better: all.ndcg_at_10 ", " against");
    let said = train(false);
    assert_eq!(between(&said, " against ", " of champion v1 (sasrec)"), reached, "{said}");
}

/// What only a trial reads is read for it.
#[test]
fn a_search_may_switch_inputs_on() {
    let shop = Shop::new();
    fs::write(shop.dir().join("visits.jsonl"), visits()).unwrap();
    shop.succeed(&["ingest", "visits.jsonl"]);
    let config = "[train]\nmodels = [\"recent_popularity\", \"sasrec\"]\nsplit = \"leave_one_out\"\nbootstrap_samples = 100\n\
         [train.sasrec]\nsteps = \"items\"\nhidden_size = 16\nnum_attention_heads = 2\nepochs = 8\n\
         learning_rate = 0.01\nwarmup_steps = 5\nema_decay = 0.5\nrepeats = false\n\
         [train.search]\ntrials = 2\nreduction = 2\n[train.search.space.recent_popularity]\n\
         [train.search.space.sasrec]\n\"inputs.event_kind\" = [true]\n";
    fs::write(shop.dir().join("qhatu.toml"), config).unwrap();
    let said = shop.succeed(&["train", "--search"]);
    assert!(said.contains("# sasrec of 2 trials") && said.contains("event_kind = true"), "{said}");
}
