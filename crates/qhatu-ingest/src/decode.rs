//! JSON events: qhatu's own shape, and Google Analytics 4's as it is.
//!
//! GA4 comes as a Measurement Protocol payload (`events: [{name, params}]` under a head with `user_id`
//! or `client_id`) or as a row of the BigQuery export (`event_name`, `event_params`, `items`). An
//! event with several items becomes one event per item, except lists that were shown, which are one
//! impression. A `client_id` or `user_pseudo_id` is the session of an anonymous shopper. Events without an id
//! get one from their content. (Names: GA4 recommended events; Measurement Protocol reference.)

use qhatu_schema::{
    Currency, Event, EventId, EventKind, ItemId, Money, OrderId, PurchaseState, SessionId, Timestamp, UserId,
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Why JSON is not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It has neither shape.
    #[error("not an event: {fault}")]
    Shape {
        /// What does not fit.
        fault: String,
    },
    /// A GA4 event that says nothing about products.
    #[error(
        "GA4 event {name:?} is none of those that are used: view_item, view_item_list, select_item, search, add_to_cart, remove_from_cart, purchase, refund"
    )]
    Unused {
        /// Its name.
        name: String,
    },
    /// A field that cannot be read.
    #[error("{field}: {fault}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        fault: String,
    },
}

/// The events in a JSON value; several where GA4 packs several items or events. One of GA4 that names no
/// time happened now.
///
/// # Errors
/// [`DecodeError`] with what does not fit.
pub fn decode_json_event(value: &Value) -> Result<Vec<Event>, DecodeError> {
    let decoded: Result<Vec<_>, _> = decode_each(value, Some(Timestamp::now())).into_iter().collect();
    decoded.map(|events| events.into_iter().flatten().collect())
}

/// As [`decode_json_event`], with an answer of its own for each event that GA4 packs into one payload.
/// `unstated` is the time of an event of GA4 that names none; without it such an event is refused, as in a
/// file, which would be another event each time it is read.
pub(crate) fn decode_each(
    value: &Value,
    unstated: Option<Timestamp>,
) -> Vec<Result<Vec<Event>, DecodeError>> {
    let Value::Object(object) = value else {
        return vec![Err(DecodeError::Shape { fault: "an event is a JSON object".to_owned() })];
    };
    if let Some(Value::Array(events)) = object.get("events") {
        let decode = |event: &Value| match object.len() == 1 && event.get("kind").is_some() {
            true => own(event),
            false => Ga4 { head: object, event, flat: false, unstated }.decode(),
        };
        return events.iter().map(decode).collect();
    }
    if object.contains_key("event_name") {
        return vec![Ga4 { head: object, event: value, flat: true, unstated }.decode()];
    }
    vec![own(value)]
}

/// An event in qhatu's own shape.
fn own(value: &Value) -> Result<Vec<Event>, DecodeError> {
    let event: Event = serde_json::from_value(value.clone())
        .map_err(|fault| DecodeError::Shape { fault: fault.to_string() })?;
    Ok(vec![event])
}

/// One GA4 event with what stands around it.
struct Ga4<'a> {
    head: &'a Map<String, Value>,
    event: &'a Value,
    /// Whether it is a row of the export, where names and places differ.
    flat: bool,
    /// The time where it names none.
    unstated: Option<Timestamp>,
}

