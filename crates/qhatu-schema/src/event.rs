//! Events: what shoppers did, and what was shown to them. One log of these is all that qhatu knows.
//!
//! An event is one action on at most one item; an order of five lines is five events that share an
//! order id. The exception is the impression, which keeps a shown list whole and in its order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{EventId, ItemId, Money, OrderId, RecommendationId, SessionId, Timestamp, UserId};

/// What kind of action an event reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum EventKind {
    /// The shopper opened a product's page.
    View = 0,
    /// The shopper searched; the event has a query.
    Search = 1,
    /// The shopper clicked on a product in a list.
    Click = 2,
    /// The shopper put a product into the cart.
    AddToCart = 3,
    /// The shopper took a product out of the cart.
    RemoveFromCart = 4,
    /// The shopper bought, or gave back, by [`PurchaseState`].
    Purchase = 5,
    /// A list was shown; the event has the items in their order.
    Impression = 6,
}

impl EventKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::View,
        Self::Search,
        Self::Click,
        Self::AddToCart,
        Self::RemoveFromCart,
        Self::Purchase,
        Self::Impression,
    ];

    /// The name in files, answers and declarations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Search => "search",
            Self::Click => "click",
            Self::AddToCart => "add_to_cart",
            Self::RemoveFromCart => "remove_from_cart",
            Self::Purchase => "purchase",
            Self::Impression => "impression",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text does not name an event kind or a purchase state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}: one of {allowed}")]
pub struct NameError {
    /// What stood there, cut to 64 characters.
    pub text: String,
    /// What was wanted.
    pub what: &'static str,
    /// The names that would do.
    pub allowed: &'static str,
}

/// Takes our names and GA4's (`view_item`, `select_item`, `view_search_results`, `refund`, …).
/// GA4's `refund` is a purchase too; its state is the reader's to set.
impl FromStr for EventKind {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            "view" | "view_item" => Ok(Self::View),
            "search" | "view_search_results" => Ok(Self::Search),
            "click" | "select_item" => Ok(Self::Click),
            "add_to_cart" => Ok(Self::AddToCart),
            "remove_from_cart" => Ok(Self::RemoveFromCart),
            "purchase" | "refund" => Ok(Self::Purchase),
            "impression" | "view_item_list" => Ok(Self::Impression),
            _ => Err(NameError {
                text: text.chars().take(64).collect(),
                what: "an event kind",
                allowed: "view, search, click, add_to_cart, remove_from_cart, purchase, impression",
            }),
        }
    }
}

/// How far a purchase has come. Only what is paid counts as bought; what is refunded is subtracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum PurchaseState {
    /// Ordered, not yet paid: counts for nothing.
    Created = 0,
    /// Paid: the purchase.
    #[default]
    Paid = 1,
    /// Paid once and given back: takes away from what was bought.
    Refunded = 2,
    /// Never paid: counts for nothing.
    Expired = 3,
}

impl PurchaseState {
    /// The name in files and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Paid => "paid",
            Self::Refunded => "refunded",
            Self::Expired => "expired",
        }
    }
}

impl FromStr for PurchaseState {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            "created" => Ok(Self::Created),
            "paid" => Ok(Self::Paid),
            "refunded" => Ok(Self::Refunded),
            "expired" => Ok(Self::Expired),
            _ => Err(NameError {
                text: text.chars().take(64).collect(),
                what: "a purchase state",
                allowed: "created, paid, refunded, expired",
            }),
        }
    }
}

/// One event, as the log keeps it. Fields that do not belong to its kind are empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Its identity: sending it twice counts once.
    pub event_id: EventId,
    /// When it happened (not when it arrived).
    pub time: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// Who did it, if the shop knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// In which visit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// On which product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<ItemId>,
    /// How many, for carts and purchases; 1 where nothing is said, never 0.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub quantity: u32,
    /// Price of one piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// The order that a purchase's line belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    /// A purchase's state; empty for other kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<PurchaseState>,
    /// What was searched for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// What was shown, in its order; empty for other kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ItemId>,
    /// The served list that an impression showed or a click came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommendation_id: Option<RecommendationId>,
    /// The model version that made the list, as `name@version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_one(quantity: &u32) -> bool {
    *quantity == 1
}

