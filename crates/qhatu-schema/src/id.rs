//! Identifiers: what a shop calls its things (text), and what a model calls them (a dense index).
//!
//! A text id refuses the empty string and takes any other ("/", spaces and emoji included): it is
//! the shop's, not ours. Cloning one is a reference count, so ids travel freely between threads.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} is empty: every {kind} needs at least one character")]
pub struct IdError {
    /// Which id it would have been, in the words of the event format (`item_id`, …).
    pub kind: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes any text but the empty one.
            ///
            /// # Errors
            /// [`IdError`] when `text` is empty.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                match text.as_ref() {
                    "" => Err(IdError { kind: $kind }),
                    text => Ok(Self(Arc::from(text))),
                }
            }

            /// The id as the shop wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

text_id!(
    /// One shopper, as the shop knows them.
    UserId,
    "user_id"
);
text_id!(
    /// One product of the catalogue.
    ItemId,
    "item_id"
);
text_id!(
    /// One visit. Anonymous shoppers have a session and no user.
    SessionId,
    "session_id"
);
text_id!(
    /// One event. Sending the same id twice counts once.
    EventId,
    "event_id"
);
text_id!(
    /// One order or invoice; its lines are events of their own that share it.
    OrderId,
    "order_id"
);
text_id!(
    /// One served list, to be fetched and explained again.
    RecommendationId,
    "recommendation_id"
);

/// An item's place in a model's vocabulary. `0` is padding and never a real item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemIdx(pub u32);

impl ItemIdx {
    /// The index that fills a batch where a sequence has no item.
    pub const PADDING: Self = Self(0);

    /// The index as a position in a table with one row per item, padding's row included.
    pub fn row(self) -> usize {
        self.0 as usize
    }
}

/// A user's place in a model's table of users. `0` is the first real user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserIdx(pub u32);

impl UserIdx {
    /// The index as a position in a table with one row per user.
    pub fn row(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_takes_any_text_but_the_empty_one() {
        for text in ["85123A", "a/b", " ", "ñandú 🧉", "0"] {
            assert_eq!(ItemId::new(text).unwrap().as_str(), text);
        }
        assert_eq!(
            ItemId::new("").unwrap_err().to_string(),
            "item_id is empty: every item_id needs at least one character"
        );
    }

    #[test]
    fn json_refuses_the_empty_id() {
        assert!(serde_json::from_str::<UserId>("\"\"").is_err());
        let id: UserId = serde_json::from_str("\"17850\"").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"17850\"");
    }
}
