//! What was written once opens for good: versions of every model as an earlier program wrote them
//! (`examples/write_artifacts.rs`), checked by the registry, loaded, and asked for the list they gave then.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use qhatu_models::{History, saved, top_k};
use qhatu_registry::{ModelVersion, Registry};
use qhatu_schema::ItemIdx;
use qhatu_store::open_documents;
use tempfile::TempDir;

#[test]
fn artifacts_of_format_1_open_and_answer_as_they_did() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/artifact_v1");
    let documents = TempDir::new().unwrap();
    let registry = Registry::new(open_documents(documents.path()).unwrap(), &folder);
    let expected: BTreeMap<u64, Vec<u32>> =
        serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    assert!(expected.len() >= 11);
    for (number, list) in expected {
        let path = folder.join(format!("recommender/{number}/manifest.json"));
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(manifest["format_version"], 1);
        let version: ModelVersion = serde_json::from_value(manifest["version"].clone()).unwrap();
        let artifact = registry.open(&version).unwrap();
        let (_, model) = saved::from_files(|name| artifact.files.get(name).map(Vec::as_slice)).unwrap();
        assert_eq!(model.name(), version.new.kind);
        let (items, times) = ([ItemIdx(3), ItemIdx(5), ItemIdx(5)], [0, 1, 2]);
        let mut scores = vec![0.0; model.catalogue_size() + 1];
        model.score(&History::bought(&items, &times, 86_400_000), &mut scores);
        let found: Vec<u32> = top_k(&scores, 5, |_| false).into_iter().map(|scored| scored.item.0).collect();
        assert_eq!(found, list, "{}", model.name());
    }
}
