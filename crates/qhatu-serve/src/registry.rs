//! The registry as a source of models.

use std::sync::Arc;

use qhatu_models::saved;
use qhatu_registry::{ModelVersion, Registry};

use crate::engine::{LoadedModel, ModelSource};
use crate::error::ServeError;

/// Follows the aliases of one model's name in the registry.
pub struct RegistrySource {
    registry: Registry,
    model: String,
}

impl RegistrySource {
    /// The versions registered under `model`.
    pub fn new(registry: Registry, model: impl Into<String>) -> Self {
        Self { registry, model: model.into() }
    }
}

fn name(version: &ModelVersion) -> String {
    format!("{}@{}", version.model, version.version)
}

impl ModelSource for RegistrySource {
    fn current(&self, alias: &str) -> Result<Option<String>, ServeError> {
        Ok(self.registry.alias(&self.model, alias)?.as_ref().map(name))
    }

    fn load(&self, alias: &str) -> Result<LoadedModel, ServeError> {
        let version =
            self.registry.alias(&self.model, alias)?.ok_or_else(|| ServeError::not_found("alias", alias))?;
        let artifact = self.registry.open(&version)?;
        let version = name(&version);
        match saved::from_files(|file| artifact.files.get(file).map(Vec::as_slice)) {
            Ok((vocabulary, recommender)) => {
                Ok(LoadedModel { version, vocabulary: Arc::new(vocabulary), recommender })
            }
            Err(fault) => Err(ServeError::Model { version, message: fault.to_string() }),
        }
    }
}
