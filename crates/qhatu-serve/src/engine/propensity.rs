//! Will they buy? The champion among the propensity models, over the live features of a shopper or over rows that a caller
//! sends. How a model is kept and scores is its source's affair, so that a command and the server ask the same code; here it
//! is kept live, told of rows, and its answers are given a shape.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use qhatu_features::Entity;
use qhatu_schema::{DenseColumn, DenseTable, Texts, Timestamp, UserId};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Engine;
use super::slot::{Follower, Reloaded, Slot, Versioned};
use crate::error::ServeError;

/// Rows that are scored at once; between them it is asked whether anybody waits still. Texts take long.
const MANY_ROWS: usize = 1_000;
const FEW_ROWS: usize = 32;

/// The alias of the version that foretells.
const CHAMPION: &str = "champion";

/// What a propensity model foretells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foretold {
    /// Whether a shopper buys within so many days, from the shop's own features.
    Shoppers {
        /// The days.
        days: u32,
    },
    /// A column of a table.
    Column {
        /// Its name.
        target: String,
    },
}

impl fmt::Display for Foretold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shoppers { days } => write!(formatter, "a purchase within {days} days"),
            Self::Column { target } => formatter.write_str(target),
        }
    }
}

/// A column of a table that a model takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Whether it holds texts; otherwise numbers.
    pub texts: bool,
}

/// Why a row has the probability it has.
#[derive(Debug, Clone, PartialEq)]
pub struct Because {
    /// The score expected of any row, before calibration.
    pub expected: f64,
    /// What each column adds to that, largest first.
    pub columns: Vec<(String, f64)>,
}

/// What a model says when it cannot score.
pub type PropensityFault = Box<dyn std::error::Error + Send + Sync>;

/// A model that gives rows a probability.
pub trait PropensityModel: Send + Sync {
    /// What kind of model it is.
    fn kind(&self) -> &'static str;

    /// The columns that it takes.
    fn columns(&self) -> &[TableColumn];

    /// From this probability on the answer is yes.
    fn threshold(&self) -> f64;

    /// The probability of each row of a table.
    ///
    /// # Errors
    /// Where a column is missing or holds something else than in training.
    fn probabilities(&self, table: &DenseTable) -> Result<Vec<f64>, PropensityFault>;

    /// What each column adds to the score of a table's first row.
    ///
    /// # Errors
    /// As [`PropensityModel::probabilities`], and where the table has no row.
    fn because(&self, table: &DenseTable) -> Result<Because, PropensityFault>;
}

/// A model as its source hands it over.
pub struct LoadedPropensity {
    /// Its version as `name@number`.
    pub version: String,
    /// What it foretells.
    pub foretold: Foretold,
    /// The model.
    pub model: Box<dyn PropensityModel>,
}

/// Where propensity models come from.
pub trait PropensitySource: Send + Sync {
    /// The version that `alias` points at now.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn current(&self, alias: &str) -> Result<Option<String>, ServeError>;

    /// Loads the version that `alias` points at.
    ///
    /// # Errors
    /// When there is none, its files are damaged, or it reads texts by a text model that is not at hand.
    fn load(&self, alias: &str) -> Result<LoadedPropensity, ServeError>;
}

/// The model that foretells now.
pub(super) struct LiveModel {
    loaded: LoadedPropensity,
    since: Timestamp,
}

impl Versioned for LiveModel {
    fn version(&self) -> &str {
        &self.loaded.version
    }
}

impl LiveModel {
    /// Takes a model, and scores a row of gaps and some text, so that the first who asks does not wait for what only a first
    /// score does.
    fn new(loaded: LoadedPropensity) -> Result<Self, ServeError> {
        let own = Self { loaded, since: Timestamp::now() };
        let value = |column: &TableColumn| if column.texts { Value::from("a") } else { Value::Null };
        let columns = own.loaded.model.columns();
        let row = columns.iter().map(|column| (column.name.clone(), value(column))).collect();
        own.probabilities(0, &table(columns, 0, &[row])?)?;
        Ok(own)
    }

    /// A probability for each row; the table begins with row `first` of what was asked.
    fn probabilities(&self, first: usize, table: &DenseTable) -> Result<Vec<f64>, ServeError> {
        let told = self.loaded.model.probabilities(table).map_err(|fault| self.failed(&*fault))?;
        if told.len() != table.rows() {
            return Err(self.failed(&*PropensityFault::from("it did not answer for every row")));
        }
        match told.iter().position(|probability| !probability.is_finite()) {
            None => Ok(told),
            Some(row) => Err(ServeError::argument(
                format!("a number of rows[{}] is too large to be scored", first + row),
                "send numbers of the size that the model was fitted on, or null",
            )),
        }
    }

    fn because(&self, table: &DenseTable) -> Result<Because, ServeError> {
        self.loaded.model.because(table).map_err(|fault| self.failed(&*fault))
    }

