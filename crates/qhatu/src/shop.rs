//! A project's stores, opened once for a command.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use qhatu_features::Declarations;
use qhatu_models::saved;
use qhatu_registry::Registry;
use qhatu_schema::{Currency, ItemId, LimaDay, Money};
use qhatu_store::{Catalogue, Documents, EventLog, Lake, Paths, open_documents, open_event_log};
use qhatu_text::{LatentSemantics, TextEncoder};
use qhatu_train::{FoldInputs, ItemSide, Place, ShopData, TrainConfig, TrainError, Wanted, Wants};

use crate::config::Project;
use crate::fault::Fault;
use crate::progress::Stage;

/// Titles between two words of progress.
const SOME_TITLES: usize = 1_024;
/// The program's version with the commit it was built from, where that is known: `"0.1.0+615aee5"`.
pub(crate) const CODE_VERSION: &str = env!("QHATU_CODE_VERSION");

/// What commands work on.
pub(crate) struct Shop {
    pub(crate) project: Project,
    pub(crate) paths: Paths,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) documents: Arc<dyn Documents>,
    /// What a search may fit beside what the configuration says.
    pub(crate) searched: Vec<TrainConfig>,
    champion: OnceLock<Wants>,
}

impl Shop {
    /// Opens the project in `root` for reading and writing.
    pub(crate) fn open(root: &Path) -> Result<Self, Fault> {
        let project = Project::open(root)?;
        let paths = project.paths();
        let log = open_event_log(&paths.log_dir())?;
        let documents = open_documents(&paths.metadata_dir())?;
        Ok(Self { project, paths, log, documents, searched: Vec::new(), champion: OnceLock::new() })
    }

    pub(crate) fn catalogue(&self) -> Catalogue {
        Catalogue::new(Arc::clone(&self.documents))
    }

    pub(crate) fn registry(&self) -> Registry {
        Registry::new(Arc::clone(&self.documents), self.paths.artifacts_dir())
    }

    /// The lake with everything that the log has, and the catalogue beside it.
    pub(crate) fn lake(&self) -> Result<Lake, Fault> {
        let lake = Lake::open(self.paths.lake_dir())?;
        if lake.compact(&*self.log)?.events > 0 {
            lake.write_items(&self.catalogue().items()?)?;
            lake.write_users(&self.catalogue().users()?)?;
        }
        Ok(lake)
    }

    pub(crate) fn data(&self) -> Result<ShopData, Fault> {
        self.with_sides(self.read(&self.lake()?, None)?, true)
    }

    /// What the lake has, up to a day, with all that shoppers and visits did, and with the shop's features, where a model that
    /// is to be fitted, or the champion, reads them.
    pub(crate) fn read(&self, lake: &Lake, before: Option<LimaDay>) -> Result<ShopData, Fault> {
        let wants = self.wants();
        let fold = match wants.fold {
            true => {
                let (declarations, items) = (self.declarations()?, Arc::new(self.catalogue().items()?));
                Some(FoldInputs { declarations, items })
            }
            false => None,
        };
        Ok(ShopData::read(lake, Wanted { before, acts: wants.acts, fold })?)
    }

    /// What is to be read of the shop: all that a model which is to be fitted or tried wants, and the model that serves, if it
    /// can be read, for it is judged beside them.
    fn wants(&self) -> Wants {
        let tried = self.searched.iter().map(TrainConfig::wants).fold(Wants::default(), Wants::with);
        let champion = *self.champion.get_or_init(|| self.read_champion().unwrap_or_default());
        self.project.config.train.wants().with(tried).with(champion)
    }

    fn read_champion(&self) -> Option<Wants> {
        let registry = self.registry();
        let version = registry.alias(&self.project.config.registry.model, "champion").ok()??;
        let artifact = registry.open(&version).ok()?;
        let (_, model) = saved::from_files(|name| artifact.files.get(name).map(Vec::as_slice)).ok()?;
        Some(Wants::of_model(&*model))
    }

    /// The folder of the text model by which a model that is to be fitted reads titles, if there is one.
    pub(crate) fn text_model(&self) -> Option<PathBuf> {
        let wants = self.wants();
        let folder = &self.project.config.train.text_neighbours.model;
        ((wants.text || wants.titles) && !folder.is_empty()).then(|| self.project.root.join(folder))
    }

