//! `docs/reference/benchmarks.md`, made from the kept results so that no figure is typed by hand.

use std::fmt::Write;
use std::path::Path;

use super::{BENCHES, Outcome, Row};

/// Writes the page anew from `benches/results/*.json`.
pub(crate) fn write(root: &Path) -> Result<(), String> {
    let text = render(&read(root)?);
    let path = root.join("docs/reference/benchmarks.md");
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn read(root: &Path) -> Result<Vec<Outcome>, String> {
    let mut outcomes = Vec::new();
    for (name, ..) in BENCHES {
        let path = root.join("benches/results").join(format!("{name}.json"));
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        outcomes.push(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    Ok(outcomes)
}

fn render(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "# Benchmarks\n\n\
         Made by `cargo xtask bench` from `benches/results/`; do not edit. Ours and the peer run in turns in one\n\
         run on the same data. Figures are medians, with the smallest and largest run; a ratio above 1 says how\n\
         many times better ours is. Times depend on the machine; ratios less so.\n",
    );
    for outcome in outcomes {
        let Outcome { name, about, date, machine, commit, rows } = outcome;
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n## {name}\n\n{about}.\n`cargo xtask bench {name}` on {date}, {machine}, commit {commit}.\n\n"
        );
        text.push_str(
            "| what | unit | ours | peer | ratio | goal | |\n| --- | --- | --- | --- | --- | --- | --- |\n",
        );
        rows.iter().for_each(|row| line(&mut text, row));
    }
    text
}

fn line(text: &mut String, row: &Row) {
    let figure = |spread: &super::Spread| {
        let number =
            |value: f64| if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.4}") };
        match spread.runs {
            0 | 1 => number(spread.median),
            _ => format!("{} ({}–{})", number(spread.median), number(spread.min), number(spread.max)),
        }
    };
    let peer =
        row.peer.as_ref().map(|(name, spread)| format!("{name}: {}", figure(spread))).unwrap_or_default();
    let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    let verdict = match row.reached {
        Some(true) => "reached",
        Some(false) => "missed",
        None => "",
    };
    let _ = writeln!(
        text,
        "| {} | {} | {} | {peer} | {ratio} | {} | {verdict} |",
        row.what,
        row.unit,
        figure(&row.ours),
        row.goal
    );
}