    fn failed(&self, fault: &dyn std::error::Error) -> ServeError {
        ServeError::Model { version: self.loaded.version.clone(), message: fault.to_string() }
    }

    /// What the model takes and the shop's features do not have, or have as something else.
    fn check_features(&self, row: &DenseTable) -> Result<(), ServeError> {
        let fits = |column: &&TableColumn| match row.column(&column.name) {
            Some(DenseColumn::Float(_)) => !column.texts,
            Some(DenseColumn::Text(_) | DenseColumn::Label(_)) => column.texts,
            Some(DenseColumn::Time(_)) | None => false,
        };
        match self.loaded.model.columns().iter().find(|column| !fits(column)) {
            None => Ok(()),
            Some(column) => Err(ServeError::Outdated {
                version: self.loaded.version.clone(),
                feature: column.name.clone(),
            }),
        }
    }

    fn misses(&self, asked: &'static str) -> ServeError {
        let (version, foretold) = (self.loaded.version.clone(), self.loaded.foretold.to_string());
        ServeError::OtherPropensity { version, foretold, asked }
    }
}

struct Shared {
    source: Box<dyn PropensitySource>,
    slot: Slot<LiveModel>,
    /// Whether it is known that there is no model, or why it does not answer: the registry was read, and no first one is on
    /// its way.
    settled: AtomicBool,
    /// One load at a time; held by who loads, never by who asks.
    loading: Mutex<()>,
}

/// The live propensity model, and the thread that follows the registry: one of its own, so that no recommender waits for a
/// text model to load.
pub(super) struct LivePropensity {
    shared: Arc<Shared>,
    follower: Follower,
}

impl LivePropensity {
    pub(super) fn new(source: Box<dyn PropensitySource>) -> Self {
        let (slot, settled, loading) = (Slot::default(), AtomicBool::new(false), Mutex::new(()));
        Self { shared: Arc::new(Shared { source, slot, settled, loading }), follower: Follower::default() }
    }

    /// Looks at the registry now, and every `seconds` from now on.
    pub(super) fn begin(&self, seconds: u64) -> Result<(), ServeError> {
        self.shared.reload(false);
        let shared = Arc::clone(&self.shared);
        self.follower.start("propensity", seconds, move || drop(shared.reload(false)))
    }

    /// Looks at the registry now and loads what changed. Blocks until the new model is warm.
    pub(super) fn reload(&self) -> Reloaded {
        self.shared.reload(true)
    }

    /// The model that foretells.
    fn get(&self) -> Result<Arc<LiveModel>, ServeError> {
        if let Some(live) = self.shared.slot.get() {
            return Ok(live);
        }
        let Some(broken) = self.shared.slot.broken() else {
            return Err(match self.shared.settled.load(Ordering::Acquire) {
                true => ServeError::NoPropensity,
                false => ServeError::Loading { what: "the propensity model" },
            });
        };
        Err(match &*broken.fault {
            ServeError::TextModel { version, message } => {
                ServeError::TextModel { version: version.clone(), message: message.clone() }
            }
            _ => ServeError::Unloadable { version: broken.version },
        })
    }

    pub(super) fn stop(&self) {
        self.follower.stop();
    }
}

impl Shared {
    fn reload(&self, again: bool) -> Reloaded {
        let _one_at_a_time = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let current = || {
            let found = self.source.current(CHAMPION);
            self.settled.store(matches!(found, Ok(None)), Ordering::Release);
            found
        };
        let found = self.slot.reload((CHAMPION, again), current, || self.load());
        if self.slot.broken().is_some() {
            self.settled.store(true, Ordering::Release);
        }
        found
    }

    /// Loads the champion; one at which the code breaks off is as good as damaged.
    fn load(&self) -> Result<LiveModel, ServeError> {
        let load = || LiveModel::new(self.source.load(CHAMPION)?);
        catch_unwind(AssertUnwindSafe(load)).unwrap_or_else(|_| {
            let (version, message) =
                (format!("the {CHAMPION} of propensity"), "loading it broke off".to_owned());
            Err(ServeError::Model { version, message })
        })
    }
}

/// What each column adds to a score.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Explanation {
    /// The score expected of any shopper, before calibration: log-odds, for a forest its share of yes.
    expected: f64,
    /// What each column adds to that, largest first.
    columns: Vec<Added>,
}

/// What a column adds.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Added {
    /// The column.
    column: String,
    /// What it adds to the score.
    adds: f64,
}

impl From<Because> for Explanation {
    fn from(because: Because) -> Self {
        let columns = because.columns.into_iter().map(|(column, adds)| Added { column, adds }).collect();
        Self { expected: because.expected, columns }
    }
}

