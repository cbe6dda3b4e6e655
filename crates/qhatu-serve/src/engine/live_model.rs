//! The models that recommend now, one for each alias that is kept live.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use qhatu_features::{Declarations, Reading};
use qhatu_models::{History, Recommender, Vocabulary};
use qhatu_schema::{ItemIdx, Timestamp};

use super::fold;
use super::shelf::{ItemNo, Names};
use super::slot::{Follower, Reloaded, Slot, Versioned};
use crate::error::ServeError;

/// A model as its source hands it over.
pub struct LoadedModel {
    /// Its version as `name@number`.
    pub version: String,
    /// The items it knows.
    pub vocabulary: Arc<Vocabulary>,
    /// The model.
    pub recommender: Box<dyn Recommender>,
}

/// Where models come from: the registry in a shop, a fixed list in a test.
pub trait ModelSource: Send + Sync {
    /// The version that `alias` points at now.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn current(&self, alias: &str) -> Result<Option<String>, ServeError>;

    /// Loads the version that `alias` points at.
    ///
    /// # Errors
    /// When there is none, or its files are damaged or foreign.
    fn load(&self, alias: &str) -> Result<LoadedModel, ServeError>;
}

/// A model with the ways between the server's item numbers and its own.
pub(crate) struct LiveModel {
    pub(crate) version: String,
    pub(crate) recommender: Box<dyn Recommender>,
    pub(crate) loaded: Timestamp,
    /// The features that it is told of.
    pub(super) reading: Reading,
    idx_of: Vec<ItemIdx>,
    number_of: Vec<ItemNo>,
}

impl LiveModel {
    fn new(
        loaded: LoadedModel,
        names: &RwLock<Names>,
        declarations: &Declarations,
    ) -> Result<Self, ServeError> {
        let ids = loaded.vocabulary.items();
        if ids.len() != loaded.recommender.catalogue_size() {
            let message = format!(
                "the vocabulary has {} items and the model {}",
                ids.len(),
                loaded.recommender.catalogue_size()
            );
            return Err(ServeError::Model { version: loaded.version, message });
        }
        let mut names = names.write().unwrap_or_else(PoisonError::into_inner);
        // Row 0 is padding; it points at no item because its score is never taken.
        let mut number_of = vec![ItemNo::MAX];
        number_of.extend(ids.iter().map(|id| names.intern(id)));
        let mut idx_of = vec![ItemIdx::PADDING; names.len()];
        for (idx, &number) in (0..).zip(&number_of).skip(1) {
            idx_of[number as usize] = ItemIdx(idx);
        }
        let LoadedModel { version, recommender, .. } = loaded;
        let reading = fold::reading(&version, &*recommender, declarations);
        Ok(Self { version, recommender, loaded: Timestamp::now(), reading, idx_of, number_of })
    }

    /// The model's index of an item; `None` for one that it was not trained on.
    pub(crate) fn idx(&self, number: ItemNo) -> Option<ItemIdx> {
        self.idx_of.get(number as usize).copied().filter(|&idx| idx != ItemIdx::PADDING)
    }

    /// The item behind an index of the model; `None` for padding.
    pub(crate) fn number(&self, idx: ItemIdx) -> Option<ItemNo> {
        self.number_of.get(idx.row()).copied().filter(|&number| number != ItemNo::MAX)
    }

    /// Touches what a first request would touch, so that the first shopper does not wait for it.
    fn warm(&self) {
        let items: Vec<ItemIdx> = (1..self.number_of.len().min(8)).map(|idx| ItemIdx(idx as u32)).collect();
        let times = vec![0; items.len()];
        for _ in 0..3 {
            let history = History::bought(&items, &times, 0);
            self.recommender.recommend_because(&history, 10, &|_| false);
        }
        if let Some(&item) = items.first() {
            self.recommender.similar_items(item, 10);
        }
    }
}

impl Versioned for LiveModel {
    fn version(&self) -> &str {
        &self.version
    }
}

struct Shared {
    source: Box<dyn ModelSource>,
    names: Arc<RwLock<Names>>,
    declarations: Arc<Declarations>,
    slots: Vec<(String, Slot<LiveModel>)>,
    /// One load at a time; held by the loading thread, never by a request for a list.
    loading: Mutex<()>,
}

/// One live model per alias, and the thread that follows the registry.
pub(crate) struct LiveModels {
    shared: Arc<Shared>,
    follower: Follower,
}

impl LiveModels {
    /// Nothing live yet; [`LiveModels::reload`] loads.
    pub(crate) fn new(
        source: Box<dyn ModelSource>,
        names: Arc<RwLock<Names>>,
        declarations: Arc<Declarations>,
        aliases: &[String],
    ) -> Self {
        let slots = aliases.iter().map(|alias| (alias.clone(), Slot::default())).collect();
        let shared = Arc::new(Shared { source, names, declarations, slots, loading: Mutex::new(()) });
        Self { shared, follower: Follower::default() }
    }

    /// Follows the registry every `seconds` from now on; 0 follows only when told to.
    pub(crate) fn follow(&self, seconds: u64) -> Result<(), ServeError> {
        let shared = Arc::clone(&self.shared);
        self.follower.start("model-follow", seconds, move || drop(shared.reload(false)))
    }

    /// Looks at the registry now and loads what changed. Blocks until the new model is warm.
    pub(crate) fn reload(&self) -> Vec<Reloaded> {
        self.shared.reload(true)
    }

    /// The model that answers when the request names none: that of the first alias.
    pub(crate) fn first(&self) -> Option<Arc<LiveModel>> {
        self.shared.slots.first()?.1.get()
    }

    /// The version that the first alias points at where it could not be loaded and none is live.
    pub(crate) fn missing(&self) -> Option<String> {
        let (_, slot) = self.shared.slots.first()?;
        if slot.get().is_some() {
            return None;
        }
        slot.broken().map(|broken| broken.version)
    }

    /// All aliases with what is live under each.
    pub(crate) fn all(&self) -> Vec<(String, Option<Arc<LiveModel>>)> {
        self.shared.slots.iter().map(|(alias, slot)| (alias.clone(), slot.get())).collect()
    }

    /// Ends the following thread.
    pub(crate) fn stop(&self) {
        self.follower.stop();
    }
}

impl Shared {
    fn reload(&self, again: bool) -> Vec<Reloaded> {
        let _one_at_a_time = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        self.slots.iter().map(|(alias, slot)| self.reload_one((alias, again), slot)).collect()
    }

    fn reload_one(&self, (alias, again): (&str, bool), slot: &Slot<LiveModel>) -> Reloaded {
        let load = || {
            let model = LiveModel::new(self.source.load(alias)?, &self.names, &self.declarations)?;
            model.warm();
            Ok(model)
        };
        slot.reload((alias, again), || self.source.current(alias), load)
    }
}
