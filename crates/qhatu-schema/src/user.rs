//! Users: what the shop knows of a shopper beyond their events. Kept small on purpose.

use serde::{Deserialize, Serialize};

use crate::{Department, Timestamp, UserId};

/// One shopper's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The shop's code.
    pub user_id: UserId,
    /// Country, as the shop writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Six digits of INEI's ubigeo (department, province, district), for shoppers in Peru.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ubigeo: Option<String>,
    /// When the shop last changed it; the later record wins.
    #[serde(default)]
    pub updated: Timestamp,
}

impl User {
    /// A shopper of whom only the code is known.
    pub fn new(user_id: UserId) -> Self {
        Self { user_id, country: None, ubigeo: None, updated: Timestamp::EPOCH }
    }

    /// Where they live, as far as their ubigeo says.
    pub fn department(&self) -> Option<Department> {
        Department::of_ubigeo(self.ubigeo.as_deref()?)
    }
}
