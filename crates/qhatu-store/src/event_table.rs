//! Events as a table with plain columns, and back: the layout of the lake.
//!
//! | column | kind | |
//! | --- | --- | --- |
//! | `event_id` | text | |
//! | `time` | UTC, microseconds | when it happened |
//! | `kind` | text | `view`, `purchase`, … |
//! | `user_id`, `session_id`, `item_id` | text | |
//! | `quantity` | int | |
//! | `price`, `currency` | float, text | of one piece |
//! | `order_id`, `state` | text | of purchases |
//! | `query` | text | of searches |
//! | `items` | text | of impressions: a JSON list of item ids, in their order |
//! | `recommendation_id`, `model_version` | text | |

use qhatu_schema::{
    Column, Currency, Event, EventId, EventKind, ItemId, Money, Table, TableError, Timestamp,
};

/// The table of some events.
///
/// # Errors
/// None in truth; the table's own check passes through.
pub(crate) fn to_table(events: &[Event]) -> Result<Table, TableError> {
    let text = |of: fn(&Event) -> Option<String>| Column::Text(events.iter().map(of).collect());
    let mut table = Table::new();
    table.push("event_id", text(|event| Some(event.event_id.as_str().to_owned())))?;
    table.push("time", Column::Time(events.iter().map(|event| Some(event.time)).collect()))?;
    table.push("kind", text(|event| Some(event.kind.as_str().to_owned())))?;
    table.push("user_id", text(|event| event.user_id.as_ref().map(|id| id.as_str().to_owned())))?;
    table.push("session_id", text(|event| event.session_id.as_ref().map(|id| id.as_str().to_owned())))?;
    table.push("item_id", text(|event| event.item_id.as_ref().map(|id| id.as_str().to_owned())))?;
    table.push(
        "quantity",
        Column::Int(events.iter().map(|event| Some(i64::from(event.quantity))).collect()),
    )?;
    table.push("price", Column::Float(events.iter().map(|event| event.price.map(Money::units)).collect()))?;
    table.push("currency", text(|event| event.price.map(|price| price.currency.as_str().to_owned())))?;
    table.push("order_id", text(|event| event.order_id.as_ref().map(|id| id.as_str().to_owned())))?;
    table.push("state", text(|event| event.state.map(|state| state.as_str().to_owned())))?;
    table.push("query", text(|event| event.query.clone()))?;
    table.push("items", text(items_text))?;
    table.push(
        "recommendation_id",
        text(|event| event.recommendation_id.as_ref().map(|id| id.as_str().to_owned())),
    )?;
    table.push("model_version", text(|event| event.model_version.clone()))?;
    Ok(table)
}

fn items_text(event: &Event) -> Option<String> {
    if event.items.is_empty() {
        return None;
    }
    let ids: Vec<&str> = event.items.iter().map(ItemId::as_str).collect();
    serde_json::to_string(&ids).ok()
}

/// The events of a table; the error says which row and column cannot be read.
pub(crate) fn from_table(table: &Table) -> Result<Vec<Event>, String> {
    let columns = Columns::of(table)?;
    (0..table.rows())
        .map(|row| columns.event(row).map_err(|fault| format!("row {}: {fault}", row + 1)))
        .collect()
}

struct Columns<'a> {
    event_id: &'a [Option<String>],
    time: &'a [Option<Timestamp>],
    kind: &'a [Option<String>],
    user_id: &'a [Option<String>],
    session_id: &'a [Option<String>],
    item_id: &'a [Option<String>],
    quantity: &'a [Option<i64>],
    price: &'a [Option<f64>],
    currency: &'a [Option<String>],
    order_id: &'a [Option<String>],
    state: &'a [Option<String>],
    query: &'a [Option<String>],
    items: &'a [Option<String>],
    recommendation_id: &'a [Option<String>],
    model_version: &'a [Option<String>],
}

impl<'a> Columns<'a> {
    fn of(table: &'a Table) -> Result<Self, String> {
        let text = |name: &str| match table.column(name) {
            Some(Column::Text(values)) => Ok(values.as_slice()),
            Some(other) => Err(format!("column {name} is of kind {}, expected text", other.kind())),
            None => Err(format!("there is no column {name}")),
        };
        let wrong = |name: &str| format!("there is no column {name} of the kind it should have");
        let Some(Column::Time(time)) = table.column("time") else { return Err(wrong("time")) };
        let Some(Column::Int(quantity)) = table.column("quantity") else { return Err(wrong("quantity")) };
        let Some(Column::Float(price)) = table.column("price") else { return Err(wrong("price")) };
        Ok(Self {
            event_id: text("event_id")?,
            time,
            kind: text("kind")?,
            user_id: text("user_id")?,
            session_id: text("session_id")?,
            item_id: text("item_id")?,
            quantity,
            price,
            currency: text("currency")?,
            order_id: text("order_id")?,
            state: text("state")?,
            query: text("query")?,
            items: text("items")?,
            recommendation_id: text("recommendation_id")?,
            model_version: text("model_version")?,
        })
    }

    fn event(&self, row: usize) -> Result<Event, String> {
        let id = self.event_id[row].as_deref().ok_or("event_id is empty")?;
        let kind: EventKind = parse(self.kind[row].as_deref().ok_or("kind is empty")?)?;
        let time = self.time[row].ok_or("time is empty")?;
        let mut event = Event::new(EventId::new(id).map_err(|error| error.to_string())?, time, kind);
        event.user_id = id_of(self.user_id, row)?;
        event.session_id = id_of(self.session_id, row)?;
        event.item_id = id_of(self.item_id, row)?;
        event.order_id = id_of(self.order_id, row)?;
        event.recommendation_id = id_of(self.recommendation_id, row)?;
        let quantity = self.quantity[row].unwrap_or(1);
        event.quantity =
            u32::try_from(quantity).map_err(|_| format!("quantity {quantity} is no quantity"))?;
        event.price = self.price(row)?;
        event.state = self.state[row].as_deref().map(parse).transpose()?;
        event.query.clone_from(&self.query[row]);
        event.items = match self.items[row].as_deref() {
            Some(list) => serde_json::from_str(list).map_err(|error| format!("items: {error}"))?,
            None => Vec::new(),
        };
        event.model_version.clone_from(&self.model_version[row]);
        Ok(event)
    }

    fn price(&self, row: usize) -> Result<Option<Money>, String> {
        let (Some(units), Some(currency)) = (self.price[row], self.currency[row].as_deref()) else {
            return Ok(None);
        };
        let currency = Currency::parse(currency).map_err(|error| error.to_string())?;
        Ok(Some(Money::from_micros((units * 1e6).round() as i64, currency)))
    }
}

fn parse<T: std::str::FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn id_of<T: TryFrom<String, Error: ToString>>(
    column: &[Option<String>],
    row: usize,
) -> Result<Option<T>, String> {
    column[row].clone().map(|text| T::try_from(text).map_err(|error| error.to_string())).transpose()
}
