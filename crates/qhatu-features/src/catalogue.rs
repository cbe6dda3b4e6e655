//! The catalogue of features: what each means, of what kind it is, whose, over which time, where it comes
//! from, and how often it changes.

use qhatu_schema::EventKind;
use serde::Serialize;

use crate::condition::Condition;
use crate::declaration::{Aggregate, Declarations, Entity, Feature, Of};

/// What the catalogue shows of a feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CatalogueEntry {
    /// Its name.
    pub name: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// What it means.
    pub meaning: String,
    /// Kind of its values: `number`, `time` or `text`.
    #[serde(rename = "type")]
    pub value_type: &'static str,
    /// Whose it is.
    pub entity: Entity,
    /// Over which time.
    pub window: String,
    /// Where it comes from.
    pub source: String,
    /// How often it changes.
    pub update_frequency: &'static str,
}

impl Declarations {
    /// An entry for each feature, in their order.
    pub fn catalogue(&self) -> Vec<CatalogueEntry> {
        self.features().iter().map(entry).collect()
    }

    /// The catalogue as a page in Markdown.
    pub fn catalogue_page(&self) -> String {
        let mut page = String::from(PAGE_HEAD);
        for entity in Entity::ALL {
            let own: Vec<CatalogueEntry> =
                self.catalogue().into_iter().filter(|entry| entry.entity == entity).collect();
            if own.is_empty() {
                continue;
            }
            page.push_str(&format!("\n## {}\n\n{TABLE_HEAD}", entity.as_str()));
            for entry in own {
                let source = match entry.window.as_str() {
                    AS_ITS_PARTS => format!("`{}`", entry.source),
                    _ => entry.source,
                };
                let also = match entry.aliases.as_slice() {
                    [] => String::new(),
                    aliases => format!("; also `{}`", aliases.join("`, `")),
                };
                page.push_str(&format!(
                    "| `{}` | {}{also} | {} | {} | {} | {} |\n",
                    entry.name, entry.meaning, entry.value_type, entry.window, source, entry.update_frequency
                ));
            }
        }
        page
    }
}

/// The window of an expression.
const AS_ITS_PARTS: &str = "as its parts";

const PAGE_HEAD: &str = "\
# Features

Made from `crates/qhatu-features/src/default.toml`; do not edit. `qhatu features list` shows the same with a
shop's own features, [the fold](../concepts/fold.md) says how they are computed and how to declare more.

Only paid purchases count, what is refunded is subtracted from counts and sums and passed over elsewhere, and a
division by zero gives a gap. Days are Lima's.
";

const TABLE_HEAD: &str = "\
| name | meaning | type | window | source | changes |
| --- | --- | --- | --- | --- | --- |
";

fn entry(feature: &Feature) -> CatalogueEntry {
    let (source, update_frequency) = match (&feature.expression, feature.attribute) {
        (Some(expression), _) => (expression.clone(), "with each event"),
        (_, Some(_)) => ("catalogue".to_owned(), "with each change of the product"),
        _ if changes_daily(feature) => (events(feature), "with each event, and each Lima day"),
        _ => (events(feature), "with each event"),
    };
    CatalogueEntry {
        name: feature.name.clone(),
        aliases: feature.aliases.clone(),
        meaning: feature.meaning.clone(),
        value_type: feature.value_type().as_str(),
        entity: feature.entity,
        window: window(feature),
        source,
        update_frequency,
    }
}

fn changes_daily(feature: &Feature) -> bool {
    feature.window_days.is_some()
        || feature.half_life_days.is_some()
        || feature.aggregate == Some(Aggregate::DaysSinceLast)
}

fn window(feature: &Feature) -> String {
    let mut window = match (feature.aggregate, feature.window_days, feature.entity) {
        (None, ..) => return if feature.attribute.is_some() { "now" } else { AS_ITS_PARTS }.to_owned(),
        (_, Some(days), _) => format!("{days} Lima days"),
        (_, None, Entity::Session) => "this session".to_owned(),
        (_, None, _) => "all time".to_owned(),
    };
    if let Some(days) = feature.half_life_days {
        window.push_str(&format!(", half after {days} days"));
    }
    window
}

/// What is made of which events, in words: `count of purchase (refunded) where price >= 10`.
fn events(feature: &Feature) -> String {
    let names = |kinds: &[EventKind]| kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
    let mut text = format!("{} {}", aggregate_words(feature), names(&feature.events));
    if !feature.states.is_empty() {
        let states: Vec<&str> = feature.states.iter().map(|state| state.as_str()).collect();
        text.push_str(&format!(" ({})", states.join(", ")));
    }
    if !feature.conditions.is_empty() {
        let conditions: Vec<String> = feature.conditions.iter().map(Condition::to_string).collect();
        text.push_str(&format!(" where {}", conditions.join(" and ")));
    }
    if !feature.over.is_empty() {
        text.push_str(&format!(" over {}", names(&feature.over)));
    }
    text
}

fn aggregate_words(feature: &Feature) -> String {
    let of = match feature.of.unwrap_or(Of::Time) {
        Of::Amount => "price × quantity",
        Of::Quantity => "quantity",
        Of::Price => "price",
        Of::Time => "time",
        Of::Item => "item",
        Of::User => "user",
        Of::Session => "session",
        Of::Order => "order",
        Of::Day => "day",
        Of::Query => "query",
    };
    match feature.aggregate {
        Some(Aggregate::Count) | None => "count of".to_owned(),
        Some(Aggregate::Sum) => format!("sum of {of} of"),
        Some(Aggregate::Mean) => format!("mean {of} of"),
        Some(Aggregate::First) => format!("{of} of the first"),
        Some(Aggregate::Last) => format!("{of} of the last"),
        Some(Aggregate::Distinct) => format!("different {of}s of"),
        Some(Aggregate::Ratio) => "ratio of".to_owned(),
        Some(Aggregate::DaysSinceLast) => "days since the last".to_owned(),
        Some(Aggregate::MeanGapDays) => "mean days between orders of".to_owned(),
    }
}
