//! Items: the products of the catalogue as the shop describes them.

use serde::{Deserialize, Serialize};

use crate::{ItemId, Money, Timestamp};

/// One product. What the shop does not say stays empty and never counts against the product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The shop's code.
    pub item_id: ItemId,
    /// Its name on the page.
    #[serde(default)]
    pub title: String,
    /// What the page says of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its category, from the widest to the narrowest, joined by ` > `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Its brand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// What it costs now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// Pieces at hand; `None` where the shop keeps no stock figure, which counts as available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stock: Option<u32>,
    /// When the shop last changed it; the later description wins.
    #[serde(default)]
    pub updated: Timestamp,
}

impl Item {
    /// A product of which only the code is known.
    pub fn new(item_id: ItemId) -> Self {
        Self {
            item_id,
            title: String::new(),
            description: String::new(),
            category: None,
            brand: None,
            price: None,
            stock: None,
            updated: Timestamp::EPOCH,
        }
    }

    /// Whether a shopper could buy it now.
    pub fn in_stock(&self) -> bool {
        self.stock != Some(0)
    }
}
