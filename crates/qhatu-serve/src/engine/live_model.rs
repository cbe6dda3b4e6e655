//! The models that answer now. A model is loaded and warmed by a thread of its own while the old one
//! goes on answering; putting the new one in its place is one pointer. Requests that hold the old one
//! finish with it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use qhatu_features::{Declarations, Reading};
use qhatu_models::{History, Recommender, Vocabulary};
use qhatu_schema::{ItemIdx, Timestamp};

use super::fold;
use super::shelf::{ItemNo, Names};
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

/// The live model of an alias, and the version that could not be loaded last, so that following the
/// registry does not try it again every second.
#[derive(Default)]
struct Slot {
    live: RwLock<Option<Arc<LiveModel>>>,
    broken: Mutex<Option<String>>,
}

impl Slot {
    fn get(&self) -> Option<Arc<LiveModel>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn broken(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Shared {
    source: Box<dyn ModelSource>,
    names: Arc<RwLock<Names>>,
    declarations: Arc<Declarations>,
    slots: Vec<(String, Slot)>,
    /// One load at a time; held by the loading thread, never by a request for a list.
    loading: Mutex<()>,
}

/// What became of a look at the registry.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct Reloaded {
    /// The alias.
    pub alias: String,
    /// The version that is live now.
    pub version: Option<String>,
    /// Whether it changed by this look.
    pub changed: bool,
    /// Why the alias's version could not be loaded; the earlier one goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// One live model per alias, and the thread that follows the registry.
pub(crate) struct LiveModels {
    shared: Arc<Shared>,
    stop: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
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
        Self { shared, stop: Mutex::new(None) }
    }

    /// Follows the registry every `seconds` from now on; 0 follows only when told to.
    pub(crate) fn follow(&self, seconds: u64) -> Result<(), ServeError> {
        if seconds == 0 {
            return Ok(());
        }
        let name = "model-follow";
        let (stop, stopped) = channel();
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || shared.follow(&stopped, Duration::from_secs(seconds)))
            .map_err(|source| ServeError::Thread { name, source })?;
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some((stop, thread));
        Ok(())
    }

    /// Looks at the registry now and loads what changed. Blocks until the new model is warm.
    pub(crate) fn reload(&self) -> Vec<Reloaded> {
        self.shared.slots.iter().for_each(|(_, slot)| *slot.broken() = None);
        self.shared.reload()
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
        // While it is being loaded nobody can say yet.
        slot.broken.try_lock().ok()?.clone()
    }

    /// All aliases with what is live under each.
    pub(crate) fn all(&self) -> Vec<(String, Option<Arc<LiveModel>>)> {
        self.shared.slots.iter().map(|(alias, slot)| (alias.clone(), slot.get())).collect()
    }

    /// Ends the following thread.
    pub(crate) fn stop(&self) {
        let thread = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = thread {
            drop(stop);
            if thread.join().is_err() {
                tracing::error!("the thread that follows the registry had broken off");
            }
        }
    }
}

impl Shared {
    fn follow(&self, stopped: &Receiver<()>, every: Duration) {
        while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            self.reload();
        }
    }

    fn reload(&self) -> Vec<Reloaded> {
        let _one_at_a_time = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        self.slots.iter().map(|(alias, slot)| self.reload_one(alias, slot)).collect()
    }

    fn reload_one(&self, alias: &str, slot: &Slot) -> Reloaded {
        let live = slot.get().map(|model| model.version.clone());
        let (version, fault) = match self.next(alias, live.as_deref(), &mut slot.broken()) {
            Ok(None) => (live.clone(), None),
            Ok(Some(next)) => {
                let version = next.as_ref().map(|model| model.version.clone());
                tracing::info!(alias, version, "a model went live");
                *slot.live.write().unwrap_or_else(PoisonError::into_inner) = next.map(Arc::new);
                (version, None)
            }
            Err(error) => {
                tracing::error!(alias, %error, "a model could not be loaded; the earlier one goes on");
                (live.clone(), Some(error.to_string()))
            }
        };
        Reloaded { alias: alias.to_owned(), changed: version != live, version, fault }
    }

    /// `None` when nothing changed, `Some(None)` when the alias points nowhere any more.
    fn next(
        &self,
        alias: &str,
        live: Option<&str>,
        broken: &mut Option<String>,
    ) -> Result<Option<Option<LiveModel>>, ServeError> {
        let current = self.source.current(alias)?;
        if current.as_deref() == live || (current.is_some() && current == *broken) {
            return Ok(None);
        }
        // Forgotten below when the version loads.
        broken.clone_from(&current);
        if current.is_none() {
            return Ok(Some(None));
        }
        let model = LiveModel::new(self.source.load(alias)?, &self.names, &self.declarations)?;
        model.warm();
        *broken = None;
        Ok(Some(Some(model)))
    }
}