/// Will this shopper buy?
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ShopperPropensity {
    /// The shopper.
    user_id: String,
    /// That they buy within `days`; calibrated.
    #[schema(minimum = 0, maximum = 1)]
    probability: f64,
    /// Whether it reaches the threshold.
    yes: bool,
    /// From this probability on the answer is yes: that of least cost when the model was fitted. Above 1, nobody is a yes.
    threshold: f64,
    /// Within how many days.
    days: u32,
    /// The moment of asking. The features count all that was accepted until then.
    #[schema(value_type = String, format = DateTime)]
    as_of: Timestamp,
    /// What said so.
    #[schema(example = "propensity@3")]
    pub(crate) model_version: String,
    /// What kind of model that is.
    #[schema(example = "boosting")]
    kind: &'static str,
    /// Why, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
}

/// The probability of a row.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct RowPropensity {
    /// Of a yes; calibrated.
    #[schema(minimum = 0, maximum = 1)]
    probability: f64,
    /// Whether it reaches the threshold.
    yes: bool,
}

/// The probabilities of rows.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct RowPropensities {
    /// One for each row, in order.
    pub(crate) rows: Vec<RowPropensity>,
    /// From this probability on the answer is yes: that of least cost when the model was fitted. Above 1, no row is a yes.
    threshold: f64,
    /// The column that is foretold.
    #[schema(example = "Revenue")]
    target: String,
    /// What said so.
    #[schema(example = "propensity@3")]
    pub(crate) model_version: String,
    /// What kind of model that is.
    #[schema(example = "boosting")]
    kind: &'static str,
}

/// The live propensity model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LivePropensityVersion {
    /// The registry's alias.
    pub(crate) alias: &'static str,
    /// The version under it, `name@number`.
    pub(crate) version: String,
    /// What kind of model it is.
    kind: &'static str,
    /// What it foretells: `a purchase within N days` of a shopper, or a table's column.
    foretells: String,
    /// Since when it answers.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

impl Engine {
    fn propensity(&self) -> Result<Arc<LiveModel>, ServeError> {
        self.check_ready()?;
        self.propensity.as_ref().map_or(Err(ServeError::NoPropensity), LivePropensity::get)
    }

    /// Whether a shopper will buy, from the live features.
    ///
    /// # Errors
    /// Where the champion foretells something else or there is none, and where nothing is known of the shopper.
    pub(crate) fn shopper_propensity(
        &self,
        user: &UserId,
        explain: bool,
    ) -> Result<ShopperPropensity, ServeError> {
        let live = self.propensity()?;
        let Foretold::Shoppers { days } = live.loaded.foretold else {
            return Err(live.misses("what a shopper will do"));
        };
        let as_of = self.now();
        let row = self.live.features_row(Entity::User, user.as_str(), as_of);
        let row = row.ok_or_else(|| ServeError::not_found("shopper with events", user.as_str()))?;
        live.check_features(&row)?;
        let model = &live.loaded.model;
        let probability = live.probabilities(0, &row)?.first().copied().unwrap_or_default();
        let explanation = explain.then(|| live.because(&row)).transpose()?.map(Explanation::from);
        Ok(ShopperPropensity {
            user_id: user.to_string(),
            probability,
            yes: probability >= model.threshold(),
            threshold: model.threshold(),
            days,
            as_of,
            model_version: live.loaded.version.clone(),
            kind: model.kind(),
            explanation,
        })
    }

    /// The probabilities of rows that a caller sends, for as long as they are `wanted`.
    ///
    /// # Errors
    /// Where the champion foretells something else or there is none, where a row does not have what it takes, and where nobody
    /// waits any more.
    pub(crate) fn row_propensities(
        &self,
        rows: &[Map<String, Value>],
        wanted: &dyn Fn() -> bool,
    ) -> Result<RowPropensities, ServeError> {
        let live = self.propensity()?;
        let Foretold::Column { target } = &live.loaded.foretold else {
            return Err(live.misses("a column of a table"));
        };
        let model = &live.loaded.model;
        let columns = model.columns();
        let some = if columns.iter().any(|column| column.texts) { FEW_ROWS } else { MANY_ROWS };
        let parts = rows.chunks(some).enumerate();
        // Whatever is wrong with any row is said before the first is scored.
        let parts: Vec<DenseTable> =
            parts.map(|(part, rows)| table(columns, part * some, rows)).collect::<Result<_, _>>()?;
        let mut told = Vec::with_capacity(rows.len());
        for part in &parts {
            if !wanted() {
                return Err(ServeError::Stopped);
            }
            told.extend(live.probabilities(told.len(), part)?);
        }
        let threshold = model.threshold();
        let row = |probability: f64| RowPropensity { probability, yes: probability >= threshold };
        Ok(RowPropensities {
            rows: told.into_iter().map(row).collect(),
            threshold,
            target: target.clone(),
            model_version: live.loaded.version.clone(),
            kind: model.kind(),
        })
    }

