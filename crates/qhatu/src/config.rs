//! The configuration of a shop project: `qhatu.toml`, a section per room.
//!
//! Defaults in code < file < environment (`QHATU__SERVE__PORT=8080`) < flags. Unknown keys are
//! refused, and every fault is listed at once: each key is tried by itself before the whole is read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use qhatu_ingest::Mapping;
use qhatu_registry::Gate;
use qhatu_serve::ServeConfig;
use qhatu_store::Paths;
use qhatu_train::TrainConfig;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// The name of the file within a project.
pub(crate) const FILE: &str = "qhatu.toml";
const PREFIX: &str = "QHATU__";

/// Everything that can be set.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// `[shop]`
    pub(crate) shop: ShopConfig,
    /// `[store]`
    pub(crate) store: StoreConfig,
    /// `[ingest]`
    pub(crate) ingest: IngestConfig,
    /// `[features]`
    pub(crate) features: FeaturesConfig,
    /// `[train]`
    pub(crate) train: TrainConfig,
    /// `[registry]`
    pub(crate) registry: RegistryConfig,
    /// `[serve]`
    pub(crate) serve: ServeConfig,
}

/// `[shop]`: who the shop is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ShopConfig {
    /// Shown in reports and the console.
    pub(crate) name: String,
}

/// `[store]`: where things are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StoreConfig {
    /// Folder for log, lake, metadata, artifacts and reports; relative to the project.
    pub(crate) dir: PathBuf,
}

/// `[ingest]`: how files become events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IngestConfig {
    /// The mapping used where `--mapping` names none; empty: qhatu's own shape and GA4 are recognized.
    pub(crate) mapping: String,
    /// Mappings by name.
    pub(crate) mappings: BTreeMap<String, Mapping>,
}

/// `[features]`: what is computed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FeaturesConfig {
    /// A file with the shop's own declarations, relative to the project; empty: the built-in ones only.
    pub(crate) declarations: PathBuf,
}

/// `[registry]`: the model's name and its gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RegistryConfig {
    /// The name under which versions are registered.
    pub(crate) model: String,
    /// The figure that decides, as `target.metric`.
    pub(crate) metric: String,
    /// What the first champion must beat.
    pub(crate) baseline: String,
    /// Whether the difference must be clear of chance.
    pub(crate) require_significant: bool,
}

impl Default for ShopConfig {
    fn default() -> Self {
        Self { name: "My shop".to_owned() }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { dir: PathBuf::from("data") }
    }
}

impl Default for RegistryConfig {
    fn default() -> Self {
        let Gate { metric, baseline, require_significant, .. } = Gate::default();
        Self { model: "recommender".to_owned(), metric, baseline, require_significant }
    }
}

impl RegistryConfig {
    pub(crate) fn gate(&self) -> Gate {
        Gate {
            metric: self.metric.clone(),
            baseline: self.baseline.clone(),
            require_significant: self.require_significant,
            or_equal: false,
        }
    }
}

/// A project: its folder, its configuration and its places.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) root: PathBuf,
    pub(crate) config: Config,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("there is no {} ({source}); `qhatu init {}` makes a project", path.display(), root.display())]
    Missing { path: PathBuf, root: PathBuf, source: std::io::Error },
    #[error("{} is not TOML: {fault}", path.display())]
    Syntax { path: PathBuf, fault: String },
    #[error("{} has {} fault{}:\n{}", path.display(), faults.len(), if faults.len() == 1 { "" } else { "s" }, list(faults))]
    Faults { path: PathBuf, faults: Vec<String> },
}

fn list(faults: &[String]) -> String {
    faults.iter().map(|fault| format!("  - {fault}")).collect::<Vec<_>>().join("\n")
}

impl Project {
    /// Opens the project in `root`, with the environment's settings on top of the file's.
    pub(crate) fn open(root: &Path) -> Result<Self, ConfigError> {
        let path = root.join(FILE);
        let text = fs::read_to_string(&path).map_err(|source| ConfigError::Missing {
            path: path.clone(),
            root: root.to_owned(),
            source,
        })?;
        let environment = std::env::vars().filter(|(name, _)| name.starts_with(PREFIX));
        Ok(Self { root: root.to_owned(), config: read(&path, &text, environment)? })
    }

    /// Where the project keeps what.
    pub(crate) fn paths(&self) -> Paths {
        Paths::new(self.root.join(&self.config.store.dir))
    }
}

