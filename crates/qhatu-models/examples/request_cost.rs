//! What a request costs a saved model, by the length of the history.
//!
//! ```text
//! cargo run --release -p qhatu-models --example request_cost -- data/artifacts/recommender/1
//! ```
//!
//! Histories are drawn from the catalogue with a fixed seed, a few items bought twice, as of ten days after
//! the last purchase. Prints medians of milliseconds on one thread: scoring the whole catalogue, the list of
//! ten, and the reasons of those ten.

use std::error::Error;
use std::io::{Write, stdout};
use std::path::Path;
use std::time::Instant;

use qhatu_models::{History, Recommender, saved};
use qhatu_schema::ItemIdx;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

const DAY: i64 = 86_400_000;
const LENGTHS: [usize; 6] = [1, 10, 50, 200, 1000, 4000];
const ROUNDS: usize = 101;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: request_cost FOLDER")?;
    let read = |name| std::fs::read(Path::new(&folder).join(name));
    let files = [saved::MODEL_FILE, saved::VOCABULARY_FILE].map(|name| (name, read(name)));
    let find = |name: &str| {
        let (_, bytes) = files.iter().find(|(known, _)| *known == name)?;
        bytes.as_deref().ok()
    };
    let (_, model) = saved::from_files(find)?;
    let mut out = stdout().lock();
    writeln!(out, "{}, {} items", model.name(), model.catalogue_size())?;
    writeln!(out, "{:>8}  {:>8}  {:>8}  {:>8}", "history", "score", "list", "reasons")?;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
    for length in LENGTHS {
        let [score, list, reasons] = cost(&*model, length, &mut random);
        writeln!(out, "{length:8}  {score:8.4}  {list:8.4}  {reasons:8.4}")?;
    }
    Ok(())
}

fn cost(model: &dyn Recommender, length: usize, random: &mut Xoshiro256PlusPlus) -> [f64; 3] {
    let mut scores = vec![0.0; model.catalogue_size() + 1];
    let mut took = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        let item = |_| ItemIdx(1 + (random.next_u64() % model.catalogue_size() as u64) as u32);
        let mut items: Vec<ItemIdx> = (0..length).map(item).collect();
        items.extend_from_within(..length / 5);
        let times: Vec<i64> = (0..items.len() as i64).map(|place| place / 10 * DAY).collect();
        let history = History::bought(&items, &times, times[items.len() - 1] + 10 * DAY);
        let mut list = Vec::new();
        let begun = Instant::now();
        model.score(&history, &mut scores);
        took[0].push(begun.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        list.extend(model.recommend(&history, 10, &|_| false).iter().map(|scored| scored.item));
        took[1].push(begun.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        std::hint::black_box(model.because_each(&history, &list));
        took[2].push(begun.elapsed().as_secs_f64() * 1e3);
    }
    took.map(|mut took| {
        took.sort_by(f64::total_cmp);
        took[took.len() / 2]
    })
}
