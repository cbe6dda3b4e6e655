//! `docs/reference/benchmarks.md`, made from the kept results so that no result is typed by hand; below each, what
//! `benches/notes/NAME.md` says of it.

use std::fmt::Write;
use std::path::Path;

use super::{BENCHES, Outcome, Row, Spread};

/// Writes the page anew from `benches/results/*.json`.
pub(crate) fn write(root: &Path) -> Result<(), String> {
    let note = |name: &str| std::fs::read_to_string(root.join(format!("benches/notes/{name}.md"))).ok();
    let text = render(&read(root)?, &note);
    let path = root.join("docs/reference/benchmarks.md");
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn read(root: &Path) -> Result<Vec<Outcome>, String> {
    let mut outcomes = Vec::new();
    for bench in BENCHES {
        let path = root.join("benches/results").join(format!("{}.json", bench.name));
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        outcomes.push(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    Ok(outcomes)
}

fn render(outcomes: &[Outcome], note: &dyn Fn(&str) -> Option<String>) -> String {
    let mut text = String::from(
        "# Benchmarks\n\n\
         Made by `cargo xtask bench` from `benches/results/`; do not edit. Ours and the peer run in turns in one\n\
         run on the same data. Figures are medians, with the smallest and largest run; a ratio above 1 says how\n\
         many times better ours is. Times depend on the machine; ratios less so. `cargo xtask bench quality` and\n\
         `cargo xtask bench speed` run everything of their kind, `cargo xtask bench NAME` one of them.\n",
    );
    summary(&mut text, outcomes);
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
        if let Some(note) = note(name) {
            let _ = write!(text, "\n{note}");
        }
    }
    text
}

/// How many figures are where they are to be, and which are not.
fn summary(text: &mut String, outcomes: &[Outcome]) {
    let judged = outcomes.iter().flat_map(|outcome| &outcome.rows).filter_map(|row| row.reached);
    let (reached, missed): (Vec<bool>, Vec<bool>) = judged.partition(|reached| *reached);
    let _ = write!(
        text,
        "\n## In short\n\n{} figures are where they are to be, {} are not (why, and what was tried, stands below the tables):\n\n\
         | in | what | ours | goal |\n| --- | --- | --- | --- |\n",
        reached.len(),
        missed.len()
    );
    for outcome in outcomes {
        for row in outcome.rows.iter().filter(|row| row.reached == Some(false)) {
            let name = &outcome.name;
            let (what, goal, unit) = (&row.what, &row.goal, &row.unit);
            let ours = figure(&row.ours);
            let ratio = row.ratio.map(|ratio| format!(", ratio {ratio:.2}")).unwrap_or_default();
            let _ = writeln!(text, "| [{name}](#{name}) | {what} | {ours} {unit}{ratio} | {goal} |");
        }
    }
}

/// The median, with the smallest and largest run where there are several.
fn figure(spread: &Spread) -> String {
    let number =
        |value: f64| if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.4}") };
    match spread.runs {
        0 | 1 => number(spread.median),
        _ => format!("{} ({}–{})", number(spread.median), number(spread.min), number(spread.max)),
    }
}

fn line(text: &mut String, row: &Row) {
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
