//! The live features as a model is told of them, for one who asks now.

use std::fmt;
use std::sync::PoisonError;

use qhatu_features::{Asking, Declarations, Reading};
use qhatu_models::{FoldNow, Recommender};
use qhatu_schema::{ItemId, ItemIdx, SessionId, Timestamp, UserId};

use super::live::Live;
use super::live_model::LiveModel;

/// The columns that a model is told of, as the shop declares them now. One that is declared otherwise than when the model was
/// trained says nothing, and the log says so.
pub(super) fn reading(version: &str, model: &dyn Recommender, declarations: &Declarations) -> Reading {
    let columns = model.fold_columns();
    let defined = columns.iter().map(|column| (column.name.as_str(), column.definition.as_str()));
    let reading = Reading::of_defined(declarations, defined);
    let changed: Vec<&str> = reading.silent().map(|number| columns[number].name.as_str()).collect();
    if !changed.is_empty() {
        let features = changed.join(", ");
        tracing::warn!(
            version,
            features,
            "these features are declared otherwise than when the model was trained, which takes them for missing: train it \
             again"
        );
    }
    reading
}

/// The features as they stand, for a shopper, a visit or both.
pub(super) struct LiveFold<'a> {
    pub(super) live: &'a Live,
    pub(super) model: &'a LiveModel,
    pub(super) user: Option<&'a UserId>,
    pub(super) session: Option<&'a SessionId>,
    pub(super) now: i64,
}

impl fmt::Debug for LiveFold<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the live features for {:?} in {:?} at {}", self.user, self.session, self.now)
    }
}

impl FoldNow for LiveFold<'_> {
    fn rows(&self, items: &[ItemIdx]) -> Vec<f32> {
        // Before the features are locked, so that no lock is waited for under another.
        let numbers = items.iter().map(|item| self.model.number(*item));
        let ids: Vec<Option<ItemId>> = self.live.item_ids(numbers);
        let asking = Asking {
            user: self.user.map_or("", |id| id.as_str()),
            session: self.session.map_or("", |id| id.as_str()),
        };
        let ids = ids.iter().map(|id| id.as_ref().map_or("", |id| id.as_str()));
        let features = self.live.features.read().unwrap_or_else(PoisonError::into_inner);
        features.numbers(&self.model.reading, asking, ids, Timestamp::from_millis(self.now))
    }
}
