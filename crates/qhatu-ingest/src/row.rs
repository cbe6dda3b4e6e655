//! A row explained: which event, product and shopper it speaks of, or why it makes no sense.

use qhatu_schema::{
    Currency, Event, EventId, EventKind, Item, ItemId, Money, OrderId, PurchaseState, SessionId, Timestamp,
    User, UserId,
};
use sha2::{Digest, Sha256};

use crate::mapping::{Columns, Mapping};

/// Events later than this after the import's moment are refused: a clock is wrong, or a date.
const AHEAD_MS: i64 = 86_400_000;

/// Why a row is refused: the reason that is counted, and what exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: &'static str,
    pub(crate) detail: String,
}

fn refuse<T>(reason: &'static str, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { reason, detail: detail.into() })
}

/// What a row says.
#[derive(Debug, Default)]
pub(crate) struct Explained {
    pub(crate) event: Option<Event>,
    pub(crate) item: Option<Item>,
    pub(crate) user: Option<User>,
    /// Names of the repairs.
    pub(crate) repaired: Vec<&'static str>,
}

/// The fields of a row, as the mapping names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Field {
    EventId,
    Time,
    Kind,
    UserId,
    SessionId,
    ItemId,
    Quantity,
    Price,
    Currency,
    OrderId,
    State,
    Query,
    Title,
    Description,
    Category,
    Brand,
    Stock,
    Country,
    Ubigeo,
}

/// How many fields there are.
pub(crate) const FIELDS: usize = 19;

/// The column names in the order of [`Field`].
pub(crate) fn names(columns: &Columns) -> [&str; FIELDS] {
    [
        &columns.event_id,
        &columns.time,
        &columns.kind,
        &columns.user_id,
        &columns.session_id,
        &columns.item_id,
        &columns.quantity,
        &columns.price,
        &columns.currency,
        &columns.order_id,
        &columns.state,
        &columns.query,
        &columns.title,
        &columns.description,
        &columns.category,
        &columns.brand,
        &columns.stock,
        &columns.country,
        &columns.ubigeo,
    ]
}

/// The values of a row by field; empty where there is none.
pub(crate) type Values<'a> = [&'a str; FIELDS];

/// Explains a row.
pub(crate) fn explain(mapping: &Mapping, values: &Values, now: Timestamp) -> Result<Explained, Refusal> {
    let row = Row { mapping, values };
    let mut explained = Explained::default();
    let kind = row.kind()?;
    if row.item_is_no_product() {
        return refuse("not a product", format!("item {:?}", row.get(Field::ItemId)));
    }
    explained.user = row.user(&mut explained.repaired)?;
    explained.item = row.item()?;
    if let Some(kind) = kind {
        let mut event = row.event(kind, now, &mut explained.repaired)?;
        event.user_id = explained.user.as_ref().map(|user| user.user_id.clone());
        row.rules(&event)?;
        event.check().or_else(|fault| refuse("incomplete", fault.to_string()))?;
        explained.event = Some(event);
    }
    Ok(explained)
}

struct Row<'a> {
    mapping: &'a Mapping,
    values: &'a Values<'a>,
}