    /// The propensity model that is live.
    pub(crate) fn live_propensity(&self) -> Option<LivePropensityVersion> {
        let live = self.propensity.as_ref()?.shared.slot.get()?;
        Some(LivePropensityVersion {
            alias: CHAMPION,
            version: live.loaded.version.clone(),
            kind: live.loaded.model.kind(),
            foretells: live.loaded.foretold.to_string(),
            since: live.since,
        })
    }
}

/// Rows of a request, from its row `first` on, as the table that a model takes: a column is of numbers or of texts as in
/// training, null is a gap.
fn table(
    columns: &[TableColumn],
    first: usize,
    rows: &[Map<String, Value>],
) -> Result<DenseTable, ServeError> {
    let of = |column: &TableColumn| {
        let cells = (first..).zip(rows).map(|(row, values)| (row, values.get(&column.name)));
        let values = match column.texts {
            true => {
                let mut texts = Texts::new();
                for (row, cell) in cells {
                    texts.push(&text(cell).ok_or_else(|| refused(columns, (row, column), cell))?);
                }
                DenseColumn::Text(texts)
            }
            false => {
                let number = |(row, cell)| number(cell).ok_or_else(|| refused(columns, (row, column), cell));
                DenseColumn::Float(cells.map(number).collect::<Result<_, _>>()?)
            }
        };
        Ok((column.name.clone(), values))
    };
    Ok(DenseTable { columns: columns.iter().map(of).collect::<Result<_, ServeError>>()? })
}

/// A number, or a truth value as 1 and 0, as tables are read.
fn number(cell: Option<&Value>) -> Option<f64> {
    match cell? {
        Value::Null => Some(f64::NAN),
        Value::Number(number) => number.as_f64(),
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        _ => None,
    }
}

/// A text, or a number as it is written where a column of numbers only names something, as tables are read.
fn text(cell: Option<&Value>) -> Option<String> {
    match cell? {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_f64() => number.as_f64().map(|number| number.to_string()),
        // Whole numbers to the last digit.
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn refused(
    columns: &[TableColumn],
    (row, column): (usize, &TableColumn),
    cell: Option<&Value>,
) -> ServeError {
    let name = &column.name;
    let Some(cell) = cell else {
        let names = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        return ServeError::argument(
            format!("rows[{row}] has no column {name:?}"),
            format!("send null where nothing is known; the model takes {names}"),
        );
    };
    let found = match cell {
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
        Value::Null => "null",
    };
    let takes = if column.texts { "texts" } else { "numbers" };
    ServeError::argument(
        format!("rows[{row}].{name} is {found}, and the column holds {takes}"),
        format!("send {takes} as in the table that the model was fitted on, null where nothing is known"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn columns() -> [TableColumn; 2] {
        [("views", false), ("source", true)].map(|(name, texts)| TableColumn { name: name.to_owned(), texts })
    }

    fn rows(rows: Value) -> Vec<Map<String, Value>> {
        serde_json::from_value(rows).unwrap()
    }

    #[test]
    fn cells_are_read_as_tables_are() {
        let told = rows(json!([
            {"views": 3, "source": "mail", "more": []},
            {"views": true, "source": 5},
            {"views": null, "source": null},
            {"views": -0.5, "source": 2.5},
            {"views": 0, "source": 9007199254740993_u64},
        ]));
        let table = table(&columns(), 0, &told).unwrap();
        let Some(DenseColumn::Float(views)) = table.column("views") else { panic!("numbers") };
        assert_eq!((&views[..2], views[2].is_nan(), views[3]), (&[3.0, 1.0][..], true, -0.5));
        let texts = ["mail", "5", "", "2.5", "9007199254740993"].into_iter().collect();
        assert_eq!(table.column("source"), Some(&DenseColumn::Text(texts)));
    }

    #[test]
    fn what_a_row_lacks_is_said_with_its_place() {
        let fault = |told: Value| {
            let fault = table(&columns(), 40, &rows(told)).unwrap_err();
            (fault.to_string(), fault.hint().unwrap_or_default().to_owned())
        };
        let (message, hint) = fault(json!([{"views": 1, "source": "a"}, {"source": "a"}]));
        assert_eq!(message, "rows[41] has no column \"views\"");
        assert!(hint.ends_with("the model takes views, source"), "{hint}");
        let message = |told: Value| fault(told).0;
        assert_eq!(
            message(json!([{"views": "3", "source": "a"}])),
            "rows[40].views is a text, and the column holds numbers"
        );
        assert_eq!(
            message(json!([{"views": 3, "source": true}])),
            "rows[40].source is a truth value, and the column holds texts"
        );
        assert!(message(json!([{"views": [3], "source": "a"}])).contains("is a list"));
        assert!(message(json!([{"views": 3, "source": {}}])).contains("is an object"));
    }
}
