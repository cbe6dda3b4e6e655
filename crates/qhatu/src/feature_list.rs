//! `qhatu features list`: the catalogue of features, with what registered models make of them.

use std::collections::BTreeMap;

use qhatu_features::{CatalogueEntry, Declarations};
use serde::Serialize;

use crate::config::Project;
use crate::fault::Fault;
use crate::shop::{registry, say, say_json};

/// A version's figures of this prefix say how much each feature matters to it: `importance.user_views`.
const IMPORTANCE: &str = "importance.";

/// An entry with its importance by model version; empty where no version says.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    entry: CatalogueEntry,
    importance: BTreeMap<String, f64>,
}

/// Prints all features or one.
pub(crate) fn run(
    project: &Project,
    declarations: &Declarations,
    name: Option<&str>,
    json: bool,
) -> Result<(), Fault> {
    let name = name.map(|name| declarations.find(name)).transpose()?.map(|feature| feature.name.as_str());
    let importances = importances(project)?;
    let entries = declarations.catalogue().into_iter();
    let listed: Vec<Listed> = entries
        .filter(|entry| name.is_none_or(|name| entry.name == name))
        .map(|entry| Listed { importance: importances.get(&entry.name).cloned().unwrap_or_default(), entry })
        .collect();
    if json {
        return say_json(&listed);
    }
    listed.iter().for_each(say_entry);
    if importances.is_empty() {
        say("importance: not known; no registered model version says what these features are worth to it");
    }
    Ok(())
}

fn say_entry(listed: &Listed) {
    let CatalogueEntry { name, aliases, meaning, value_type, entity, window, source, update_frequency } =
        &listed.entry;
    let also = if aliases.is_empty() { String::new() } else { format!(" (also {})", aliases.join(", ")) };
    say(format!("{name:26} {:13} {value_type:7} {window:14} {meaning}{also}", entity.as_str()));
    say(format!("{:26} from {source}; changes {update_frequency}", ""));
    for (version, importance) in &listed.importance {
        say(format!("{:26} importance {importance:.4} in {version}", ""));
    }
}

/// By feature, then by model version.
fn importances(project: &Project) -> Result<BTreeMap<String, BTreeMap<String, f64>>, Fault> {
    let mut all: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    if !project.paths().metadata_dir().exists() {
        return Ok(all);
    }
    for version in registry(project)?.versions(&project.config.registry.model)? {
        let label = format!("{}@{}", version.model, version.version);
        for (name, figure) in &version.new.metrics {
            if let Some(feature) = name.strip_prefix(IMPORTANCE) {
                all.entry(feature.to_owned()).or_default().insert(label.clone(), *figure);
            }
        }
    }
    Ok(all)
}
