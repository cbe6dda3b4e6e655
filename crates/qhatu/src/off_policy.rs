//! `qhatu off-policy`: what another way of choosing would have brought, from impressions logged with propensities.

use std::path::{Path, PathBuf};

use qhatu_eval::{Estimate, Foretold, Impression, OffPolicy, OffPolicySettings, off_policy};
use qhatu_ingest::read_table_file;
use qhatu_schema::{DenseColumn, DenseTable};

use crate::fault::Fault;
use crate::shop::say;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A table (CSV, plain, .gz or .zst; or a .parquet file) with a row per impression: `reward`, `propensity` (the probability with which it was
    /// shown), `target` (the probability with which the other way would have shown the same); for the direct and the
    /// doubly robust estimate also `foretold_shown` and `foretold_target`, the reward that a model foretells for what
    /// was shown and for what the other way shows.
    file: PathBuf,
    /// Weights (target / propensity) above this count as this: less spread for some bias.
    #[arg(long, default_value_t = f64::INFINITY)]
    clip: f64,
    /// Resamples of the 95 % intervals.
    #[arg(long, default_value_t = 1000)]
    bootstrap_samples: usize,
    /// Seed of the resamples.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Print the estimates as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let impressions = impressions(&args.file, &read_table_file(&args.file, &[])?)?;
    let settings =
        OffPolicySettings { clip: args.clip, bootstrap_samples: args.bootstrap_samples, seed: args.seed };
    let found = off_policy(&impressions, &settings)
        .map_err(|fault| Fault::Said(format!("{}: {fault}", args.file.display())))?;
    if args.json {
        say(serde_json::to_string_pretty(&found).map_err(|fault| Fault::Said(fault.to_string()))?);
    } else {
        say(table(&found));
    }
    Ok(())
}

fn impressions(path: &Path, table: &DenseTable) -> Result<Vec<Impression>, Fault> {
    let number = |name| numbers(path, table, name);
    let (rewards, propensities, targets) = (number("reward")?, number("propensity")?, number("target")?);
    let foretold = match (table.column("foretold_shown"), table.column("foretold_target")) {
        (None, None) => None,
        _ => Some((number("foretold_shown")?, number("foretold_target")?)),
    };
    let row = |place: usize| Impression {
        reward: rewards[place],
        propensity: propensities[place],
        target: targets[place],
        foretold: foretold
            .as_ref()
            .map(|(shown, target)| Foretold { shown: shown[place], target: target[place] }),
    };
    Ok((0..table.rows()).map(row).collect())
}

fn numbers(path: &Path, table: &DenseTable, name: &str) -> Result<Vec<f64>, Fault> {
    let said = |fault: String| Fault::Said(format!("{}: {fault}", path.display()));
    let values = match table.column(name) {
        Some(DenseColumn::Float(values)) => values,
        Some(DenseColumn::Time(_)) => return Err(said(format!("column {name} holds times, not numbers"))),
        Some(DenseColumn::Text(_) | DenseColumn::Label(_)) => {
            return Err(said(format!("column {name} holds texts, not numbers")));
        }
        None => {
            let found: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
            return Err(said(format!("no column {name}; there are {}", found.join(", "))));
        }
    };
    match values.iter().position(|value| value.is_nan()) {
        Some(row) => Err(said(format!("column {name} has no value in row {}", row + 1))),
        None => Ok(values.clone()),
    }
}

fn table(found: &OffPolicy) -> String {
    let line = |name: &str, estimate: &Estimate| {
        format!("{name:32}  {:.5}  [{:.5}, {:.5}]", estimate.mean, estimate.low, estimate.high)
    };
    let mut lines =
        vec![line("as it was logged", &found.logged), line("IPS", &found.ips), line("SNIPS", &found.snips)];
    lines.extend(found.dm.iter().map(|dm| line("direct method", dm)));
    lines.extend(found.dr.iter().map(|dr| line("doubly robust", dr)));
    lines.push(format!(
        "{} impressions, worth {:.0} of the other way's own; weights: mean {:.3}, largest {:.1}, {} clipped",
        found.logged.n, found.effective_sample_size, found.mean_weight, found.largest_weight, found.clipped
    ));
    lines.push("mean reward per impression; in brackets: 95 % interval".to_owned());
    // Clipped weights are smaller on purpose.
    if found.clipped == 0 && (found.mean_weight - 1.0).abs() > 0.1 {
        lines.push(
            "the mean weight is far from 1: the propensities are wrong, or were 0 for what the other way shows"
                .to_owned(),
        );
    }
    lines.join("\n")
}
