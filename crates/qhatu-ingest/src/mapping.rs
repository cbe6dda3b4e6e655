//! What a file's columns mean, and the rules its rows must keep.

use std::collections::BTreeMap;

use qhatu_schema::{DateOrder, EventKind, PurchaseState, Zone};
use serde::{Deserialize, Deserializer, Serialize};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// By its name: `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.parquet`, with `.gz` or `.zst` behind.
    #[default]
    Auto,
    /// Values with a delimiter, names in the first line.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

/// What a file's columns mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    /// How the file is written.
    pub format: Format,
    /// What stands between values, one ASCII character; empty: found out from the first line.
    #[serde(deserialize_with = "delimiter")]
    pub delimiter: String,
    /// How text is written as bytes.
    pub encoding: String,
    /// Which column is what.
    pub columns: Columns,
    /// What the shop's words in the kind column mean; words that are event kinds mean themselves.
    pub kinds: BTreeMap<String, EventKind>,
    /// The kind of rows where there is no kind column.
    pub kind: Option<EventKind>,
    /// What the shop's words in the state column mean; words that are states mean themselves.
    pub states: BTreeMap<String, PurchaseState>,
    /// In JSON, the list within each object whose elements are the rows: the lines of an order. Columns are
    /// looked for in the element first, then in what stands around it. Empty: each object is a row.
    pub rows: String,
    /// Where the clocks are that wrote times without an offset.
    pub timezone: Zone,
    /// How dates are written, besides `2026-11-24`.
    pub date_order: DateOrder,
    /// The currency where there is no currency column.
    pub currency: String,
    /// Whether `1.234,50` is twelve hundred and a half.
    pub decimal_comma: bool,
    /// What rows must keep.
    pub rules: Rules,
}

impl Default for Mapping {
    fn default() -> Self {
        Self {
            format: Format::Auto,
            delimiter: String::new(),
            encoding: "utf-8".to_owned(),
            columns: Columns::default(),
            kinds: BTreeMap::new(),
            kind: None,
            states: BTreeMap::new(),
            rows: String::new(),
            timezone: Zone::LIMA,
            date_order: DateOrder::YearFirst,
            currency: "PEN".to_owned(),
            decimal_comma: false,
            rules: Rules::default(),
        }
    }
}

/// The name of the column that holds each thing; empty where none does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "each is the field of that name of an event, an item or a user")]
pub struct Columns {
    pub event_id: String,
    pub time: String,
    pub kind: String,
    pub user_id: String,
    pub session_id: String,
    pub item_id: String,
    pub quantity: String,
    pub price: String,
    pub currency: String,
    pub order_id: String,
    pub state: String,
    pub query: String,
    pub title: String,
    pub description: String,
    pub category: String,
    pub brand: String,
    pub stock: String,
    pub country: String,
    pub ubigeo: String,
}

/// Rules for rows; each counts what it repaired or refused under its name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Orders whose id begins so are returns: `"C"`. Their quantity may be negative.
    pub return_order_prefix: String,
    /// Whether a negative quantity is a return.
    pub negative_quantity_is_return: bool,
    /// What becomes of events without a shopper.
    pub missing_user: MissingUser,
    /// Whether a price of zero is refused.
    pub price_required: bool,
    /// With how many digits the code of a product begins; 0: any code is a product.
    pub item_digits: usize,
    /// Codes that are no products (postage, fees), whatever their shape.
    pub not_items: Vec<String>,
}

/// What becomes of events without a shopper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingUser {
    /// With a session they are those of an anonymous visit; without one they are refused.
    #[default]
    Session,
    /// They are refused, even with a session.
    Quarantine,
    /// As `session`; and where there is no session, the order id is taken as one: a basket of somebody
    /// unknown.
    AnonymousSession,
}

fn delimiter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.as_bytes() {
        [] => Ok(text),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(text),
        _ => Err(serde::de::Error::custom(format!(
            "delimiter {text:?} is not one plain character: use \",\", \";\", \"|\" or \"\\t\""
        ))),
    }
}

/// The mapping of UCI Online Retail, with the rules that its rows are cleaned by.
///
/// Products are the codes of five digits (and letters behind); everything else is postage, fees,
/// samples, manual entries or vouchers. Invoices with a `C` are returns and take away from what was bought.
/// Times are British, and are taken as those of Greenwich.
pub fn online_retail() -> Mapping {
    let columns = Columns {
        time: "InvoiceDate".to_owned(),
        user_id: "CustomerID".to_owned(),
        item_id: "StockCode".to_owned(),
        quantity: "Quantity".to_owned(),
        price: "UnitPrice".to_owned(),
        order_id: "InvoiceNo".to_owned(),
        title: "Description".to_owned(),
        country: "Country".to_owned(),
        ..Columns::default()
    };
    let rules = Rules {
        return_order_prefix: "C".to_owned(),
        missing_user: MissingUser::Quarantine,
        price_required: true,
        item_digits: 5,
        ..Rules::default()
    };
    Mapping {
        columns,
        kind: Some(EventKind::Purchase),
        timezone: Zone::UTC,
        currency: "GBP".to_owned(),
        rules,
        ..Mapping::default()
    }
}