/// Why a readable event makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Nobody did it.
    #[error("the event has neither user_id nor session_id: send at least one of them")]
    NoActor,
    /// The kind needs an item and there is none.
    #[error("a {kind} event needs item_id")]
    NoItem {
        /// The event's kind.
        kind: EventKind,
    },
    /// A search without words.
    #[error("a search event needs query")]
    NoQuery,
    /// An impression without a list.
    #[error("an impression event needs items, the list that was shown in its order")]
    NoItems,
    /// A quantity of zero.
    #[error("quantity is 0: leave it out for one piece, or send state refunded for a return")]
    ZeroQuantity,
    /// A price below zero.
    #[error("price {price} is below zero: send a positive price, and state refunded for a return")]
    NegativePrice {
        /// The price as sent.
        price: Money,
    },
}

impl Event {
    /// An event with nothing but its identity, time and kind.
    pub fn new(event_id: EventId, time: Timestamp, kind: EventKind) -> Self {
        Self {
            event_id,
            time,
            kind,
            user_id: None,
            session_id: None,
            item_id: None,
            quantity: 1,
            price: None,
            order_id: None,
            state: (kind == EventKind::Purchase).then_some(PurchaseState::Paid),
            query: None,
            items: Vec::new(),
            recommendation_id: None,
            model_version: None,
        }
    }

    /// What a purchase has come to, `None` for other kinds. A purchase that says nothing is paid.
    pub fn purchase_state(&self) -> Option<PurchaseState> {
        (self.kind == EventKind::Purchase).then(|| self.state.unwrap_or_default())
    }

    /// Whether this is a paid purchase.
    pub fn is_paid(&self) -> bool {
        self.purchase_state() == Some(PurchaseState::Paid)
    }

    /// Whether this gives back what was bought.
    pub fn is_refund(&self) -> bool {
        self.purchase_state() == Some(PurchaseState::Refunded)
    }

    /// Checks the rules that types cannot: who, on what, how many.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), EventError> {
        if self.user_id.is_none() && self.session_id.is_none() {
            return Err(EventError::NoActor);
        }
        match self.kind {
            EventKind::Search if self.query.as_deref().is_none_or(|q| q.trim().is_empty()) => {
                return Err(EventError::NoQuery);
            }
            EventKind::Impression if self.items.is_empty() => return Err(EventError::NoItems),
            EventKind::Search | EventKind::Impression => {}
            kind if self.item_id.is_none() => return Err(EventError::NoItem { kind }),
            _ => {}
        }
        if self.quantity == 0 {
            return Err(EventError::ZeroQuantity);
        }
        match self.price {
            Some(price) if price.micros < 0 => Err(EventError::NegativePrice { price }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> Event {
        let mut event = Event::new(EventId::new("e1").unwrap(), Timestamp::from_millis(1), EventKind::View);
        event.user_id = Some(UserId::new("u").unwrap());
        event.item_id = Some(ItemId::new("i").unwrap());
        event
    }

    #[test]
    fn an_event_needs_somebody_and_something() {
        assert_eq!(view().check(), Ok(()));
        assert_eq!(Event { user_id: None, ..view() }.check(), Err(EventError::NoActor));
        assert_eq!(
            Event { item_id: None, ..view() }.check(),
            Err(EventError::NoItem { kind: EventKind::View })
        );
        assert_eq!(Event { kind: EventKind::Search, ..view() }.check(), Err(EventError::NoQuery));
        assert_eq!(Event { kind: EventKind::Impression, ..view() }.check(), Err(EventError::NoItems));
        assert_eq!(Event { quantity: 0, ..view() }.check(), Err(EventError::ZeroQuantity));
    }

    #[test]
    fn names_of_both_vocabularies_are_read() {
        for kind in EventKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!("view_item".parse(), Ok(EventKind::View));
        assert!("page_view".parse::<EventKind>().unwrap_err().to_string().contains("add_to_cart"));
    }

    #[test]
    fn json_keeps_an_event_and_refuses_unknown_fields() {
        let event = view();
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(
            json,
            r#"{"event_id":"e1","time":"1970-01-01T00:00:00.001Z","kind":"view","user_id":"u","item_id":"i"}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
        assert!(serde_json::from_str::<Event>(&json.replace("item_id", "itemid")).is_err());
    }

    #[test]
    fn a_purchase_that_says_nothing_is_paid() {
        let bought = Event { kind: EventKind::Purchase, state: None, ..view() };
        assert!(bought.is_paid() && !bought.is_refund());
        assert!(!Event { state: Some(PurchaseState::Created), ..bought }.is_paid());
        assert!(!view().is_paid());
    }
}
