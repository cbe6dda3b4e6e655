//! Text models out of a shop's own catalogue and events: made by `qhatu text pretrain --dir`, taught by `finetune --dir`, and
//! what was taught is found.

use std::fmt::Write;
use std::fs;

use serde_json::Value;

use crate::shop::Shop;

const THINGS: [&str; 4] = ["polo", "gorra", "taza", "mochila"];
const KINDS: [&str; 6] = ["rojo", "azul", "negro", "verde", "blanco", "gris"];
const ITEMS: usize = THINGS.len() * KINDS.len();

fn title(item: usize) -> String {
    format!("{} de color {} para toda la familia", THINGS[item / KINDS.len()], KINDS[item % KINDS.len()])
}

/// In other words than the titles': only what was clicked can bring them together.
fn query(item: usize) -> String {
    let thing: String = THINGS[item / KINDS.len()].chars().rev().collect();
    format!("{thing} tono {}", item % KINDS.len())
}

/// Three days on which each product is searched for in a visit, clicked, and the next product viewed; one product has no title.
fn shop() -> Shop {
    let shop = Shop::bare();
    let mut items = r#"{"item_id":"untitled","description":"Se lava a mano.\nHecho en Gamarra."}"#.to_owned();
    let mut events = String::new();
    for item in 0..ITEMS {
        let _ = write!(items, "\n{{\"item_id\":\"i{item}\",\"title\":\"{}\"}}", title(item));
        for day in 1..=3 {
            let next = (item + 1) % ITEMS;
            let deeds = [
                format!(r#""search","query":"{}""#, query(item)),
                r#""click","item_id":"untitled""#.to_owned(),
                format!(r#""click","item_id":"i{item}""#),
                format!(r#""view","item_id":"i{next}""#),
            ];
            for (minute, deed) in deeds.iter().enumerate() {
                let _ = writeln!(
                    events,
                    r#"{{"event_id":"{item}-{day}-{minute}","time":"2026-03-0{day}T12:0{minute}:00-05:00","session_id":"s{item}-{day}","kind":{deed}}}"#
                );
            }
        }
    }
    shop.ingest("items.jsonl", &items);
    shop.ingest("events.jsonl", &events);
    shop
}

const SMALL: &str =
    "text pretrain --hidden-size 32 --num-hidden-layers 1 --max-length 16 --learning-rate 0.003";
const TAUGHT: &str = "text finetune --max-length 16 --learning-rate 0.003 --temperature 0.1";

fn words(text: &str) -> Vec<&str> {
    text.split(' ').collect()
}

/// What is said on the way of a command that must succeed.
fn said(shop: &Shop, line: &str) -> String {
    let output = shop.run(&words(line));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{line}: {said}");
    said
}

/// For how many queries the clicked product's title is the nearest of all.
fn found(shop: &Shop, model: &str) -> usize {
    let texts: Vec<String> = (0..ITEMS).map(title).chain((0..ITEMS).map(query)).collect();
    fs::write(shop.dir().join("texts.txt"), texts.join("\n")).unwrap();
    let lines = shop.succeed(&["text", "encode", "--model", model, "texts.txt"]);
    let vector = |line: &str| -> Vec<f64> {
        let line: Value = serde_json::from_str(line).unwrap();
        let values: Vec<f64> =
            line["vector"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
        let length = values.iter().map(|value| value * value).sum::<f64>().sqrt();
        values.iter().map(|value| value / length).collect()
    };
    let vectors: Vec<Vec<f64>> = lines.lines().map(vector).collect();
    let (titles, queries) = vectors.split_at(ITEMS);
    let cosine = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let nearest = |query: &[f64]| {
        (0..ITEMS).max_by(|a, b| cosine(query, &titles[*a]).total_cmp(&cosine(query, &titles[*b])))
    };
    queries.iter().enumerate().filter(|(item, query)| nearest(query) == Some(*item)).count()
}

#[test]
fn a_shop_makes_and_teaches_a_text_model_of_its_own() {
    let shop = shop();
    let told = said(&shop, &format!("{SMALL} --dir . --out own --epochs 10"));
    assert!(told.contains(&format!("{ITEMS} titles, 2 lines of descriptions, {ITEMS} queries")), "{told}");
    said(&shop, &format!("{SMALL} --dir . --out again --epochs 10"));
    let weights = |model: &str| fs::read(shop.dir().join(model).join("model.safetensors")).unwrap();
    assert_eq!(weights("own"), weights("again"), "a seed gives the same");
    let told = said(&shop, &format!("{TAUGHT} --dir . --pairs query --model own --out tuned --epochs 40"));
    assert!(told.contains(&format!("{} pairs of query", 3 * ITEMS)), "{told}");
    let (before, after) = (found(&shop, "own"), found(&shop, "tuned"));
    let told = said(&shop, "text encode --model own texts.txt");
    assert!(told.contains("48 texts (") && !told.contains("cache"), "{told}");
    let told = said(&shop, "text encode --model own --cache vectors texts.txt");
    assert!(told.contains("48 texts, 48 new in the cache"), "{told}");
    println!("{before} of {ITEMS} first before, {after} after");
    assert!(before <= 6 && after >= 20, "{before} of {ITEMS} first before, {after} after");
}

#[test]
fn which_pairs_and_until_when_can_be_said() {
    let shop = shop();
    said(&shop, &format!("{SMALL} --dir . --out own --until 2026-03-01"));
    let told = said(&shop, &format!("{TAUGHT} --dir . --model own --out tuned"));
    let both = format!("{0} pairs of query, {0} pairs of next", 3 * ITEMS);
    assert!(told.contains(&both), "{told}");
    let told =
        said(&shop, &format!("{TAUGHT} --dir . --model own --out tuned --pairs next --until 2026-03-03"));
    assert!(told.contains(&format!("{} pairs of next", 2 * ITEMS)) && !told.contains("query"), "{told}");
    let told = said(&shop, &format!("{TAUGHT} --dir . --model own --out tuned --most 5"));
    let few = format!("the latest 5 of {0} pairs of query, the latest 5 of {0} pairs of next", 3 * ITEMS);
    assert!(told.contains(&few), "{told}");
    let fault = shop.fail(&words(&format!("{TAUGHT} --dir . --model own --out no --until 2026-03-01")));
    assert!(fault.contains("no pair of texts (query,next)") && fault.contains("0 searches"), "{fault}");
    for command in [&format!("{SMALL} --dir ."), &format!("{TAUGHT} --dir . --model own")] {
        let fault = shop.fail(&words(&format!("{command} --out no --epochs 0")));
        assert!(fault.contains("epochs is 0"), "{fault}");
    }
    assert!(!shop.dir().join("no").exists());
}

#[test]
fn a_file_or_a_shop_is_read_and_not_both() {
    let shop = Shop::bare();
    let refused = |line: &str| {
        let output = shop.run(&words(line));
        assert_eq!(output.status.code(), Some(2), "{line}");
        String::from_utf8(output.stderr).unwrap()
    };
    for (command, file) in
        [("text pretrain --out no", "TEXTS"), ("text finetune --model own --out no", "PAIRS")]
    {
        let neither = refused(command);
        assert!(neither.contains(&format!("<{file}|--dir <SHOP>>")), "{neither}");
        let both = refused(&format!("{command} file.txt --dir ."));
        assert!(both.contains("cannot be used with"), "{both}");
        let until = refused(&format!("{command} file.txt --until 2026-03-01"));
        assert!(until.contains("cannot be used with '--until <DAY>'"), "{until}");
    }
    let pairs = refused("text finetune --model own --out no pairs.tsv --pairs next");
    assert!(pairs.contains("cannot be used with '--pairs <KINDS>'"), "{pairs}");
    assert!(refused("text finetune --model own --out no --dir . --pairs last").contains("query, next"));
    // A shop of which nothing is known, and a folder that is none.
    let fault = shop.fail(&words("text pretrain --out no --dir ."));
    assert!(fault.contains("no text") && fault.contains("qhatu ingest"), "{fault}");
    let fault = shop.fail(&words("text pretrain --out no --dir data"));
    assert!(fault.contains("qhatu.toml"), "{fault}");
}
