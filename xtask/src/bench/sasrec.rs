//! SASRec on MovieLens-1M by leave-one-out: how long until it names the validation items well, and how well it names the test
//! items in the end, over three seeds; beside RecTools' SASRec with one seed, for as long as `PEER_SECONDS`.

use std::path::Path;

use super::{Row, Spread, mean};
use crate::{process, tools};

const DATA: &str = "../shared/data/movielens_1m/sequences.tsv.gz";
const SEEDS: [&str; 3] = ["1", "2", "3"];
/// RecTools is stopped after so long. It was measured once to reach the first mark on two cores after 1,194 s.
const PEER_SECONDS: &str = "620";
/// Over the settings for papers: enough epochs to be above every published figure, though not yet at the end.
const SETTINGS: &str = r#"{"epochs":40}"#;
/// Validation NDCG@10 to be reached, and within how many seconds.
const MARKS: [(f64, Option<f64>); 2] = [(0.140, None), (0.175, Some(600.0))];
/// Test NDCG@10 to be reached.
const NDCG: f64 = 0.185;

/// What one training printed.
#[derive(Debug, Default)]
struct Training {
    name: String,
    /// Seconds and validation NDCG@10 of each epoch.
    epochs: Vec<[f64; 2]>,
    /// Test NDCG@10, HR@10, seconds in all.
    test: [f64; 3],
}

impl Training {
    fn read(text: &str) -> Result<Self, String> {
        let mut own = Self::default();
        for line in text.lines() {
            let parts: Vec<&str> = line.split('\t').collect();
            let number = |place: usize| -> Result<f64, String> {
                let part: &str = parts.get(place).copied().unwrap_or_default();
                part.parse().map_err(|_| format!("no number at place {place} of {line:?}"))
            };
            match parts[0] {
                "name" => own.name = parts.get(1).copied().unwrap_or_default().to_owned(),
                "epoch" => own.epochs.push([number(2)?, number(4)?]),
                "test" => own.test = [number(1)?, number(2)?, number(3)?],
                _ => {}
            }
        }
        Ok(own)
    }

    /// Seconds until the validation items were named so well, if they ever were.
    fn until(&self, ndcg: f64) -> Option<f64> {
        self.epochs.iter().find(|epoch| epoch[1] >= ndcg).map(|epoch| epoch[0])
    }
}

pub(crate) fn run(root: &Path) -> Result<Vec<Row>, String> {
    if !root.join(DATA).exists() {
        return Err(format!("{DATA} is not there; it may be read, not kept"));
    }
    let build = ["build", "--release", "--locked", "-p", "qhatu-models", "--example", "leave_one_out"];
    process::run(root, "cargo", &build)?;
    let own = super::binary(root).with_file_name("examples").join("leave_one_out");
    let train = |command: &str| -> Result<Training, String> {
        let (text, well) = process::run_shown(
            root,
            "sh",
            &["-c", &format!("gzip -dc {DATA} | {command}")],
            &[("RAYON_NUM_THREADS", "2")],
        )?;
        if well { Training::read(&text) } else { Err(format!("{command} failed; what it said stands above")) }
    };
    let ours = SEEDS
        .iter()
        .map(|seed| train(&format!("{} sasrec '{SETTINGS}' {seed}", own.display())))
        .collect::<Result<Vec<_>, _>>()?;
    let theirs = tools::peer_python(root, "sasrec_rectools").and_then(|python| {
        let keep = "MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184";
        train(&format!("{keep} {} benches/peers/sasrec_rectools.py {PEER_SECONDS}", python.display()))
    });
    // Ours took long enough not to be lost with it.
    let peer = theirs.map_err(|why| eprintln!("skipped: RecTools: {why}")).ok();
    Ok(rows(&ours, peer.as_ref()))
}

fn rows(ours: &[Training], peer: Option<&Training>) -> Vec<Row> {
    let mut rows: Vec<Row> = MARKS.iter().map(|(mark, limit)| until(ours, peer, *mark, *limit)).collect();
    let theirs = |place: usize| peer.map(|peer| (peer.name.clone(), Spread::of(&[peer.test[place]])));
    for (place, what, goal) in [(0, "NDCG@10", Some(NDCG)), (1, "HR@10", None)] {
        let found: Vec<f64> = ours.iter().map(|training| training.test[place]).collect();
        let mean = mean(&found);
        rows.push(Row {
            what: format!("MovieLens-1M, leave-one-out, {what} of the test items"),
            unit: String::new(),
            ours: Spread::of(&found),
            peer: theirs(place),
            ratio: None,
            goal: goal.map_or("reported".to_owned(), |goal| format!("≥ {goal}, mean of the seeds")),
            reached: goal.map(|goal| mean >= goal),
        });
    }
    rows
}

/// The time until a mark; where a seed does not get there, the time all of its training took, and that it was missed.
fn until(ours: &[Training], peer: Option<&Training>, mark: f64, limit: Option<f64>) -> Row {
    let found: Vec<Option<f64>> = ours.iter().map(|training| training.until(mark)).collect();
    let all = found.iter().all(Option::is_some);
    let times: Vec<f64> =
        found.iter().zip(ours).map(|(time, training)| time.unwrap_or(training.test[2])).collect();
    let times = Spread::of(&times);
    // A peer that did not get there took longer than all of its training.
    let peer = peer.map(|peer| match peer.until(mark) {
        Some(time) => (peer.name.clone(), Spread::of(&[time])),
        None => (format!("{}, not there yet after", peer.name), Spread::of(&[peer.test[2]])),
    });
    let ratio = peer.as_ref().map(|(_, peer)| peer.median / times.median);
    let reached = match limit {
        Some(limit) => Some(all && times.max <= limit),
        None if all => ratio.map(|ratio| ratio >= 3.0),
        None => Some(false),
    };
    let never = if all { "" } else { " (not reached by all seeds)" };
    Row {
        what: format!("MovieLens-1M, training until validation NDCG@10 {mark:.3}{never}"),
        unit: "s".to_owned(),
        ours: times,
        peer,
        ratio,
        goal: limit.map_or("≥ 3 ×".to_owned(), |limit| format!("≤ {limit} s")),
        reached,
    }
}