/// Reads a configuration; `environment` holds `QHATU__SECTION__KEY` settings.
pub(crate) fn read(
    path: &Path,
    text: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: path.to_owned(),
        fault: error.to_string(),
    })?;
    let mut faults = Vec::new();
    for (name, value) in environment {
        set(&mut table, &name, &value, &mut faults);
    }
    let config = Config {
        shop: section(&mut table, "shop", &mut faults),
        store: section(&mut table, "store", &mut faults),
        ingest: section(&mut table, "ingest", &mut faults),
        features: section(&mut table, "features", &mut faults),
        train: section(&mut table, "train", &mut faults),
        registry: section(&mut table, "registry", &mut faults),
        serve: section(&mut table, "serve", &mut faults),
    };
    for name in table.keys() {
        faults.push(format!(
            "[{name}] is no section; there are shop, store, ingest, features, train, registry and serve"
        ));
    }
    if faults.is_empty() { Ok(config) } else { Err(ConfigError::Faults { path: path.to_owned(), faults }) }
}

/// Takes a section out of the table; a fault per key that cannot be read.
fn section<T: DeserializeOwned + Default>(table: &mut Table, name: &str, faults: &mut Vec<String>) -> T {
    let Some(value) = table.remove(name) else { return T::default() };
    let Value::Table(entries) = &value else {
        faults.push(format!("{name} is a section: write [{name}]"));
        return T::default();
    };
    let before = faults.len();
    find_faults::<T>(name, &[], entries, faults);
    match T::deserialize(value.clone()) {
        Ok(section) => section,
        Err(error) => {
            if faults.len() == before {
                faults.push(format!("[{name}] {}", one_line(&error)));
            }
            T::default()
        }
    }
}

/// Tries each key by itself, going into tables whose keys can be tried by themselves.
fn find_faults<T: DeserializeOwned>(
    section: &str,
    inside: &[&str],
    entries: &Table,
    faults: &mut Vec<String>,
) {
    for (key, value) in entries {
        let mut place = inside.to_vec();
        place.push(key);
        let Err(error) = T::deserialize(nest(&place, value.clone())) else { continue };
        let before = faults.len();
        if let Value::Table(deeper) = value
            && T::deserialize(nest(&place, Value::Table(Table::new()))).is_ok()
        {
            find_faults::<T>(section, &place, deeper, faults);
        }
        if faults.len() == before {
            faults.push(format!("[{section}] {}: {}", place.join("."), one_line(&error)));
        }
    }
}

/// `a.b = value` as a table of tables.
fn nest(place: &[&str], value: Value) -> Value {
    place.iter().rev().fold(value, |inner, key| {
        let mut table = Table::new();
        table.insert((*key).to_owned(), inner);
        Value::Table(table)
    })
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}

/// Sets what an environment variable says, read as TOML where it is TOML, as text otherwise.
fn set(table: &mut Table, name: &str, value: &str, faults: &mut Vec<String>) {
    let path: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_lowercase).collect();
    let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
    let Some((last, sections)) = path.split_last().filter(|(_, sections)| !sections.is_empty()) else {
        faults.push(format!("{name} names no key; write {PREFIX}SECTION__KEY"));
        return;
    };
    let mut table = table;
    for section in sections {
        let entry = table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = entry else {
            faults.push(format!("{name}: {section} is not a section"));
            return;
        };
        table = inner;
    }
    table.insert(last.clone(), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        match read(Path::new(FILE), text, environment) {
            Ok(_) => Vec::new(),
            Err(ConfigError::Faults { faults, .. }) => faults,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn nothing_set_is_all_defaults() {
        assert!(faults("", &[]).is_empty());
    }

    #[test]
    fn every_fault_is_listed_at_once() {
        let text = "
            [shop]
            nam = 'x'
            [store]
            dir = 5
            [registry]
            require_significant = 'yes'
            metric = 'all.ndcg_at_10'
            [serv]
            port = 1
        ";
        let found = faults(text, &[]);
        let says = |words: &[&str]| found.iter().any(|fault| words.iter().all(|word| fault.contains(word)));
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(says(&["[shop] nam", "unknown field"]), "{found:#?}");
        assert!(says(&["[store] dir", "invalid type"]), "{found:#?}");
        assert!(says(&["[registry] require_significant"]), "{found:#?}");
        assert!(says(&["[serv] is no section"]), "{found:#?}");
    }

    #[test]
    fn the_environment_goes_over_the_file() {
        let environment = [("QHATU__SHOP__NAME".to_owned(), "Tienda".to_owned())];
        let config = read(Path::new(FILE), "[shop]\nname = 'Shop'", environment.into_iter()).unwrap();
        assert_eq!(config.shop.name, "Tienda");
        assert_eq!(faults("", &[("QHATU__SHOP__NAM", "x")]).len(), 1);
        assert_eq!(faults("", &[("QHATU__NAME", "x")]).len(), 1);
    }
}