impl Row<'_> {
    /// The trimmed value; what stands for a gap in files is empty.
    fn get(&self, field: Field) -> &str {
        match self.values[field as usize].trim() {
            "NaN" | "nan" | "NULL" | "null" | "None" => "",
            value => value,
        }
    }

    fn kind(&self) -> Result<Option<EventKind>, Refusal> {
        let word = self.get(Field::Kind);
        if let Some(kind) = self.mapping.kinds.get(word) {
            return Ok(Some(*kind));
        }
        match (word, self.mapping.kind) {
            ("", kind) => Ok(kind),
            (word, _) => match word.parse() {
                Ok(kind) => Ok(Some(kind)),
                Err(fault) => refuse("unknown kind", format!("{fault}")),
            },
        }
    }

    fn item_is_no_product(&self) -> bool {
        let (code, rules) = (self.get(Field::ItemId), &self.mapping.rules);
        let digits = code.bytes().take_while(u8::is_ascii_digit).count();
        !code.is_empty()
            && (digits < rules.item_digits
                || rules.not_items.iter().any(|other| other.eq_ignore_ascii_case(code)))
    }

    fn user(&self, repaired: &mut Vec<&'static str>) -> Result<Option<User>, Refusal> {
        let mut id = self.get(Field::UserId);
        // A spreadsheet writes a number with gaps in its column as 17850.0.
        if let Some(whole) = id.strip_suffix(".0").filter(|whole| whole.bytes().all(|b| b.is_ascii_digit())) {
            id = whole;
            repaired.push("decimal part of a shopper's number removed");
        }
        if id.is_empty() {
            return match self.mapping.rules.user_required {
                true => refuse("no shopper", "the row names no shopper, and the rules ask for one"),
                false => Ok(None),
            };
        }
        let Ok(user_id) = UserId::new(id) else { return Ok(None) };
        let text = |field| Some(self.get(field)).filter(|text| !text.is_empty()).map(str::to_owned);
        let mut user = User::new(user_id);
        (user.country, user.ubigeo) = (text(Field::Country), text(Field::Ubigeo));
        Ok(Some(user))
    }

    fn item(&self) -> Result<Option<Item>, Refusal> {
        let Ok(item_id) = ItemId::new(self.get(Field::ItemId)) else { return Ok(None) };
        let text = |field| Some(self.get(field)).filter(|text| !text.is_empty()).map(str::to_owned);
        let mut item = Item::new(item_id);
        item.title = self.get(Field::Title).to_owned();
        item.description = self.get(Field::Description).to_owned();
        (item.category, item.brand) = (text(Field::Category), text(Field::Brand));
        item.price = self.price()?;
        item.stock = match self.get(Field::Stock) {
            "" => None,
            stock => match stock.parse() {
                Ok(stock) => Some(stock),
                Err(_) => return refuse("unreadable stock", format!("stock {stock:?} is no whole number")),
            },
        };
        if !self.get(Field::Time).is_empty() {
            item.updated = self.time()?;
        }
        Ok(Some(item))
    }

    fn event(
        &self,
        kind: EventKind,
        now: Timestamp,
        repaired: &mut Vec<&'static str>,
    ) -> Result<Event, Refusal> {
        let time = self.time()?;
        if time.millis() > now.millis().saturating_add(AHEAD_MS) {
            return refuse("in the future", format!("time {time} lies after this import"));
        }
        let id = match self.get(Field::EventId) {
            "" => self.content_id(kind),
            id => id.to_owned(),
        };
        let Ok(event_id) = EventId::new(&id) else { return refuse("incomplete", "the event id is empty") };
        let mut event = Event::new(event_id, time, kind);
        event.session_id = SessionId::new(self.get(Field::SessionId)).ok();
        event.item_id = ItemId::new(self.get(Field::ItemId)).ok();
        event.order_id = OrderId::new(self.get(Field::OrderId)).ok();
        event.query = Some(self.get(Field::Query)).filter(|query| !query.is_empty()).map(str::to_owned);
        event.price = self.price()?;
        self.quantity(&mut event, repaired)?;
        if let word @ ("created" | "paid" | "refunded" | "expired") = self.get(Field::State) {
            event.state = word.parse().ok();
        }
        Ok(event)
    }

    fn rules(&self, event: &Event) -> Result<(), Refusal> {
        match event.price {
            Some(price) if price.micros < 0 => refuse("negative price", format!("price {price}")),
            Some(price) if price.micros == 0 && self.mapping.rules.price_required => {
                refuse("no price", format!("price {price}"))
            }
            None if self.mapping.rules.price_required => refuse("no price", "the row has no price"),
            _ => Ok(()),
        }
    }

    fn time(&self) -> Result<Timestamp, Refusal> {
        Timestamp::parse(self.get(Field::Time)).or_else(|fault| refuse("unreadable time", fault.to_string()))
    }

    fn price(&self) -> Result<Option<Money>, Refusal> {
        let text = self.get(Field::Price);
        if text.is_empty() {
            return Ok(None);
        }
        let currency = match self.get(Field::Currency) {
            "" => self.mapping.currency.as_str(),
            currency => currency,
        };
        let currency =
            Currency::parse(currency).or_else(|fault| refuse("unreadable price", fault.to_string()))?;
        let plain = if self.mapping.decimal_comma {
            text.replace('.', "").replace(',', ".")
        } else {
            text.to_owned()
        };
        match Money::parse(&plain, currency) {
            Ok(price) => Ok(Some(price)),
            Err(fault) => refuse("unreadable price", fault.to_string()),
        }
    }

    /// Sets quantity and, for returns, state.
    fn quantity(&self, event: &mut Event, repaired: &mut Vec<&'static str>) -> Result<(), Refusal> {
        let rules = &self.mapping.rules;
        let prefix = rules.return_order_prefix.as_str();
        let by_order = !prefix.is_empty() && self.get(Field::OrderId).starts_with(prefix);
        let text = self.get(Field::Quantity);
        let pieces: i64 = match text {
            "" => 1,
            text => match text.strip_suffix(".0").unwrap_or(text).parse() {
                Ok(pieces) => pieces,
                Err(_) => {
                    return refuse("unreadable quantity", format!("quantity {text:?} is no whole number"));
                }
            },
        };
        let returned = by_order || (pieces < 0 && rules.negative_quantity_is_return);
        if pieces < 0 && !returned {
            return refuse("negative quantity", format!("quantity {pieces} and not a return"));
        }
        match u32::try_from(pieces.unsigned_abs()) {
            Ok(0) | Err(_) => return refuse("unreadable quantity", format!("quantity {pieces}")),
            Ok(quantity) => event.quantity = quantity,
        }
        if returned && event.kind == EventKind::Purchase {
            event.state = Some(PurchaseState::Refunded);
            repaired.push("return: taken away from what was bought");
        }
        Ok(())
    }

    /// An id from what the row says: the same row is the same event, wherever it stands.
    fn content_id(&self, kind: EventKind) -> String {
        let mut hash = Sha256::new();
        hash.update(kind.as_str());
        for value in self.values {
            hash.update([0x1f]);
            hash.update(value.trim());
        }
        hash.finalize()[..16].iter().fold(String::with_capacity(34), |mut id, byte| {
            use std::fmt::Write;
            // Writing to a String cannot fail.
            let _ = write!(id, "{byte:02x}");
            id
        })
    }
}