impl Ga4<'_> {
    fn decode(&self) -> Result<Vec<Event>, DecodeError> {
        let name = self.event[if self.flat { "event_name" } else { "name" }].as_str().unwrap_or_default();
        let kind = match name {
            "view_item" => EventKind::View,
            "search" | "view_search_results" => EventKind::Search,
            "select_item" => EventKind::Click,
            "add_to_cart" => EventKind::AddToCart,
            "remove_from_cart" => EventKind::RemoveFromCart,
            "purchase" | "refund" => EventKind::Purchase,
            "view_item_list" => EventKind::Impression,
            "" => {
                let fault =
                    "neither qhatu's nor GA4's, whose events have a name; a mapping reads other shapes";
                return Err(DecodeError::Shape { fault: fault.to_owned() });
            }
            other => return Err(DecodeError::Unused { name: other.chars().take(64).collect() }),
        };
        let mut base = self.base(name, kind)?;
        if name == "refund" {
            base.state = Some(PurchaseState::Refunded);
        }
        let items = self.items();
        match kind {
            EventKind::Search => {
                base.query = self.param("search_term").and_then(text);
                Ok(vec![base])
            }
            EventKind::Impression => {
                for item in items {
                    base.items.push(item_id(item)?);
                }
                Ok(vec![base])
            }
            _ => items.iter().enumerate().map(|(place, item)| self.line(&base, place, item)).collect(),
        }
    }

    /// Everything but the item.
    fn base(&self, name: &str, kind: EventKind) -> Result<Event, DecodeError> {
        let time = self.time()?;
        let event_id = match self.param("event_id").or(self.event.get("event_id")).and_then(text) {
            Some(id) => id,
            None => self.content_id(name, time),
        };
        let mut event = Event::new(id("event_id", &event_id, EventId::new)?, time, kind);
        event.user_id = self.head.get("user_id").and_then(text).and_then(|text| UserId::new(text).ok());
        event.session_id = self.session().and_then(|text| SessionId::new(text).ok());
        if kind == EventKind::Purchase {
            let order = self.param("transaction_id").or(self.event["ecommerce"].get("transaction_id"));
            event.order_id = order.and_then(text).and_then(|text| OrderId::new(text).ok());
        }
        Ok(event)
    }

    /// The session's id. GA4's own is the second it began in, which is one visit's only beside the browser's.
    fn session(&self) -> Option<String> {
        let mut browsers = ["client_id", "user_pseudo_id"].into_iter().filter_map(|key| self.head.get(key));
        let browser = browsers.find_map(text);
        match (self.param("session_id").and_then(text), self.param("ga_session_id").and_then(text)) {
            (Some(session), _) => Some(session),
            (None, Some(begun)) => {
                Some(browser.map_or(begun.clone(), |browser| format!("{browser}.{begun}")))
            }
            (None, None) => browser,
        }
    }

    fn line(&self, base: &Event, place: usize, item: &Value) -> Result<Event, DecodeError> {
        let mut event = base.clone();
        if place > 0 {
            event.event_id = id("event_id", &format!("{}#{place}", base.event_id), EventId::new)?;
        }
        event.item_id = Some(item_id(item)?);
        if let Some(quantity) = item.get("quantity").and_then(text) {
            let fault =
                || DecodeError::Field { field: "quantity", fault: format!("{quantity:?} is no count") };
            event.quantity = quantity.parse().map_err(|_| fault())?;
        }
        event.price = self.price(item)?;
        Ok(event)
    }

    fn price(&self, item: &Value) -> Result<Option<Money>, DecodeError> {
        let Some(price) = item.get("price").and_then(text) else { return Ok(None) };
        let currency = self.param("currency").and_then(text).unwrap_or_else(|| "PEN".to_owned());
        let fault =
            |fault: qhatu_schema::MoneyError| DecodeError::Field { field: "price", fault: fault.to_string() };
        let currency = Currency::parse(&currency).map_err(fault)?;
        Money::parse(&price, currency).map(Some).map_err(fault)
    }

    fn time(&self) -> Result<Timestamp, DecodeError> {
        let keys = ["timestamp_micros", "event_timestamp"];
        let stated = keys.into_iter().find_map(|key| self.event.get(key).or(self.head.get(key)));
        let wrong = |fault: String| DecodeError::Field { field: "timestamp_micros", fault };
        match stated.and_then(text) {
            None => self.unstated.ok_or_else(|| wrong("it is missing, and a file needs it".to_owned())),
            Some(text) => Timestamp::parse(&text).map_err(|fault| wrong(fault.to_string())),
        }
    }

    fn items(&self) -> &[Value] {
        let list = if self.flat { &self.event["items"] } else { &self.event["params"]["items"] };
        list.as_array().map_or(&[], Vec::as_slice)
    }

    fn param(&self, key: &str) -> Option<&Value> {
        if !self.flat {
            return self.event["params"].get(key);
        }
        let list = self.event["event_params"].as_array()?;
        let value = &list.iter().find(|entry| entry["key"] == key)?["value"];
        ["string_value", "int_value", "double_value", "float_value"]
            .into_iter()
            .find_map(|kind| value.get(kind))
    }

    fn content_id(&self, name: &str, time: Timestamp) -> String {
        let mut hash = Sha256::new();
        let who = ["user_id", "client_id", "user_pseudo_id"].map(|key| self.head.get(key).cloned());
        let said = (name, time.millis(), who, &self.event["params"], &self.event["event_params"]);
        // What was parsed from JSON can be written as JSON.
        hash.update(serde_json::to_vec(&said).unwrap_or_default());
        hash.update(serde_json::to_vec(self.items()).unwrap_or_default());
        let hex: String = hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("ga4-{hex}")
    }
}

fn item_id(item: &Value) -> Result<ItemId, DecodeError> {
    let stated = item.get("item_id").or(item.get("id")).and_then(text).unwrap_or_default();
    id("item_id", &stated, ItemId::new)
}

