//! Cases for `tests/python/metrics_check.py`: inputs, and what our measures make of them, as JSON on standard output.
//! Lists come from scores with many ties, so that the order of [`top_k`] is checked too.

use std::io::{Write, stdout};

use qhatu_eval::{bootstrap, metrics};
use qhatu_models::top_k;
use serde_json::{Value, json};

/// Numbers from a seed (Steele, Lea and Flood's SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn share(&mut self) -> f64 {
        self.next() as f64 / u64::MAX as f64
    }

    /// Each of `1..=items` with a chance of one in `odds`.
    fn some(&mut self, items: usize, odds: usize) -> Vec<u32> {
        (1..=items as u32).filter(|_| self.below(odds) == 0).collect()
    }
}

fn main() -> std::io::Result<()> {
    let mut random = Random(20_261_125);
    let ranking: Vec<Value> = (0..400).map(|_| ranking(&mut random)).collect();
    let groups: Vec<Value> = (0..40).map(|_| lists(&mut random)).collect();
    let intervals: Vec<Value> = (0..12).map(|_| intervals(&mut random)).collect();
    let classification: Vec<Value> = (0..60).map(|_| classification(&mut random)).collect();
    let all = json!({
        "ranking": ranking, "lists": groups, "intervals": intervals, "classification": classification,
    });
    writeln!(stdout(), "{all}")
}

fn ranking(random: &mut Random) -> Value {
    let items = 1 + random.below(40);
    let scores: Vec<f32> =
        std::iter::once(f32::NEG_INFINITY).chain((0..items).map(|_| random.below(6) as f32 / 4.0)).collect();
    let excluded = random.some(items, 5);
    // Lists shorter than k, longer than the catalogue, of length 0; sets empty, and larger than k.
    let k = [0, 1, 2, 3, 5, 10, 20, 100][random.below(8)];
    let asked = [k, k, k, random.below(k + 1)][random.below(4)];
    let list: Vec<u32> = top_k(&scores, asked, |item| excluded.contains(&item.0))
        .into_iter()
        .map(|scored| scored.item.0)
        .collect();
    let odds = [1, 2, 4, 12, 1000][random.below(5)];
    let relevant = random.some(items, odds);
    json!({
        "scores": &scores[1..], "excluded": excluded, "asked": asked, "k": k, "list": list, "relevant": relevant,
        "ndcg": metrics::ndcg_at_k(&list, &relevant, k),
        "recall": metrics::recall_at_k(&list, &relevant, k),
        "mrr": metrics::mrr_at_k(&list, &relevant, k),
        "map": metrics::map_at_k(&list, &relevant, k),
        "hit_rate": metrics::hit_rate_at_k(&list, &relevant, k),
    })
}

fn lists(random: &mut Random) -> Value {
    let (items, shoppers) = (3 + random.below(30), 5 + random.below(40));
    let k = 1 + random.below(12);
    let buyers: Vec<Vec<u32>> = (0..=items)
        .map(|item| {
            let odds = 1 + random.below(6);
            (0..shoppers as u32).filter(|_| item > 0 && random.below(odds) == 0).collect()
        })
        .collect();
    let shares: Vec<f64> = buyers.iter().map(|own| own.len() as f64 / shoppers as f64).collect();
    let floor = shares.iter().copied().filter(|share| *share > 0.0).fold(1.0, f64::min);
    let categories: Vec<u32> = (0..=items).map(|_| random.below(4) as u32).collect();
    let all: Vec<Vec<u32>> = (0..1 + random.below(20))
        .map(|_| {
            let scores: Vec<f32> = (0..=items).map(|_| random.share() as f32).collect();
            let length = random.below(k + 3);
            top_k(&scores, length, |_| false).into_iter().map(|scored| scored.item.0).collect()
        })
        .collect();
    let plain: Vec<&[u32]> = all.iter().map(Vec::as_slice).collect();
    let each = |measure: &dyn Fn(&[u32]) -> Option<f64>| -> Vec<Option<f64>> {
        plain.iter().map(|list| measure(list)).collect()
    };
    let interval = bootstrap::coverage_interval(&plain, items, k, 200, 11);
    json!({
        "items": items, "k": k, "buyers": buyers, "shares": shares, "categories": categories, "lists": all,
        "coverage": metrics::coverage_at_k(plain.iter().copied(), items, k),
        "coverage_interval": { "samples": 200, "seed": 11, "low": interval.low, "high": interval.high },
        "novelty": each(&|list| metrics::novelty_at_k(list, &shares, floor, k)),
        "diversity": each(&|list| metrics::diversity_at_k(list, &buyers, k)),
        "category_diversity": each(&|list| metrics::category_diversity_at_k(list, &categories, k)),
    })
}

fn intervals(random: &mut Random) -> Value {
    let n = 1 + random.below(60);
    let values: Vec<f64> = (0..n).map(|_| random.share()).collect();
    let others: Vec<f64> = (0..n).map(|_| random.share()).collect();
    let (samples, seed) = (100 + random.below(200), random.next() >> 12);
    let own = bootstrap::interval(&values, samples, seed);
    let paired = bootstrap::paired_interval(&values, &others, samples, seed);
    json!({
        "values": values, "others": others, "samples": samples, "seed": seed,
        "interval": [own.mean, own.low, own.high], "paired": [paired.mean, paired.low, paired.high],
    })
}

fn classification(random: &mut Random) -> Value {
    let n = 1 + random.below(80);
    // Few different scores, so that most rows are tied with another.
    let steps = [3, 8, 1_000_000][random.below(3)];
    let scores: Vec<f64> = (0..n).map(|_| random.below(steps + 1) as f64 / steps as f64).collect();
    let odds = [1, 2, 5, 1000][random.below(4)];
    let labels: Vec<bool> = (0..n).map(|_| random.below(odds) == 0).collect();
    let confusion = metrics::Confusion::at(&scores, &labels, 0.5);
    json!({
        "scores": scores, "labels": labels,
        "auc_roc": metrics::auc_roc(&scores, &labels), "auc_pr": metrics::auc_pr(&scores, &labels),
        "log_loss": metrics::log_loss(&scores, &labels), "brier": metrics::brier(&scores, &labels),
        "ece": metrics::ece(&scores, &labels, 10),
        "accuracy": confusion.accuracy(), "precision": confusion.precision(),
        "recall": confusion.recall(), "f1": confusion.f1(),
    })
}
