//! Amazon Beauty by leave-one-out: SASRec by items' own vectors alone and with titles and categories, and its mixture with
//! the decayed Markov model, which is the peer; three seeds. Dates have day resolution and within a day the published order is
//! that of the shop's numbers, so test items of the same day as the item before are told apart from those of a later
//! one. The mixture's weight is chosen on the validation items, from which its parts then learn too, as the peer does (see `crates/qhatu-models/examples/leave_one_out.rs`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Row, Spread, mean};
use crate::process;

const DATA: &str = "../shared/data/amazon_beauty";
const SEEDS: [&str; 3] = ["1", "2", "3"];
const WIDTH: &str = "128";
/// NDCG@10 to be reached over all.
const NDCG: f64 = 0.065;
/// Settings over those of the papers, for all of the sequences of a data set as sparse as this. Against 1,024 sampled
/// negatives the validation items are found as well as against all 12,101 items, in a third of the time.
const SETTINGS: &str = r#""max_length":50,"batch_size":128,"hidden_dropout_prob":0.5,"learning_rate":0.002,"ema_decay":0.99,"patience":3,"objective":"sampled_softmax","negatives":1024"#;
const TITLES: &str = r#""inputs":{"text":true,"category":true,"id_dropout_prob":0.1}"#;

/// Ways of changing histories in training, and their settings.
const CHANGES: [(&str, &str); 6] = [
    ("mask", r#","item_dropout_prob":0.2"#),
    ("crop", r#","augmentation":{"crop_prob":0.3}"#),
    ("reorder", r#","augmentation":{"reorder_prob":0.3}"#),
    ("insert what the same users buy", r#","augmentation":{"insert_prob":0.1}"#),
    ("insert what reads alike", r#","augmentation":{"insert_prob":0.1,"insert":"text"}"#),
    ("synthetic walks", r#","augmentation":{"synthetic_prob":0.2}"#),
];

/// What one run printed: NDCG@10 by what was asked, such as `test`, `slice cold` or `mixture-slice cold`, and the cases.
type Figures = BTreeMap<String, (f64, String)>;

/// Where everything lies.
struct Place<'a> {
    root: &'a Path,
    folder: PathBuf,
    examples: PathBuf,
    sequences: PathBuf,
}

/// Of so many users one is taken to measure what changed histories bring: fewer users, sparser items.
const ONE_IN: u64 = 3;

pub(crate) fn run(root: &Path) -> Result<Vec<Row>, String> {
    let place = Place::new(root)?;
    let markov = place.measured("decayed_markov", "{}", ["1", ""])?;
    let seeds = |settings: &str| -> Result<Vec<Figures>, String> {
        SEEDS.iter().map(|seed| place.measured("sasrec", settings, [seed, "mixed"])).collect()
    };
    let ids = seeds(&format!("{{{SETTINGS}}}"))?;
    let titles = seeds(&format!("{{{SETTINGS},{TITLES}}}"))?;
    Ok(rows(&markov, &ids, &titles))
}

/// What each way of changing histories in training brings to users of few events, over titles without any; on a third of the
/// users.
pub(crate) fn augmentation(root: &Path) -> Result<Vec<Row>, String> {
    let mut place = Place::new(root)?;
    place.thin()?;
    let seeds = |more: &str| -> Result<Vec<Figures>, String> {
        let settings = format!("{{{SETTINGS},{TITLES}{more}}}");
        SEEDS.iter().map(|seed| place.measured("sasrec", &settings, [seed, ""])).collect()
    };
    let plain = seeds("")?;
    let mut rows = Vec::new();
    for (name, more) in CHANGES {
        let found = seeds(more)?;
        for (figure, words) in
            [("slice few_events", "users with at most 3 events to learn from"), ("test", "all users")]
        {
            let against = Some(("the same without", of(&plain, figure)));
            rows.push(Row { what: format!("{name}, {words}"), ..row(of(&found, figure), against) });
        }
    }
    Ok(rows)
}

impl<'a> Place<'a> {
    /// Builds what measures, and writes what it reads.
    fn new(root: &'a Path) -> Result<Self, String> {
        if !root.join(DATA).exists() {
            return Err(format!("{DATA} is not there; it may be read, not kept"));
        }
        for (package, example) in [("qhatu-models", "leave_one_out"), ("qhatu-text", "title_vectors")] {
            let build = ["build", "--release", "--locked", "-p", package, "--example", example];
            process::run(root, "cargo", &build)?;
        }
        let examples = super::binary(root).with_file_name("examples");
        let folder = root.join("target/bench/beauty");
        let own = Self { root, sequences: folder.join("sequences.tsv"), folder, examples };
        std::fs::create_dir_all(&own.folder).map_err(|error| error.to_string())?;
        let folder = own.folder.to_string_lossy().into_owned();
        process::run(root, "python3", &["benches/peers/beauty_lines.py", DATA, &folder])?;
        let vectors = own.examples.join("title_vectors");
        own.shell(&format!("{} {WIDTH} < {folder}/titles.txt > {folder}/text.f32", vectors.display()))?;
        Ok(own)
    }

    /// Goes on with a part of the users, among them the one who has the item of the largest number, by which items are
    /// counted.
    fn thin(&mut self) -> Result<(), String> {
        let said = |error: std::io::Error| format!("{}: {error}", self.sequences.display());
        let text = std::fs::read_to_string(&self.sequences).map_err(said)?;
        let (head, lines) = text.split_once('\n').ok_or("the sequences have no head")?;
        let number = |line: &str, place: usize| -> u64 {
            line.split('\t').nth(place).and_then(|word| word.parse().ok()).unwrap_or_default()
        };
        let of_last = lines.lines().max_by_key(|line| number(line, 1)).map_or(0, |line| number(line, 0));
        let taken = lines.lines().filter(|line| number(line, 0) % ONE_IN == of_last % ONE_IN);
        let kept: Vec<&str> = std::iter::once(head).chain(taken).collect();
        self.sequences = self.folder.join("sequences-thin.tsv");
        std::fs::write(&self.sequences, kept.join("\n") + "\n")
            .map_err(|error| format!("{}: {error}", self.sequences.display()))
    }

    fn shell(&self, command: &str) -> Result<String, String> {
        let (text, well) =
            process::run_shown(self.root, "sh", &["-c", command], &[("RAYON_NUM_THREADS", "2")])?;
        if well { Ok(text) } else { Err(format!("{command} failed; what it said stands above")) }
    }

    fn measured(&self, model: &str, settings: &str, [seed, how]: [&str; 2]) -> Result<Figures, String> {
        let folder = self.folder.display();
        // Each run begins anew: no model of an earlier one may be taken for it.
        let endings = ["safetensors", "checkpoint", "epochs"];
        let kept =
            endings.iter().flat_map(|ending| ["model", "whole"].map(|name| format!("{name}.{ending}")));
        let kept = kept.map(|name| self.folder.join(name));
        kept.for_each(|path| drop(std::fs::remove_file(path)));
        let program = self.examples.join("leave_one_out");
        let command = format!(
            "{} {model} '{settings}' {seed} {folder} {how} < {}",
            program.display(),
            self.sequences.display()
        );
        read(&self.shell(&command)?)
    }
}

fn read(text: &str) -> Result<Figures, String> {
    let mut figures = Figures::new();
    for line in text.lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let number = |place: usize| -> Result<f64, String> {
            let part: &str = parts.get(place).copied().unwrap_or_default();
            part.parse().map_err(|_| format!("no number at place {place} of {line:?}"))
        };
        let (name, ndcg) = match parts[..] {
            [what @ ("test" | "whole" | "mixture"), ..] => (what.to_owned(), number(1)?),
            [what @ ("slice" | "whole-slice" | "mixture-slice"), slice, ..] => {
                (format!("{what} {slice}"), number(2)?)
            }
            _ => continue,
        };
        figures.insert(name, (ndcg, parts.get(4).copied().unwrap_or_default().to_owned()));
    }
    Ok(figures)
}

/// The middle, least and most of a figure over the seeds.
fn of(found: &[Figures], name: &str) -> Spread {
    Spread::of(&values(found, name))
}

fn values(found: &[Figures], name: &str) -> Vec<f64> {
    found.iter().filter_map(|figures| figures.get(name)).map(|own| own.0).collect()
}

fn rows(markov: &Figures, ids: &[Figures], titles: &[Figures]) -> Vec<Row> {
    let peer = |name: &str| of(std::slice::from_ref(markov), name);
    let mut rows = Vec::new();
    let overall = of(titles, "mixture");
    let reached = mean(&values(titles, "mixture")) >= NDCG;
    rows.push(Row {
        what: "mixture of SASRec with titles and the Markov model, all test items".to_owned(),
        goal: format!("≥ {NDCG}, mean of the seeds"),
        reached: Some(reached),
        ..row(overall, Some(("decayed Markov", peer("test"))))
    });
    let alone = [(ids, "SASRec by ids alone"), (titles, "SASRec with titles")];
    let whole = [("test", ""), ("whole", ", learned from the validation items too")];
    for ((own, what), (name, words)) in alone.into_iter().flat_map(|own| whole.map(|whole| (own, whole))) {
        let against = Some(("decayed Markov", peer("test")));
        rows.push(Row { what: format!("{what}{words}, all test items"), ..row(of(own, name), against) });
    }
    let slices = [
        ("same_day", "test items of the same day as the item before"),
        ("later_day", "test items of a later day"),
        ("cold", "test items learned from least often (half)"),
        ("warm", "the other half"),
        ("unseen", "test items never learned from"),
        ("few_events", "users with at most 3 events to learn from"),
        ("more_events", "users with more"),
    ];
    for (slice, words) in slices {
        let name = format!("slice {slice}");
        let cases = markov.get(&name).map_or("", |own| own.1.as_str());
        let words = format!("{words} ({cases} cases)");
        let (sequence, alone, base) = (of(titles, &name), of(ids, &name), peer(&name));
        let mixture = of(titles, &format!("mixture-{name}"));
        let mut best = row(mixture, Some(("decayed Markov", base)));
        if slice == "later_day" {
            best.goal = "above the Markov model".to_owned();
            best.reached = Some(mixture.min > base.max);
        }
        rows.push(Row { what: format!("mixture, {words}"), ..best });
        let mut with = row(sequence, Some(("SASRec by ids alone", alone)));
        if slice == "cold" {
            with.goal = "above ids alone, mean of the seeds".to_owned();
            with.reached = Some(mean(&values(titles, &name)) > mean(&values(ids, &name)));
        }
        rows.push(Row { what: format!("SASRec with titles, {words}"), ..with });
    }
    rows
}

fn row(ours: Spread, peer: Option<(&str, Spread)>) -> Row {
    let ratio = peer.filter(|(_, peer)| peer.median > 0.0).map(|(_, peer)| ours.median / peer.median);
    Row {
        what: String::new(),
        unit: "NDCG@10".to_owned(),
        ours,
        peer: peer.map(|(name, peer)| (name.to_owned(), peer)),
        ratio,
        goal: "reported".to_owned(),
        reached: None,
    }
}
