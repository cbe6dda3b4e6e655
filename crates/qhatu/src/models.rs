//! `qhatu models`: the registry from the command line.

use std::path::PathBuf;

use qhatu_registry::{Evidence, Manifest, ModelVersion, Registry};
use qhatu_schema::Timestamp;
use serde_json::{Value, json};

use crate::config::Project;
use crate::fault::Fault;
use crate::shop::{registry, say, say_json};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// The shop project.
    #[arg(long, default_value = ".", global = true)]
    dir: PathBuf,
    /// Answer as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// All versions, with the aliases that point to them.
    List,
    /// Everything that is known of a version, and whether its files are what was registered.
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
    let registry = registry(&project)?;
    let shelf = Shelf { registry, project, json: args.json };
    match &args.command {
        Command::List => shelf.list(),
        Command::Show { version } => shelf.show(*version),
        Command::Promote { version } => shelf.promote(*version),
        Command::Rollback { reason } => shelf.rollback(reason),
    }
}

struct Shelf {
    registry: Registry,
    project: Project,
    json: bool,
}

impl Shelf {
    fn model(&self) -> &str {
        &self.project.config.registry.model
    }

    /// The aliases that point to a version.
    fn aliases(&self, version: u64) -> Result<Vec<String>, Fault> {
        let all = self.registry.aliases(self.model())?.into_iter();
        Ok(all.filter(|alias| alias.version() == Some(version)).map(|alias| alias.name).collect())
    }

    fn list(&self) -> Result<(), Fault> {
        let metric = self.project.config.registry.metric.as_str();
        let versions = self.registry.versions(self.model())?;
        if self.json {
            let entry = |version: &ModelVersion| -> Result<Value, Fault> {
                Ok(with_aliases(json!(version), self.aliases(version.version)?))
            };
            return say_json(&versions.iter().map(entry).collect::<Result<Vec<Value>, Fault>>()?);
        }
        if versions.is_empty() {
            say("there is no version yet; `qhatu train` makes one");
        }
        for version in versions {
            let figure = version.new.metrics.get(metric);
            let figure = figure.map_or("-".to_owned(), |figure| format!("{figure:.4}"));
            let names = self.aliases(version.version)?.join(", ");
            let line = format!(
                "{:>4}  {:18} {metric} {figure}  {}  {names}",
                version.version, version.new.kind, version.created
            );
            say(line.trim_end());
        }
        Ok(())
    }

    fn show(&self, number: u64) -> Result<(), Fault> {
        let version = self.registry.version(self.model(), number)?;
        let aliases = self.aliases(number)?;
        let run = self.registry.run(&version.new.run_id)?;
        let opened = self.registry.open(&version);
        if self.json {
            let mut answer = with_aliases(json!(version), aliases);
            answer["run"] = json!(run);
            match &opened {
                Ok(artifact) => answer["files"] = json!(artifact.manifest.files),
                Err(fault) => answer["fault"] = json!(fault.to_string()),
            }
            say_json(&answer)?;
        } else {
            say(describe(&version, &aliases));
            if let Some(run) = run {
                say(format!("run           {} of {}, seed {}", run.id, run.started, run.new.seed));
            }
            if let Ok(artifact) = &opened {
                say(files(&artifact.manifest));
            }
        }
        opened.map(drop).map_err(Fault::from)
    }

    fn promote(&self, number: u64) -> Result<(), Fault> {
        let gate = self.project.config.registry.gate();
        let version = self.registry.version(self.model(), number)?;
        let evidence = self.evidence(&version)?;
        let decision = self.registry.promote(&version, &gate, &evidence, Timestamp::now())?;
        let verb = if decision.promoted { "promoted to champion" } else { "not promoted" };
        let text = format!("{} {number} is {verb}; {}", self.model(), decision.reason);
        if self.json {
            say_json(&json!({ "model": self.model(), "version": number, "decision": decision }))?;
        } else if decision.promoted {
            say(&text);
        }
        if decision.promoted { Ok(()) } else { Err(Fault::Said(text)) }
    }

    /// The figures that both versions were registered with decide; they must be of one protocol and data.
    fn evidence(&self, version: &ModelVersion) -> Result<Evidence, Fault> {
        let gate = self.project.config.registry.gate();
        let figure =
            |version: &ModelVersion| version.new.metrics.get(&gate.metric).copied().unwrap_or(f64::NAN);
        let candidate = figure(version);
        let Some(champion) = self.registry.alias(self.model(), "champion")? else {
            let baseline = version.new.baselines.get(&gate.baseline);
            let reference = baseline.and_then(|figures| figures.get(&gate.metric)).copied();
            return Ok(Evidence {
                candidate,
                against: gate.baseline.clone(),
                reference: reference.unwrap_or(f64::NAN),
                interval: None,
                champion: None,
            });
        };
        let judged_on =
            |version: &ModelVersion| (version.new.protocol.clone(), version.new.data_fingerprint.clone());
        if judged_on(&champion) != judged_on(version) {
            return Err(Fault::Said(format!(
                "version {} and the champion (version {}) were judged on different data; \
                 `qhatu train` judges both on the same",
                version.version, champion.version
            )));
        }
        Ok(Evidence {
            candidate,
            against: format!("champion v{} ({})", champion.version, champion.new.kind),
            reference: figure(&champion),
            interval: None,
            champion: Some(champion.version),
        })
    }

    fn rollback(&self, reason: &str) -> Result<(), Fault> {
        let now = self.registry.rollback(self.model(), reason, Timestamp::now())?;
        if self.json {
            return say_json(&with_aliases(json!(now), self.aliases(now.version)?));
        }
        say(format!("{} {} ({}) is champion again", self.model(), now.version, now.new.kind));
        Ok(())
    }
}

fn with_aliases(mut version: Value, aliases: Vec<String>) -> Value {
    version["aliases"] = json!(aliases);
    version
}

fn describe(version: &ModelVersion, aliases: &[String]) -> String {
    let new = &version.new;
    let mut lines = vec![
        format!("version       {} {} ({})", version.model, version.version, new.kind),
        format!("aliases       {}", if aliases.is_empty() { "-".to_owned() } else { aliases.join(", ") }),
        format!("registered    {}", version.created),
        format!("judged on     {}", new.protocol),
        format!("data          {}", new.data_fingerprint),
        format!("program       qhatu {}", new.code_version),
        format!("settings      {}", new.config),
    ];
    lines.extend(new.metrics.iter().map(|(name, figure)| format!("    {name:28} {figure:.4}")));
    lines.join("\n")
}

fn files(manifest: &Manifest) -> String {
    let line = |file: &qhatu_registry::ManifestFile| {
        format!("    {:28} {:>12} bytes  sha256 {}", file.name, file.bytes, file.sha256)
    };
    let lines: Vec<String> = manifest.files.iter().map(line).collect();
    format!("files, checked against what was registered:\n{}", lines.join("\n"))
}
