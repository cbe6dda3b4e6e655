//! Writes a version of every model, fitted on a tiny shop, as this program writes them: what `tests/format.rs` opens.
//!
//! ```text
//! cargo run -p qhatu-train --example write_artifacts -- crates/qhatu-train/tests/artifact_v1
//! ```
//!
//! Run it into a new folder when the format changes, and leave the old folder as it is: what was written once must open
//! for good. A model that is new gets its version into the present folder by running it into an empty one and copying,
//! with the next number in its manifest.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use qhatu_models::{History, TensorFile, load_model, saved, top_k};
use qhatu_registry::{ArtifactFile, NewVersion, Registry};
use qhatu_schema::{Event, ItemIdx, Timestamp};
use qhatu_store::open_documents;
use qhatu_train::{MODELS, ShopData, TrainConfig, evaluate};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("name a folder")?;
    let (work, documents) = (tempfile::TempDir::new()?, tempfile::TempDir::new()?);
    let models = MODELS.map(str::to_owned).to_vec();
    let mut config = TrainConfig { models, bootstrap_samples: 1, test_days: 14, ..TrainConfig::default() };
    (config.blend.trees.rounds, config.blend.horizon_days) = (3, 14.0);
    config.blend.trees.min_rows_in_leaf = 10;
    (config.sasrec.hidden_size, config.sasrec.intermediate_size) = (8, 8);
    (config.bert4rec.hidden_size, config.bert4rec.intermediate_size) = (8, 8);
    config.gru4rec.hidden_size = 8;
    let data = shop()?;
    evaluate(&data, &config, work.path(), "fixture", &mut |_| {})?;
    let registry = Registry::new(open_documents(documents.path())?, &folder);
    let mut expected = BTreeMap::new();
    let mut files: Vec<_> = fs::read_dir(work.path())?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::path);
    for file in files.iter().filter(|file| file.path().extension().is_some_and(|end| end == "safetensors")) {
        let model = load_model(&TensorFile::from_bytes(&fs::read(file.path())?)?)?;
        let parts = saved::to_files(&*model, &data.vocabulary)?;
        let parts = parts.into_iter().map(|(name, bytes)| ArtifactFile { name: name.to_owned(), bytes });
        let parts: Vec<ArtifactFile> = parts.collect();
        let new = NewVersion {
            kind: model.name().to_owned(),
            config: serde_json::json!({}),
            run_id: String::new(),
            data_fingerprint: data.fingerprint.clone(),
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: "a tiny shop".to_owned(),
            metrics: BTreeMap::new(),
            baselines: BTreeMap::new(),
        };
        let version = registry.register("recommender", new, &parts, Timestamp::from_millis(0))?;
        let (items, times) = ([ItemIdx(3), ItemIdx(5), ItemIdx(5)], [0, 1, 2]);
        let mut scores = vec![0.0; model.catalogue_size() + 1];
        model.score(&History::bought(&items, &times, 86_400_000), &mut scores);
        let list: Vec<u32> = top_k(&scores, 5, |_| false).into_iter().map(|scored| scored.item.0).collect();
        expected.insert(version.version, list);
    }
    fs::write(Path::new(&folder).join("expected.json"), serde_json::to_string_pretty(&expected)? + "\n")?;
    Ok(())
}

/// 24 shoppers of two kinds, 14 items, 70 days.
fn shop() -> Result<ShopData, Box<dyn Error>> {
    let mut events = Vec::new();
    for shopper in 0..24_i64 {
        for visit in 0..7 {
            for line in 0..2 {
                let item = 2 * ((shopper + visit * (1 + line * 2)) % 7) + shopper % 2;
                let time = Timestamp::from_millis((visit * 10 + shopper % 10) * 86_400_000);
                let text = format!(
                    r#"{{"event_id":"{shopper}-{visit}-{line}","time":"{time}","kind":"purchase","user_id":"u{shopper}","item_id":"i{item}","order_id":"{shopper}-{visit}"}}"#
                );
                events.push(serde_json::from_str::<Event>(&text)?);
            }
        }
    }
    Ok(ShopData::from_events(&events)?)
}
