//! Ours in `cargo xtask bench als`: answers lines on standard input with a line each.
//!
//! ```text
//! als_bench LAKE FOLDER [DAY]   writes what a peer learns from and who is asked to FOLDER; with DAY nothing from it on is read
//! fit SEED [SETTINGS]           → seconds to fit, NDCG@10 on all purchases and on new ones; settings as JSON over the usual
//! judge                         → the same two of the lists that a peer left in FOLDER
//! ```
//!
//! Written: `counts.tsv`, a line per shopper and item they bought: number of the shopper, number of the item from 0, how
//! often, and that with purchases faded as ours are; `asked.txt`, the shoppers who are asked, in order of the cases. Read:
//! `lists.tsv`, a line each of them: the best ten items of all, a tab, the best ten of those never bought.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;
use std::time::Instant;

use qhatu_eval::{Catalogue, Lists, Settings, judge};
use qhatu_models::als::{self, Als};
use qhatu_schema::LimaDay;
use qhatu_store::Lake;
use qhatu_train::{ShopData, TestSet, TrainConfig, lists};

const SETTINGS: Settings = Settings { k: 10, bootstrap_samples: 0, seed: 0 };
const DAY_MS: f64 = 86_400_000.0;

type Answer<T> = Result<T, Box<dyn Error>>;

fn main() -> Answer<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [lake, folder, day @ ..] = words.as_slice() else { return Err("LAKE FOLDER [DAY]".into()) };
    let (lake, folder) = (Lake::open(lake)?, Path::new(folder));
    let data = match day.first() {
        Some(day) => ShopData::from_lake_before(&lake, LimaDay::parse(day)?)?,
        None => ShopData::from_lake(&lake)?,
    };
    let test = TestSet::new(&data, &TrainConfig::default())?;
    write(&test, folder)?;
    writeln!(stdout(), "qhatu {}, {}", env!("CARGO_PKG_VERSION"), test.protocol)?;
    for line in stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let answer = match words.as_slice() {
            ["fit", seed, settings @ ..] => {
                fit(&test, seed.parse()?, settings.first().copied().unwrap_or("{}"))?
            }
            ["judge"] => judged(&test, read(&test, folder)?)?.to_vec(),
            _ => return Err(format!("{line:?} is not understood").into()),
        };
        let text: Vec<String> = answer.iter().map(|number| format!("{number:.6}")).collect();
        writeln!(stdout(), "{}", text.join(" "))?;
        stdout().flush()?;
    }
    Ok(())
}

fn write(test: &TestSet, folder: &Path) -> Answer<()> {
    std::fs::create_dir_all(folder)?;
    let half_life = als::Config::default().history_half_life_days;
    let (mut counts, mut number_of) = (String::new(), BTreeMap::new());
    for (number, sequence) in test.train.sequences.iter().enumerate() {
        number_of.insert(sequence.user.0, number);
        let mut own: BTreeMap<u32, (u32, f64)> = BTreeMap::new();
        for (item, time) in sequence.items.iter().zip(&sequence.times) {
            let sums = own.entry(item.0 - 1).or_default();
            let days = (test.train.until - time) as f64 / DAY_MS;
            *sums = (sums.0 + 1, sums.1 + (-days / half_life).exp2());
        }
        for (item, (count, faded)) in own {
            writeln!(counts, "{number}\t{item}\t{count}\t{faded:.6}")?;
        }
    }
    std::fs::write(folder.join("counts.tsv"), counts)?;
    std::fs::write(folder.join("items.txt"), test.train.items().to_string())?;
    let asked = test.shoppers[..test.returning()].iter().map(|own| number_of[&own.user].to_string());
    Ok(std::fs::write(folder.join("asked.txt"), asked.collect::<Vec<_>>().join("\n"))?)
}

fn fit(test: &TestSet, seed: u64, settings: &str) -> Answer<Vec<f64>> {
    let config: als::Config = serde_json::from_str(settings)?;
    let begun = Instant::now();
    let model = Als::fit(&test.train, &config, seed)?;
    let seconds = begun.elapsed().as_secs_f64();
    let [all, new] = judged(test, lists(als::NAME, &model, test, SETTINGS.k)?)?;
    Ok(vec![seconds, all, new])
}

/// A peer's lists; whoever has no history is not asked for, and is not in the figures either.
fn read(test: &TestSet, folder: &Path) -> Answer<Lists> {
    let mut lists = Lists { name: "peer".to_owned(), ..Lists::default() };
    let numbers = |text: &str| -> Answer<Vec<u32>> {
        let item = |word: &str| Ok(word.parse::<u32>()? + 1);
        text.split_ascii_whitespace().map(item).collect()
    };
    for line in std::fs::read_to_string(folder.join("lists.tsv"))?.lines() {
        let (all, new) = line.split_once('\t').ok_or("a line without a tab")?;
        lists.all.push(numbers(all)?);
        lists.new.push(numbers(new)?);
    }
    let (found, asked) = (lists.all.len(), test.returning());
    if found == asked { Ok(lists) } else { Err(format!("{found} lists for {asked} shoppers").into()) }
}

fn judged(test: &TestSet, lists: Lists) -> Answer<[f64; 2]> {
    let catalogue = Catalogue { shares: &[], buyers: &[], categories: None };
    let report = judge(&[lists], &test.cases, &catalogue, &SETTINGS)?;
    Ok(["all", "new"].map(|target| report.models[0].targets[target]["ndcg_at_10"].mean))
}
