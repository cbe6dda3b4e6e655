//! `qhatu init`: a folder becomes a shop project.

use std::fs;
use std::path::PathBuf;

use qhatu_store::write_atomic;

use crate::config::FILE;
use crate::fault::Fault;
use crate::shop::say;

/// Every key with its default and what it means.
pub(crate) const TEMPLATE: &str = include_str!("qhatu.toml");

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder; made where it is not there.
    dir: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    fs::create_dir_all(&args.dir).map_err(Fault::io("create", &args.dir))?;
    let path = args.dir.join(FILE);
    if path.exists() {
        return Err(Fault::Said(format!("{} is there already and stays as it is", path.display())));
    }
    write_atomic(&path, TEMPLATE.as_bytes())?;
    let dir = args.dir.display();
    say(format!(
        "{} is written.\n\nNext:\n  qhatu ingest --dir {dir} events.jsonl    # or any CSV with a mapping in {FILE}\n  \
         qhatu train --dir {dir}\n  qhatu serve --dir {dir}",
        path.display()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::TEMPLATE;
    use crate::config::{Config, read};
    use std::path::Path;

    /// The template says nothing but the defaults, and names every key of the sections.
    #[test]
    fn the_template_is_the_defaults_and_complete() {
        let config = read(Path::new("qhatu.toml"), TEMPLATE, std::iter::empty()).unwrap();
        let default = Config::default();
        assert_eq!(config.shop, default.shop);
        assert_eq!(config.store, default.store);
        assert_eq!(config.features, default.features);
        assert_eq!(config.train, default.train);
        assert_eq!(config.registry, default.registry);
        assert_eq!(format!("{:?}", config.serve), format!("{:?}", default.serve));
        let sections = [
            ("shop", toml::Value::try_from(&default.shop)),
            ("store", toml::Value::try_from(&default.store)),
            ("ingest", toml::Value::try_from(&default.ingest)),
            ("features", toml::Value::try_from(&default.features)),
            ("train", toml::Value::try_from(&default.train)),
            ("registry", toml::Value::try_from(&default.registry)),
            ("serve", toml::Value::try_from(&default.serve)),
        ];
        for (name, section) in sections {
            let body = TEMPLATE.split(&format!("[{name}]")).nth(1).unwrap();
            for key in section.unwrap().as_table().unwrap().keys() {
                let named = body.lines().any(|line| {
                    let line = line.trim_start_matches(['#', ' ']);
                    line.starts_with(&format!("{key} =")) || line.starts_with(&format!("[{name}.{key}"))
                });
                assert!(named, "[{name}] {key} is not in the template");
            }
        }
    }

    /// The example mapping of the template is one, names every key, and says the defaults that it calls so.
    #[test]
    fn the_template_s_mapping_can_be_used() {
        let (_, rest) = TEMPLATE.split_once("# [ingest.mappings.orders]").unwrap();
        let (example, _) = rest.split_once("# mappings = {}").unwrap();
        let lines = example.lines().map(|line| line.trim_start_matches("# "));
        let text = lines
            .filter(|line| !line.starts_with("also:"))
            .fold("[ingest.mappings.orders]".to_owned(), |text, line| text + "\n" + line);
        let config = read(Path::new("qhatu.toml"), &text, std::iter::empty()).unwrap();
        let mapping = &config.ingest.mappings["orders"];
        assert_eq!(mapping.rules, qhatu_ingest::Rules::default());
        let known = toml::Value::try_from(qhatu_ingest::online_retail()).unwrap();
        for key in known.as_table().unwrap().keys().chain(known["rules"].as_table().unwrap().keys()) {
            assert!(example.contains(key), "{key} is not in the template");
        }
        for column in known["columns"].as_table().unwrap().keys() {
            assert!(example.contains(column), "column {column} is not in the template");
        }
    }
}
