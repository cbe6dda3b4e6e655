//! `qhatu models`: the registry from the command line.

use std::path::PathBuf;

use qhatu_registry::{Evidence, ModelVersion, Registry};
use qhatu_schema::Timestamp;
use qhatu_store::open_documents;

use crate::config::Project;
use crate::fault::Fault;
use crate::shop::{say, say_json};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// The shop project.
    #[arg(long, default_value = ".", global = true)]
    dir: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// All versions, with the aliases that point to them.
    List,
    /// Everything that is known of a version, as JSON.
    Show {
        /// Its number.
        version: u64,
    },
    /// Make a version champion, if it beats the present one on the gate's metric.
    Promote {
        /// Its number.
        version: u64,
    },
    /// Make the champion before this one champion again.
    Rollback {
        /// Why; kept with the alias.
        #[arg(long, default_value = "rolled back by hand")]
        reason: String,
    },
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let project = Project::open(&args.dir)?;
    let paths = project.paths();
    let registry = Registry::new(open_documents(&paths.metadata_dir())?, paths.artifacts_dir());
    let model = project.config.registry.model.as_str();
    match &args.command {
        Command::List => list(&registry, model, &project.config.registry.metric),
        Command::Show { version } => say_json(&registry.version(model, *version)?),
        Command::Promote { version } => promote(&registry, &project, *version),
        Command::Rollback { reason } => {
            let now = registry.rollback(model, reason, Timestamp::now())?;
            say(format!("{model} {} ({}) is champion again", now.version, now.new.kind));
            Ok(())
        }
    }
}

fn list(registry: &Registry, model: &str, metric: &str) -> Result<(), Fault> {
    let pointed = |alias: &str| -> Result<Option<u64>, Fault> {
        Ok(registry.alias(model, alias)?.map(|version| version.version))
    };
    let aliases = [("champion", pointed("champion")?), ("challenger", pointed("challenger")?)];
    let versions = registry.versions(model)?;
    if versions.is_empty() {
        say("there is no version yet; `qhatu train` makes one");
    }
    for version in versions {
        let own = aliases.iter().filter(|(_, pointed)| *pointed == Some(version.version));
        let names: Vec<&str> = own.map(|(name, _)| *name).collect();
        let figure = version.new.metrics.get(metric).map_or("-".to_owned(), |figure| format!("{figure:.4}"));
        say(format!(
            "{:>4}  {:18} {metric} {figure}  {}  {}",
            version.version,
            version.new.kind,
            version.created,
            names.join(", ")
        ));
    }
    Ok(())
}

/// The figures that both versions were registered with decide; they must be of one protocol and data.
fn promote(registry: &Registry, project: &Project, number: u64) -> Result<(), Fault> {
    let config = &project.config.registry;
    let gate = config.gate();
    let version = registry.version(&config.model, number)?;
    let figure = |version: &ModelVersion| version.new.metrics.get(&gate.metric).copied().unwrap_or(f64::NAN);
    let candidate = figure(&version);
    let evidence = match registry.alias(&config.model, "champion")? {
        Some(champion) => {
            let same =
                |version: &ModelVersion| (version.new.protocol.clone(), version.new.data_fingerprint.clone());
            if same(&champion) != same(&version) {
                return Err(Fault::Said(format!(
                    "version {number} and the champion (version {}) were judged on different data; \
                     `qhatu train` judges both on the same",
                    champion.version
                )));
            }
            let against = format!("champion v{} ({})", champion.version, champion.new.kind);
            Evidence { candidate, against, reference: figure(&champion), interval: None }
        }
        None => {
            let baseline =
                version.new.baselines.get(&gate.baseline).and_then(|figures| figures.get(&gate.metric));
            let reference = baseline.copied().unwrap_or(f64::NAN);
            Evidence { candidate, against: gate.baseline.clone(), reference, interval: None }
        }
    };
    let decision = registry.promote(&version, &gate, &evidence, Timestamp::now())?;
    let verb = if decision.promoted { "promoted to champion" } else { "not promoted" };
    let text = format!("{} {number} is {verb}; {}", config.model, decision.reason);
    if decision.promoted {
        say(text);
        return Ok(());
    }
    Err(Fault::Said(text))
}
