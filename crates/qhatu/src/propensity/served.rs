//! The registry's propensity models as the server asks for them: it scores by the code that `qhatu propensity score` scores by.

use std::path::PathBuf;

use qhatu_registry::{ModelVersion, Registry};
use qhatu_schema::DenseTable;
use qhatu_serve::{
    Because, LoadedPropensity, PropensityFault, PropensityModel, PropensitySource, ServeError, TableColumn,
};
use qhatu_text::TextEncoder;
use qhatu_train::propensity::{Rows, Scorer, TextColumn};

use super::stored::{self, MODEL};
use super::text::Reader;

/// The versions of `propensity` in a shop's registry.
pub(crate) struct ChampionSource {
    registry: Registry,
    /// The folder of the text model by which they read texts.
    text_model: Option<PathBuf>,
}

impl ChampionSource {
    pub(crate) fn new(registry: Registry, text_model: Option<PathBuf>) -> Self {
        Self { registry, text_model }
    }

    /// The text model of a model that reads texts: the one that it was fitted with.
    fn reader(&self, scorer: &Scorer, version: &str) -> Result<Option<Reader>, ServeError> {
        let columns = scorer.texts.columns();
        if columns.is_empty() {
            return Ok(None);
        }
        let unfit = |message: String| ServeError::TextModel { version: version.to_owned(), message };
        let columns = columns.join(", ");
        let Some(folder) = &self.text_model else {
            return Err(unfit(format!("reads the texts of {columns}, and no text model is configured")));
        };
        let encoder = TextEncoder::read(folder).map_err(|fault| {
            tracing::error!(folder = %folder.display(), %fault, "the text model cannot be read");
            unfit(format!("reads the texts of {columns}, and the configured text model cannot be read"))
        })?;
        let reader = Reader::new(encoder);
        match reader.model == scorer.texts.model() {
            true => Ok(Some(reader)),
            false => Err(unfit(format!(
                "reads the texts of {columns} by another text model than the configured one"
            ))),
        }
    }
}

fn name(version: &ModelVersion) -> String {
    format!("{}@{}", version.model, version.version)
}

impl PropensitySource for ChampionSource {
    fn current(&self, alias: &str) -> Result<Option<String>, ServeError> {
        Ok(self.registry.alias(MODEL, alias)?.as_ref().map(name))
    }

    fn load(&self, alias: &str) -> Result<LoadedPropensity, ServeError> {
        let Some(found) = self.registry.alias(MODEL, alias)? else { return Err(ServeError::NoPropensity) };
        let artifact = self.registry.open(&found)?;
        let version = name(&found);
        let scorer = Scorer::from_files(|file| artifact.files.get(file).map(Vec::as_slice))
            .map_err(|fault| ServeError::Model { version: version.clone(), message: fault.to_string() })?;
        let reader = self.reader(&scorer, &version)?;
        let foretold = stored::foretold(&found.new.config);
        Ok(LoadedPropensity { version, foretold, model: Box::new(Served::new(scorer, reader)) })
    }
}

/// A model with the text model by which it reads texts, if it reads any.
struct Served {
    scorer: Scorer,
    reader: Option<Reader>,
    columns: Vec<TableColumn>,
    texts: Vec<String>,
}

impl Served {
    fn new(scorer: Scorer, reader: Option<Reader>) -> Self {
        let column = |name: &str| TableColumn { name: name.to_owned(), texts: scorer.takes_texts(name) };
        let columns = scorer.columns().into_iter().map(column).collect();
        let texts = scorer.texts.columns().into_iter().map(str::to_owned).collect();
        Self { scorer, reader, columns, texts }
    }

    fn read(&self, table: &DenseTable) -> Result<Vec<TextColumn>, PropensityFault> {
        let Some(reader) = &self.reader else { return Ok(Vec::new()) };
        Ok(reader.encode(&self.texts, table, |_| ())?.0)
    }
}

impl PropensityModel for Served {
    fn kind(&self) -> &'static str {
        self.scorer.model.classifier.kind().name()
    }

    fn columns(&self) -> &[TableColumn] {
        &self.columns
    }

    fn threshold(&self) -> f64 {
        self.scorer.model.threshold
    }

    fn probabilities(&self, table: &DenseTable) -> Result<Vec<f64>, PropensityFault> {
        Ok(self.scorer.probabilities(Rows { table, texts: &self.read(table)? })?)
    }

    fn because(&self, table: &DenseTable) -> Result<Because, PropensityFault> {
        let found = self.scorer.explain(Rows { table, texts: &self.read(table)? }, 0)?;
        Ok(Because { expected: found.expected, columns: found.columns })
    }
}
