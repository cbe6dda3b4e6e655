//! A row explained: which event, product and shopper it speaks of, or why it makes no sense.

use std::borrow::Cow;

use qhatu_schema::{
    Currency, Event, EventId, EventKind, ItemId, Money, OrderId, PurchaseState, SessionId, Timestamp, UserId,
};
use rustc_hash::FxHashSet;
use sha2::{Digest, Sha256};

use crate::mapping::{Columns, Mapping, MissingUser};

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

/// What a row says; texts are the row's own.
#[derive(Debug, Default)]
pub(crate) struct Explained<'v> {
    pub(crate) event: Option<Event>,
    pub(crate) item: Option<ItemRow<'v>>,
    pub(crate) user: Option<UserRow<'v>>,
    /// What was repaired, a bit for each of [`REPAIRS`].
    pub(crate) repaired: u8,
}

/// What a row says of a product; what it does not say is empty.
#[derive(Debug, Clone)]
pub(crate) struct ItemRow<'v> {
    pub(crate) item_id: ItemId,
    pub(crate) title: &'v str,
    pub(crate) description: &'v str,
    pub(crate) category: &'v str,
    pub(crate) brand: &'v str,
    pub(crate) price: Option<Money>,
    pub(crate) stock: Option<u32>,
    /// Since when it holds.
    pub(crate) at: Timestamp,
}

/// What a row says of a shopper.
#[derive(Debug, Clone)]
pub(crate) struct UserRow<'v> {
    pub(crate) user_id: UserId,
    pub(crate) country: &'v str,
    pub(crate) ubigeo: &'v str,
    pub(crate) at: Timestamp,
}

/// The repairs that are counted, as the report names them.
pub(crate) const REPAIRS: [&str; 5] = [
    "decimal part of a shopper's number removed",
    "return: taken away from what was bought",
    "currency sign or thousands separator removed from a price",
    "order without a shopper kept as a visit of its own",
    "stock below zero taken as none",
];
const DECIMAL_PART: u8 = 1;
const RETURN: u8 = 2;
const AMOUNT: u8 = 4;
const ANONYMOUS: u8 = 8;
const STOCK: u8 = 16;

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

/// The values of a row by field, trimmed; empty where there is none.
pub(crate) type Values<'a> = [&'a str; FIELDS];

/// Ids of the rows before, so that a row that repeats one needs no memory of its own for it.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    items: FxHashSet<ItemId>,
    user: Option<UserId>,
    order: Option<OrderId>,
}

impl Ids {
    fn item(&mut self, text: &str) -> Option<ItemId> {
        if let Some(known) = self.items.get(text) {
            return Some(known.clone());
        }
        let item = ItemId::new(text).ok()?;
        self.items.insert(item.clone());
        Some(item)
    }

    fn user(&mut self, text: &str) -> Option<UserId> {
        if self.user.as_ref().is_none_or(|known| known.as_str() != text) {
            self.user = Some(UserId::new(text).ok()?);
        }
        self.user.clone()
    }

    fn order(&mut self, text: &str) -> Option<OrderId> {
        if self.order.as_ref().is_none_or(|known| known.as_str() != text) {
            self.order = Some(OrderId::new(text).ok()?);
        }
        self.order.clone()
    }
}

/// Explains a row. `now` is the moment of the import: what lies after it is refused, and what a row without
/// a time says holds since then.
pub(crate) fn explain<'v>(
    mapping: &Mapping,
    values: &'v Values<'v>,
    now: Timestamp,
    ids: &mut Ids,
) -> Result<Explained<'v>, Refusal> {
    let row = Row { mapping, values };
    let mut explained = Explained::default();
    let kind = row.kind()?;
    row.check_product()?;
    let user_id = row.user(kind.is_some(), ids, &mut explained.repaired)?;
    let time = row.time(kind.is_some(), now)?;
    let price = row.price(&mut explained.repaired)?;
    row.check_price(price, kind.is_some())?;
    explained.item = row.item(time, price, ids, &mut explained.repaired)?;
    if let Some(kind) = kind {
        let mut event = row.event(kind, time, ids, &mut explained.repaired)?;
        event.user_id.clone_from(&user_id);
        event.item_id = explained.item.as_ref().map(|item| item.item_id.clone());
        event.price = price;
        row.check_event(&event)?;
        explained.event = Some(event);
    }
    explained.user = user_id.map(|user_id| row.user_row(user_id, time));
    match &explained {
        Explained { event: None, item: None, user: None, .. } => {
            refuse("incomplete", "the row names neither an event nor a product nor a shopper")
        }
        _ => Ok(explained),
    }
}

struct Row<'a, 'v> {
    mapping: &'a Mapping,
    values: &'v Values<'v>,
}

