//! The registry's manifest beside a version's files, and its documents: whatever stands there, a version
//! is opened whole or refused.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use qhatu_registry::{Alias, ModelVersion, Registry, Run};
use qhatu_store::{Documents, MemoryDocuments};

const VERSION: &str = r#"{"model":"recommender","version":1,"created":"2026-11-24T00:00:00Z","kind":"ease",
    "config":{},"run_id":"r","data_fingerprint":"d","code_version":"0","protocol":"p","metrics":{},"baselines":{}}"#;

fuzz_target!(|bytes: &[u8]| {
    let folder = qhatu_fuzz::folder().join("recommender/1");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("model.safetensors"), b"tensors").expect("a file");
    std::fs::write(folder.join("manifest.json"), bytes).expect("a file");
    let documents: Arc<dyn Documents> = Arc::new(MemoryDocuments::default());
    let registry = Registry::new(documents, qhatu_fuzz::folder());
    let version: ModelVersion = serde_json::from_str(VERSION).expect("a version");
    if let Ok(artifact) = registry.open(&version) {
        assert!(artifact.files.len() <= artifact.manifest.files.len());
    }
    if let Ok(alias) = serde_json::from_slice::<Alias>(bytes) {
        assert!(alias.earlier().is_none() || alias.version().is_some());
    }
    drop(serde_json::from_slice::<Run>(bytes));
});
