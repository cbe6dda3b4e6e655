//! `qhatu ingest`: files in.

use std::path::{Path, PathBuf};

use qhatu_ingest::{CheckSink, ImportReport, Importer, Mapping, Quarantine, Sink, StoreSink, online_retail};
use qhatu_schema::Timestamp;

use crate::config::{FILE, Project};
use crate::fault::Fault;
use crate::progress::Stage;
use crate::shop::{Shop, say, say_json};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The files: CSV or JSON Lines (plain, .gz or .zst), Parquet, or a file of the quarantine, mended.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The shop project.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Name of a mapping in qhatu.toml, or `online_retail`.
    #[arg(long)]
    mapping: Option<String>,
    /// Read and check, store nothing.
    #[arg(long)]
    check: bool,
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    if args.check {
        let project = Project::open(&args.dir)?;
        let mapping = mapping(&project, args.mapping.as_deref())?;
        let mut sink = CheckSink::default();
        let done = import_all(&args.files, mapping.as_ref(), &mut sink, &mut Quarantine::none());
        return answer(done, args.json, &Quarantine::none());
    }
    let shop = Shop::open(&args.dir)?;
    let mapping = mapping(&shop.project, args.mapping.as_deref())?;
    let mut sink = StoreSink { log: shop.log.clone(), catalogue: shop.catalogue() };
    let mut quarantine = quarantine(&shop);
    let done = import_all(&args.files, mapping.as_ref(), &mut sink, &mut quarantine);
    answer(done, args.json, &quarantine)
}

/// A quarantine file of this import, named by its moment.
pub(crate) fn quarantine(shop: &Shop) -> Quarantine {
    Quarantine::new(&shop.paths.quarantine_dir(), &format!("import-{}", Timestamp::now().millis()))
}

/// Imports files one after the other.
pub(crate) fn import(
    files: &[PathBuf],
    mapping: Option<&Mapping>,
    sink: &mut dyn Sink,
    quarantine: &mut Quarantine,
) -> Result<ImportReport, Fault> {
    let mut whole = ImportReport::default();
    for file in files {
        whole.add(&import_file(file, mapping, sink, quarantine)?);
    }
    Ok(whole)
}

fn import_file(
    file: &Path,
    mapping: Option<&Mapping>,
    sink: &mut dyn Sink,
    quarantine: &mut Quarantine,
) -> Result<ImportReport, Fault> {
    let stage = Stage::begin("import", 0);
    stage.say(&file.display().to_string());
    let mut show = |progress: qhatu_ingest::Progress| stage.at(progress.rows, progress.total.unwrap_or(0));
    let report = Importer::new(sink, quarantine, &mut show, Timestamp::now()).import(file, mapping)?;
    stage.end(&format!("{} rows, {} new events", report.rows, report.accepted));
    Ok(report)
}

/// Imports files; one that cannot be read leaves the others.
fn import_all(
    files: &[PathBuf],
    mapping: Option<&Mapping>,
    sink: &mut dyn Sink,
    quarantine: &mut Quarantine,
) -> (ImportReport, Vec<Fault>) {
    let mut whole = ImportReport::default();
    let mut faults = Vec::new();
    for file in files {
        match import_file(file, mapping, sink, quarantine) {
            Ok(report) => whole.add(&report),
            Err(fault) => faults.push(fault),
        }
    }
    (whole, faults)
}

/// Says what came of it; files that could not be read at all end the command with a fault, after the rest.
fn answer(
    (report, mut faults): (ImportReport, Vec<Fault>),
    json: bool,
    quarantine: &Quarantine,
) -> Result<(), Fault> {
    if report.files > 0 {
        if json {
            say_json(&Answer { report: &report, quarantine: quarantine.path() })?;
        } else {
            say(&report);
            if let Some(path) = quarantine.path() {
                say(format!("refused rows are in {}; mend them there and ingest that file", path.display()));
            }
        }
    }
    match faults.len() {
        0 => Ok(()),
        1 => Err(faults.remove(0)),
        count => {
            let all = faults.iter().map(|fault| format!("\n  - {fault}")).collect::<String>();
            Err(Fault::Said(format!("{count} files cannot be imported:{all}")))
        }
    }
}

/// What `--json` prints.
#[derive(serde::Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    report: &'a ImportReport,
    /// The file with the refused rows, where there are any.
    quarantine: Option<&'a Path>,
}

/// The mapping of a name, the project's usual one, or none.
fn mapping(project: &Project, name: Option<&str>) -> Result<Option<Mapping>, Fault> {
    let config = &project.config.ingest;
    let name = name.unwrap_or(&config.mapping);
    match (config.mappings.get(name), name) {
        (Some(mapping), _) => Ok(Some(mapping.clone())),
        (None, "") => Ok(None),
        (None, "online_retail") => Ok(Some(online_retail())),
        (None, name) => {
            let known: Vec<&str> = config.mappings.keys().map(String::as_str).collect();
            Err(Fault::Said(format!(
                "there is no mapping {name:?}; there are {}; write one under [ingest.mappings.{name}] in {FILE}",
                [known, vec!["online_retail"]].concat().join(", ")
            )))
        }
    }
}
