//! The things qhatu speaks of: ids, events, items, users, money, days, error kinds.
//!
//! Plain data without behaviour beyond its own rules. Every other crate of the workspace meets its
//! neighbours in these types and nowhere else, so this crate depends on none of ours and stays light.

mod clock;
pub mod dense;
mod department;
pub mod error;
pub mod event;
pub mod event_columns;
pub mod id;
pub mod item;
pub mod money;
pub mod table;
pub mod time;
pub mod user;

pub use dense::{DenseColumn, DenseTable, Labels, NO_INT, NO_TEXT, Texts};
pub use department::Department;
pub use error::ErrorKind;
pub use event::{Event, EventKind, PurchaseState};
pub use event_columns::{EventColumns, Lists};
pub use id::{EventId, IdError, ItemId, ItemIdx, OrderId, RecommendationId, SessionId, UserId, UserIdx};
pub use item::Item;
pub use money::{Currency, Money, MoneyError};
pub use table::{Column, Table, TableError};
pub use time::{DateOrder, LimaDay, TimeError, Timestamp, Zone, ZoneError};
pub use user::User;
