//! What a shopper does with an item.

use qhatu_schema::EventKind;
use serde::{Deserialize, Serialize};

/// What was done with an item of a history, from the least to the most that it says of a wish to have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Its page was opened, or it was clicked on in a list.
    Viewed = 0,
    /// It was put into the cart.
    Carted = 1,
    /// It was bought.
    Bought = 2,
}

impl Act {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Viewed, Self::Carted, Self::Bought];

    /// What an event of this kind is, where it says that an item is wanted.
    pub fn of(kind: EventKind) -> Option<Self> {
        match kind {
            EventKind::View | EventKind::Click => Some(Self::Viewed),
            EventKind::AddToCart => Some(Self::Carted),
            EventKind::Purchase => Some(Self::Bought),
            EventKind::Search | EventKind::RemoveFromCart | EventKind::Impression => None,
        }
    }
}