    /// The data with what the catalogue says of shoppers and items, as far as a model that is to be fitted takes it; of
    /// `cold` items too, which nobody bought yet. Prices are those in the currency that most items have, for amounts of two
    /// currencies have no order.
    pub(crate) fn with_sides(&self, data: ShopData, cold: bool) -> Result<ShopData, Fault> {
        let config = &self.project.config.train;
        let (wanted, folder) = (self.wants(), &config.text_neighbours.model);
        let data = match wanted.departments {
            true => data.with_departments(&self.catalogue().users()?),
            false => data,
        };
        if wanted.titles && folder.is_empty() {
            return Err(TrainError::NoItemVectors.into());
        }
        let text = wanted.text || wanted.titles;
        if !wanted.items() {
            return Ok(data);
        }
        let mut items = self.catalogue().items()?;
        items.retain(|item| cold || data.vocabulary.idx(&item.item_id).is_some());
        let currency = most_frequent(items.iter().filter_map(|item| Some(item.price?.currency)));
        let mut said: BTreeMap<ItemId, ItemSide> = BTreeMap::new();
        for item in &items {
            let category = item.category.clone().filter(|_| wanted.category);
            let price = item.price.filter(|price| wanted.price_band && Some(price.currency) == currency);
            let price = price.map(Money::units);
            let side = ItemSide { vector: Vec::new(), category, price };
            if text || side.category.is_some() || side.price.is_some() {
                said.insert(item.item_id.clone(), side);
            }
        }
        if text {
            items.retain(|item| !item.title.trim().is_empty());
            let titles: Vec<&str> = items.iter().map(|item| item.title.as_str()).collect();
            let (width, vectors) = self.title_vectors(&titles)?;
            for (item, vector) in items.iter().zip(vectors.chunks_exact(width.max(1))) {
                said.entry(item.item_id.clone()).or_default().vector = vector.to_vec();
            }
            said.retain(|_, side| *side != ItemSide::default());
        }
        Ok(data.with_item_sides(&said, config.item_sides.price_bands))
    }

    /// Vectors of titles and their width: by the text model that the configuration names, or by what words occur together.
    fn title_vectors(&self, titles: &[&str]) -> Result<(usize, Vec<f32>), Fault> {
        let config = &self.project.config.train;
        match config.text_neighbours.model.as_str() {
            "" => {
                let space = LatentSemantics::fit(titles, config.item_sides.latent_width, config.seed);
                Ok((space.width(), space.encode(titles)))
            }
            folder => {
                let encoder = TextEncoder::read(&self.project.root.join(folder))?;
                let stage = Stage::begin("titles", titles.len() as u64);
                let mut vectors = Vec::with_capacity(titles.len() * encoder.width());
                for (place, some) in titles.chunks(SOME_TITLES).enumerate() {
                    vectors.extend(encoder.encode(some)?);
                    stage.at((place * SOME_TITLES + some.len()) as u64, titles.len() as u64);
                }
                stage.end(&format!("{} read by {folder}", titles.len()));
                Ok((encoder.width(), vectors))
            }
        }
    }

    pub(crate) fn declarations(&self) -> Result<Arc<Declarations>, Fault> {
        declarations(&self.project)
    }

    /// Where a training reads and writes.
    pub(crate) fn place(&self) -> Place {
        Place {
            work: self.paths.work_dir(),
            model: self.project.config.registry.model.clone(),
            gate: self.project.config.registry.gate(),
            code_version: CODE_VERSION.to_owned(),
        }
    }
}

/// The registry of a project alone, which needs no event log, so that a server may be running.
pub(crate) fn registry(project: &Project) -> Result<Registry, Fault> {
    let paths = project.paths();
    Ok(Registry::new(open_documents(&paths.metadata_dir())?, paths.artifacts_dir()))
}

/// The currency that is there most often; of several the first by its letters.
fn most_frequent(currencies: impl Iterator<Item = Currency>) -> Option<Currency> {
    let mut counts: BTreeMap<Currency, usize> = BTreeMap::new();
    currencies.for_each(|currency| *counts.entry(currency).or_default() += 1);
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(currency, _)| currency)
}

/// The built-in features and the shop's own.
pub(crate) fn declarations(project: &Project) -> Result<Arc<Declarations>, Fault> {
    let file = &project.config.features.declarations;
    if file.as_os_str().is_empty() {
        return Ok(Arc::new(Declarations::default()));
    }
    let path = project.root.join(file);
    let text = std::fs::read_to_string(&path).map_err(Fault::io("read", &path))?;
    let declarations = Declarations::from_toml(&text);
    Ok(Arc::new(declarations.map_err(|fault| Fault::Said(format!("{}: {fault}", path.display())))?))
}

/// Prints an answer to standard output. Where nobody reads it any more, as behind `| head`, the program ends.
pub(crate) fn say(text: impl std::fmt::Display) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Prints an answer as JSON.
pub(crate) fn say_json(answer: &impl serde::Serialize) -> Result<(), Fault> {
    let text = serde_json::to_string_pretty(answer).map_err(|fault| Fault::Said(fault.to_string()))?;
    say(text);
    Ok(())
}