fn id<'a, T, E: ToString>(
    field: &'static str,
    stated: &'a str,
    new: impl FnOnce(&'a str) -> Result<T, E>,
) -> Result<T, DecodeError> {
    new(stated).map_err(|fault| DecodeError::Field { field, fault: fault.to_string() })
}

/// A text or number as text; `None` for what is neither, and for the empty text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn purchase() -> Value {
        json!({
            "client_id": "c.1", "user_id": "u1", "timestamp_micros": "1764000000123456",
            "events": [{ "name": "purchase", "params": {
                "transaction_id": "T1", "currency": "PEN",
                "items": [
                    { "item_id": "A", "price": 10.5, "quantity": 2 },
                    { "item_id": "B", "price": "3" }
                ]
            }}]
        })
    }

    #[test]
    fn a_ga4_purchase_is_a_line_per_item() {
        let events = decode_json_event(&purchase()).unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!(events[0].time.millis(), 1_764_000_000_123);
        assert_eq!((events[0].quantity, events[0].price.unwrap().units()), (2, 10.5));
        assert_eq!(events[1].order_id.as_ref().unwrap().as_str(), "T1");
        assert_ne!(events[0].event_id, events[1].event_id);
        assert_eq!(events, decode_json_event(&purchase()).unwrap(), "sent again it is the same");
        assert!(events.iter().all(|event| event.check().is_ok() && event.is_paid()));
    }

    #[test]
    fn refunds_searches_and_lists_are_what_they_are() {
        let of = |name: &str, params: Value| {
            let body = json!({ "client_id": "c", "timestamp_micros": 1e15 as i64,
                               "events": [{ "name": name, "params": params }] });
            decode_json_event(&body)
        };
        let refund = of("refund", json!({ "items": [{ "item_id": "A" }] })).unwrap();
        assert!(refund[0].is_refund());
        let search = of("search", json!({ "search_term": "zapatillas" })).unwrap();
        assert_eq!(search[0].query.as_deref(), Some("zapatillas"));
        let shown =
            of("view_item_list", json!({ "items": [{ "item_id": "A" }, { "item_id": "B" }] })).unwrap();
        assert_eq!((shown.len(), shown[0].items.len()), (1, 2));
        assert!(matches!(of("page_view", json!({})), Err(DecodeError::Unused { .. })));
        assert!(of("view_item", json!({ "items": [{ "price": 3 }] })).is_err());
    }

    #[test]
    fn a_row_of_the_export_is_read() {
        let row = json!({
            "event_name": "view_item", "event_timestamp": 1_764_000_000_000_000_i64, "user_pseudo_id": "p1",
            "event_params": [{ "key": "ga_session_id", "value": { "int_value": 77 } }],
            "items": [{ "item_id": "A" }]
        });
        let events = decode_json_event(&row).unwrap();
        assert_eq!(events[0].session_id.as_ref().unwrap().as_str(), "p1.77");
        assert_eq!(events[0].kind, EventKind::View);
    }

    #[test]
    fn in_a_payload_each_event_stands_for_itself() {
        let body = json!({ "client_id": "c", "timestamp_micros": 1_764_000_000_000_000_i64, "events": [
            { "name": "page_view", "params": {} },
            { "name": "view_item", "params": { "items": [{ "item_id": "A" }] } },
        ]});
        let decoded = decode_each(&body, None);
        assert!(matches!(decoded[0], Err(DecodeError::Unused { .. })));
        assert_eq!(decoded[1].as_ref().unwrap().len(), 1);
        let timeless = json!({ "client_id": "c", "events": [
            { "name": "view_item", "params": { "items": [{ "item_id": "A" }] } }] });
        assert!(decode_each(&timeless, None)[0].is_err(), "a file would be another event each time");
        assert!(decode_json_event(&timeless).is_ok());
    }

    proptest! {
        #[test]
        fn any_json_is_an_event_or_refused(text in "[\\[\\]{}\":,a-z0-9_ ]{0,80}") {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                let _ = decode_json_event(&value);
            }
        }

        #[test]
        fn own_events_come_back_as_they_were(ms in 0..4_000_000_000_000_i64, user in "\\PC{1,8}", quantity in 1..9_u32) {
            let mut event = Event::new(EventId::new("e").unwrap(), Timestamp::from_millis(ms), EventKind::View);
            event.user_id = Some(UserId::new(user).unwrap());
            event.item_id = Some(ItemId::new("i").unwrap());
            event.quantity = quantity;
            let value = serde_json::to_value(&event).unwrap();
            prop_assert_eq!(decode_json_event(&value).unwrap(), vec![event]);
        }
    }
}