impl<'v> Row<'_, 'v> {
    /// The value; what stands for a gap in files is empty.
    fn get(&self, field: Field) -> &'v str {
        match self.values[field as usize] {
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
            (word, _) => match word.to_ascii_lowercase().parse() {
                Ok(kind) => Ok(Some(kind)),
                Err(_) => refuse(
                    "unknown kind",
                    format!("kind {word:?} is none of qhatu's; say what it means under kinds in the mapping"),
                ),
            },
        }
    }

    fn check_product(&self) -> Result<(), Refusal> {
        let (code, rules) = (self.get(Field::ItemId), &self.mapping.rules);
        let digits = code.bytes().take_while(u8::is_ascii_digit).count();
        let is_product = digits >= rules.item_digits
            && !rules.not_items.iter().any(|other| other.eq_ignore_ascii_case(code));
        if code.is_empty() || is_product {
            return Ok(());
        }
        refuse("not a product", format!("item {code:?}"))
    }

    /// Who it was; for events, what the rules say of rows without a shopper.
    fn user(&self, is_event: bool, ids: &mut Ids, repaired: &mut u8) -> Result<Option<UserId>, Refusal> {
        let mut id = self.get(Field::UserId);
        // A spreadsheet writes a number with gaps in its column as 17850.0.
        if let Some(whole) = id.strip_suffix(".0").filter(|whole| whole.bytes().all(|b| b.is_ascii_digit())) {
            id = whole;
            *repaired |= DECIMAL_PART;
        }
        let (session, order) = (self.get(Field::SessionId), self.get(Field::OrderId));
        match self.mapping.rules.missing_user {
            _ if !id.is_empty() || !is_event => {}
            MissingUser::Quarantine => {
                return refuse("no shopper", "the row names no shopper, and the rules ask for one");
            }
            MissingUser::AnonymousSession if session.is_empty() && !order.is_empty() => {
                *repaired |= ANONYMOUS;
            }
            MissingUser::Session | MissingUser::AnonymousSession if !session.is_empty() => {}
            _ => return refuse("no shopper", "the row names neither a shopper nor a session"),
        }
        Ok(ids.user(id))
    }

    fn user_row(&self, user_id: UserId, at: Timestamp) -> UserRow<'v> {
        UserRow { user_id, country: self.get(Field::Country), ubigeo: self.get(Field::Ubigeo), at }
    }

    fn stock(&self, repaired: &mut u8) -> Result<Option<u32>, Refusal> {
        let text = self.get(Field::Stock);
        if text.is_empty() {
            return Ok(None);
        }
        match whole_number(text) {
            Some(below) if below < 0 => {
                *repaired |= STOCK;
                Ok(Some(0))
            }
            Some(stock) if u32::try_from(stock).is_ok() => Ok(u32::try_from(stock).ok()),
            _ => refuse("unreadable stock", format!("stock {text:?} is no whole number")),
        }
    }

    fn item(
        &self,
        at: Timestamp,
        price: Option<Money>,
        ids: &mut Ids,
        repaired: &mut u8,
    ) -> Result<Option<ItemRow<'v>>, Refusal> {
        let Some(item_id) = ids.item(self.get(Field::ItemId)) else { return Ok(None) };
        let stock = self.stock(repaired)?;
        Ok(Some(ItemRow {
            item_id,
            title: self.get(Field::Title),
            description: self.get(Field::Description),
            category: self.get(Field::Category),
            brand: self.get(Field::Brand),
            price,
            stock,
            at,
        }))
    }

    fn event(
        &self,
        kind: EventKind,
        time: Timestamp,
        ids: &mut Ids,
        repaired: &mut u8,
    ) -> Result<Event, Refusal> {
        let made;
        let id = match self.get(Field::EventId) {
            "" => {
                made = self.content_id(kind);
                std::str::from_utf8(&made).unwrap_or_default()
            }
            id => id,
        };
        let Ok(event_id) = EventId::new(id) else { return refuse("incomplete", "the event id is empty") };
        let mut event = Event::new(event_id, time, kind);
        let (session, order) = (self.get(Field::SessionId), self.get(Field::OrderId));
        event.session_id = SessionId::new(if *repaired & ANONYMOUS != 0 { order } else { session }).ok();
        event.order_id = ids.order(order);
        event.query = Some(self.get(Field::Query)).filter(|query| !query.is_empty()).map(str::to_owned);
        self.set_state(&mut event)?;
        self.set_quantity(&mut event, repaired)?;
        Ok(event)
    }

    fn set_state(&self, event: &mut Event) -> Result<(), Refusal> {
        let word = self.get(Field::State);
        if word.is_empty() || event.kind != EventKind::Purchase {
            return Ok(());
        }
        let known = self.mapping.states.get(word).copied();
        match known.or_else(|| word.to_ascii_lowercase().parse().ok()) {
            Some(state) => event.state = Some(state),
            None => {
                return refuse(
                    "unknown state",
                    format!(
                        "state {word:?} is none of created, paid, refunded, expired; say what it means under \
                         states in the mapping"
                    ),
                );
            }
        }
        Ok(())
    }

    fn check_event(&self, event: &Event) -> Result<(), Refusal> {
        event.check().or_else(|fault| refuse("incomplete", fault.to_string()))
    }

    fn check_price(&self, price: Option<Money>, is_event: bool) -> Result<(), Refusal> {
        let required = is_event && self.mapping.rules.price_required;
        match price {
            Some(price) if price.micros < 0 => refuse("negative price", format!("price {price}")),
            Some(price) if price.micros == 0 && required => refuse("no price", format!("price {price}")),
            None if required => refuse("no price", "the row has no price"),
            _ => Ok(()),
        }
    }

    /// When it happened; a row that only describes may leave it out, and holds since `now`.
    fn time(&self, is_event: bool, now: Timestamp) -> Result<Timestamp, Refusal> {
        let text = self.get(Field::Time);
        if text.is_empty() && !is_event {
            return Ok(now);
        }
        match Timestamp::parse_in(text, self.mapping.timezone, self.mapping.date_order) {
            Ok(time) => check_ahead(time, now).map(|()| time),
            Err(fault) => refuse("unreadable time", fault.to_string()),
        }
    }

    fn price(&self, repaired: &mut u8) -> Result<Option<Money>, Refusal> {
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
        let plain = plain_amount(text, self.mapping.decimal_comma);
        if plain != text && !self.mapping.decimal_comma {
            *repaired |= AMOUNT;
        }
        match Money::parse(&plain, currency) {
            Ok(price) => Ok(Some(price)),
            Err(_) => refuse(
                "unreadable price",
                format!("{text:?} is not an amount: write 1234.50, or set decimal_comma for 1.234,50"),
            ),
        }
    }

    /// Sets quantity and, for returns, state.
    fn set_quantity(&self, event: &mut Event, repaired: &mut u8) -> Result<(), Refusal> {
        let rules = &self.mapping.rules;
        let prefix = rules.return_order_prefix.as_str();
        let by_order = !prefix.is_empty() && self.get(Field::OrderId).starts_with(prefix);
        let text = self.get(Field::Quantity);
        let pieces = match text {
            "" => 1,
            text => match whole_number(text) {
                Some(pieces) => pieces,
                None => {
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
            *repaired |= RETURN;
        }
        Ok(())
    }

    /// An id from what the row says: the same row is the same event, wherever it stands.
    fn content_id(&self, kind: EventKind) -> [u8; 32] {
        let mut said = Vec::with_capacity(256);
        said.extend_from_slice(kind.as_str().as_bytes());
        for value in self.values {
            said.push(0x1f);
            said.extend_from_slice(value.as_bytes());
        }
        let hash = Sha256::digest(&said);
        let mut id = [0; 32];
        for (place, byte) in hash[..16].iter().enumerate() {
            id[2 * place] = HEX[usize::from(byte >> 4)];
            id[2 * place + 1] = HEX[usize::from(byte & 15)];
        }
        id
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Refuses what lies more than a day after the import.
pub(crate) fn check_ahead(time: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    if time.millis() <= now.millis().saturating_add(AHEAD_MS) {
        return Ok(());
    }
    refuse("in the future", format!("time {time} lies after this import"))
}

/// `12`, `-3`, and what a spreadsheet makes of them: `12.0`, `12.00`.
fn whole_number(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    fraction.bytes().all(|byte| byte == b'0').then(|| whole.parse().ok())?
}

/// An amount without what people write around it: `S/ 1,234.50` is 1234.50, `1.234,50` too where the
/// comma is the decimal sign. A comma that does not stand before three digits is left, and so refused.
fn plain_amount(text: &str, decimal_comma: bool) -> Cow<'_, str> {
    let signs = ["S/.", "S/", "US$", "$", "PEN", "USD"];
    let bare = signs.iter().find_map(|sign| text.strip_prefix(sign)).unwrap_or(text).trim_start();
    if decimal_comma {
        return bare.replace('.', "").replace(',', ".").into();
    }
    let Some((first, groups)) = bare.split_once(',') else { return bare.into() };
    let whole = groups.split('.').next().unwrap_or_default();
    let digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    let first = first.trim_start_matches('-');
    let grouped = (1..=3).contains(&first.len())
        && digits(first)
        && whole.split(',').all(|group| group.len() == 3 && digits(group));
    if grouped { bare.replace(',', "").into() } else { bare.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_lose_what_people_write_around_them() {
        for (text, plain) in [
            ("12.5", "12.5"),
            ("S/ 1,234.50", "1234.50"),
            ("S/.9.90", "9.90"),
            ("$ 1,234,567", "1234567"),
            ("-1,000", "-1000"),
            ("1,5", "1,5"),
            ("12,34.5", "12,34.5"),
            (",123", ",123"),
        ] {
            assert_eq!(plain_amount(text, false), plain);
        }
        assert_eq!(plain_amount("S/ 1.234,50", true), "1234.50");
    }

    #[test]
    fn whole_numbers_of_spreadsheets() {
        for (text, number) in
            [("12", Some(12)), ("-3", Some(-3)), ("12.00", Some(12)), ("1.5", None), ("x", None)]
        {
            assert_eq!(whole_number(text), number, "{text}");
        }
    }
}
