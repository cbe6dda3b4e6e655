//! The engine: everything that answers a request without knowing HTTP. Live state (shoppers, orders,
//! popularity, features, catalogue) is a fold over the event log; models come from the registry;
//! served answers go to the store.

mod answer_log;
mod diversity;
mod fold;
mod ingest;
mod live;
mod live_model;
mod order;
mod popularity;
mod propensity;
mod reason;
mod recommend;
mod shelf;
mod shopper;
mod slot;
mod snapshot;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use qhatu_features::{Declarations, Entity};
use qhatu_schema::{Event, Item, ItemId, SessionId, Timestamp, User, UserId};
use qhatu_store::{Catalogue, Documents, EventLog};
use serde_json::Value;

use answer_log::AnswerLog;
use ingest::Ingest;
pub(crate) use live::{Live, MoveView};
use live_model::LiveModels;
pub use live_model::{LoadedModel, ModelSource};
use propensity::LivePropensity;
pub use propensity::{
    Because, Foretold, LoadedPropensity, PropensityFault, PropensityModel, PropensitySource, TableColumn,
};
pub(crate) use propensity::{LivePropensityVersion, RowPropensities, ShopperPropensity};
pub use reason::{ReasonView, Sentence};
pub use recommend::{Answer, AnswerItem, FALLBACK, Filter, Inputs, Price, Request};
pub use slot::Reloaded;
use snapshot::{Keeper, Snapshots};

use crate::config::{Clock, Placement, ServeConfig};
use crate::error::ServeError;
use crate::http::model::{LiveVersion, Models};

const REPLAYED_AT_ONCE: usize = 4_096;

/// What the engine is built on.
pub struct Parts {
    /// The event log; the engine replays it and appends to it.
    pub log: Arc<dyn EventLog>,
    /// Items, users and served answers.
    pub documents: Arc<dyn Documents>,
    /// What features there are.
    pub declarations: Arc<Declarations>,
    /// Where models come from.
    pub models: Box<dyn ModelSource>,
    /// Where propensity models come from; `None` where they are not asked for.
    pub propensity: Option<Box<dyn PropensitySource>>,
}

/// Everything that answers.
pub struct Engine {
    config: ServeConfig,
    placements: BTreeMap<String, Placement>,
    live: Arc<Live>,
    log: Arc<dyn EventLog>,
    catalogue: Catalogue,
    models: LiveModels,
    propensity: Option<LivePropensity>,
    answers: AnswerLog,
    ingest: Ingest,
    replay: Replay,
    snapshots: Option<Snapshots>,
    keeper: Mutex<Option<Keeper>>,
    /// Held while items are written, so that store and shelf change in the same order.
    writing_items: Mutex<()>,
    /// The same for shoppers' records and what is taken from them.
    writing_users: Mutex<()>,
}

#[derive(Default)]
struct Replay {
    done: AtomicU64,
    all: AtomicU64,
    ready: AtomicBool,
    stop: AtomicBool,
    fault: Mutex<Option<String>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How far the engine is from answering.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct Readiness {
    /// Whether requests are answered.
    pub ready: bool,
    /// Events replayed from the log.
    pub replayed: u64,
    /// Events in the log when the replay began.
    pub events: u64,
    /// Items of the catalogue.
    pub items: usize,
    /// The version that answers; `popularity@live` while no model is live.
    pub model_version: String,
    /// Why it is not ready: the replay broke off, or the first alias's model could not be loaded, so that
    /// popularity answers in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl Engine {
    /// Opens the engine and begins to replay the log in a thread of its own; the engine answers with
    /// [`ServeError::NotReady`] until that is done and the models are warm ([`Engine::wait`]).
    ///
    /// # Errors
    /// When the configuration does not fit or a thread cannot be started.
    pub fn open(parts: Parts, config: ServeConfig) -> Result<Arc<Self>, ServeError> {
        Self::open_with(parts, config, None)
    }

    /// The same, going on from the snapshot of the live state in `folder`, so that only the events after it
    /// are replayed, and keeping one there.
    ///
    /// # Errors
    /// As [`Engine::open`]. A snapshot that cannot be used is no error: everything is replayed.
    pub fn open_from_snapshot(
        parts: Parts,
        config: ServeConfig,
        folder: &Path,
    ) -> Result<Arc<Self>, ServeError> {
        let snapshots = Snapshots {
            path: snapshot::file_in(folder),
            log: Arc::clone(&parts.log),
            declarations: Arc::clone(&parts.declarations),
            half_life_days: config.popularity_half_life_days,
        };
        Self::open_with(parts, config, Some(snapshots))
    }

    fn open_with(
        parts: Parts,
        config: ServeConfig,
        snapshots: Option<Snapshots>,
    ) -> Result<Arc<Self>, ServeError> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(ServeError::Config { faults });
        }
        let declarations = Arc::clone(&parts.declarations);
        let live = Arc::new(Live::new(parts.declarations, config.popularity_half_life_days));
        let engine = Arc::new(Self {
            placements: config.all_placements(),
            models: LiveModels::new(parts.models, Arc::clone(&live.names), declarations, &config.aliases),
            propensity: parts.propensity.map(LivePropensity::new),
            answers: AnswerLog::start(Arc::clone(&parts.documents), config.keep_answers_days)?,
            ingest: Ingest::start(Arc::clone(&parts.log), Arc::clone(&live))?,
            catalogue: Catalogue::new(parts.documents),
            log: parts.log,
            live,
            config,
            replay: Replay::default(),
            snapshots,
            keeper: Mutex::default(),
            writing_items: Mutex::new(()),
            writing_users: Mutex::new(()),
        });
        let name = "replay";
        let its = Arc::clone(&engine);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || its.replay())
            .map_err(|source| ServeError::Thread { name, source })?;
        *engine.replay.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(engine)
    }

    /// Waits until the replay is done and the models are warm.
    ///
    /// # Errors
    /// Why the replay broke off.
    pub fn wait(&self) -> Result<(), ServeError> {
        let thread = self.replay.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            return Err(ServeError::Panicked { pool: "replay" });
        }
        self.check_ready()
    }

    fn replay(&self) {
        let outcome = self.replay_all();
        if let Err(error) = &outcome {
            tracing::error!(%error, "the replay broke off: the server will not get ready");
            *self.replay.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        }
        self.replay.ready.store(outcome.is_ok(), Ordering::Release);
        if outcome.is_ok() {
            self.begin_propensity();
        }
    }

    /// Lists are answered already: nobody who asks for one waits for this.
    fn begin_propensity(&self) {
        let begun = self.propensity.as_ref().map_or(Ok(()), |own| own.begin(self.config.reload_seconds));
        if let Err(error) = begun {
            tracing::error!(%error, "propensity models are not followed: reload them by hand");
        }
    }

    fn replay_all(&self) -> Result<(), ServeError> {
        let last = self.log.last_offset()?;
        self.replay.all.store(last, Ordering::Relaxed);
        let kept = self.snapshots.as_ref().map_or(Ok(0), |snapshots| snapshots.restore(&self.live))?;
        self.replay.done.store(kept, Ordering::Relaxed);
        let mut from = kept + 1;
        while from <= last && !self.replay.stop.load(Ordering::Relaxed) {
            let read = self.log.read(from, REPLAYED_AT_ONCE)?;
            let Some((offset, _)) = read.last() else { break };
            from = offset + 1;
            self.live.apply_all(read.iter().map(|(_, event)| event));
            self.replay.done.store(from - 1, Ordering::Relaxed);
        }
        self.keep_snapshots(kept, from - 1)?;
        // After the events: so items have the same numbers, and ties the same order, in every process.
        self.live.put_items(self.catalogue.items()?);
        self.read_users()?;
        for outcome in self.models.reload() {
            tracing::info!(
                alias = outcome.alias,
                version = outcome.version,
                fault = outcome.fault,
                "alias looked up"
            );
        }
        self.models.follow(self.config.reload_seconds)?;
        tracing::info!(events = last, items = self.live.shelf().len(), "replay done");
        Ok(())
    }

    fn read_users(&self) -> Result<(), ServeError> {
        let _in_turn = self.writing_users.lock().unwrap_or_else(PoisonError::into_inner);
        self.live.put_users(&self.catalogue.users()?);
        Ok(())
    }

    /// After a long replay the state is kept at once; from then on the keeper looks when it is due again.
    fn keep_snapshots(&self, kept: u64, replayed: u64) -> Result<(), ServeError> {
        let Some(snapshots) = &self.snapshots else { return Ok(()) };
        if self.replay.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut kept = kept;
        if snapshot::is_due(replayed.saturating_sub(kept)) {
            match snapshots.write(&self.live, replayed) {
                Ok(()) => kept = replayed,
                Err(error) => tracing::warn!(%error, "no snapshot could be made"),
            }
        }
        let keeper = Keeper::start(snapshots.clone(), kept)?;
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
        Ok(())
    }

    /// The error that says how far the replay is, until it is done.
    pub(crate) fn check_ready(&self) -> Result<(), ServeError> {
        if self.replay.ready.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(ServeError::NotReady {
            done: self.replay.done.load(Ordering::Relaxed),
            all: self.replay.all.load(Ordering::Relaxed),
        })
    }

    /// How far the engine is from answering.
    pub fn readiness(&self) -> Readiness {
        let replayed = self.replay.ready.load(Ordering::Acquire);
        let missing = self.models.missing().filter(|_| replayed);
        let broke_off = self.replay.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Readiness {
            ready: replayed && missing.is_none(),
            replayed: self.replay.done.load(Ordering::Relaxed),
            events: self.replay.all.load(Ordering::Relaxed),
            items: self.live.shelf().len(),
            model_version: self
                .models
                .first()
                .map_or_else(|| FALLBACK.to_owned(), |model| model.version.clone()),
            fault: broke_off.or_else(|| missing.map(|version| format!("model {version} cannot be loaded"))),
        }
    }

    /// What "now" is for ages.
    pub fn now(&self) -> Timestamp {
        match self.config.clock {
            Clock::System => Timestamp::now(),
            Clock::LastEvent => Timestamp::from_millis(self.live.last_time()),
        }
    }

    /// Appends checked events and counts them; one truth value each: true = new, false = known before.
    ///
    /// # Errors
    /// When the engine is not ready, the queue is full or the log cannot be written.
    pub async fn append(&self, events: Vec<Event>) -> Result<Vec<bool>, ServeError> {
        self.check_ready()?;
        self.ingest.append(events).await
    }

    /// A served answer by its id.
    ///
    /// # Errors
    /// When the store cannot be read or there is no such answer.
    pub fn answer(&self, id: &str) -> Result<Value, ServeError> {
        self.answers.get(id)?.ok_or_else(|| ServeError::not_found("recommendation", id))
    }

    /// Puts items into the store and onto the shelf; the later `updated` wins. How many were taken.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_items(&self, items: &[Item]) -> Result<usize, ServeError> {
        self.check_ready()?;
        let _in_turn = self.writing_items.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.catalogue.upsert_items(items)?;
        // The store decides which description is the later one, so it is asked.
        let mut stored = Vec::with_capacity(items.len());
        for item in items {
            stored.extend(self.catalogue.item(&item.item_id)?);
        }
        self.live.put_items(stored);
        Ok(taken)
    }

    /// Takes an item out of the store and off the shelf.
    ///
    /// # Errors
    /// When there is none or the store cannot be written.
    pub fn delete_item(&self, id: &ItemId) -> Result<(), ServeError> {
        self.check_ready()?;
        let _in_turn = self.writing_items.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.catalogue.delete_item(id)? {
            return Err(ServeError::not_found("item", id.as_str()));
        }
        self.live.remove_item(id);
        Ok(())
    }

    /// An item's record.
    ///
    /// # Errors
    /// When there is none.
    pub fn item(&self, id: &str) -> Result<Arc<Item>, ServeError> {
        self.live.item(id).ok_or_else(|| ServeError::not_found("item", id))
    }

    /// Puts shoppers' records; the later `updated` wins. How many were taken.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_users(&self, users: &[User]) -> Result<usize, ServeError> {
        let _in_turn = self.writing_users.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.catalogue.upsert_users(users)?;
        // The store decides which record is the later one, so it is asked.
        let mut stored = Vec::with_capacity(users.len());
        for user in users {
            stored.extend(self.catalogue.user(&user.user_id)?);
        }
        self.live.put_users(&stored);
        Ok(taken)
    }

    /// A shopper's record; for one who is known by events alone, a record that says only the id.
    ///
    /// # Errors
    /// When nothing is known of them or the store cannot be read.
    pub fn user(&self, id: &UserId) -> Result<User, ServeError> {
        let stored = self.catalogue.user(id)?;
        let known = || self.live.users.get(id.as_str()).map(|_| User::new(id.clone()));
        stored.or_else(known).ok_or_else(|| ServeError::not_found("user", id.as_str()))
    }

    /// Takes a shopper's record out of the store. Their events stay in the log.
    ///
    /// # Errors
    /// When there is none or the store cannot be written.
    pub fn delete_user(&self, id: &UserId) -> Result<(), ServeError> {
        let _in_turn = self.writing_users.lock().unwrap_or_else(PoisonError::into_inner);
        let was_there = self.catalogue.delete_user(id)?;
        // Whoever took it out of the store, nothing of it is known here any more.
        self.live.remove_user(id);
        if was_there { Ok(()) } else { Err(ServeError::not_found("user", id.as_str())) }
    }

    /// Looks at the registry now; blocks until what is new is warm.
    pub fn reload_models(&self) -> Vec<Reloaded> {
        self.models.reload()
    }

    /// The same for the propensity model; `None` where none is asked for.
    pub fn reload_propensity(&self) -> Option<Reloaded> {
        self.propensity.as_ref().map(LivePropensity::reload)
    }

    /// Writes what waits and ends the engine's own threads. Call after the last request.
    pub fn close(&self) {
        self.replay.stop.store(true, Ordering::Relaxed);
        self.models.stop();
        if let Some(propensity) = &self.propensity {
            propensity.stop();
        }
        self.answers.stop();
        if let Some(keeper) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            keeper.stop();
        }
    }
}

/// What the pages and figures show.
impl Engine {
    /// Shoppers whose id holds `text`, with the number of all.
    pub(crate) fn find_users(&self, text: &str, skip: usize, limit: usize) -> (usize, Vec<(UserId, usize)>) {
        (self.live.users.len(), self.live.users.search(text, skip, limit))
    }

    /// A history, newest first, and its full length.
    pub(crate) fn history(
        &self,
        user: Option<&UserId>,
        session: Option<&SessionId>,
        limit: usize,
    ) -> (usize, Vec<MoveView>) {
        let shopper = self.live.shopper(user, session);
        (shopper.moves().len(), self.live.history(&shopper, limit))
    }

    /// An entity's features as they stand now.
    pub(crate) fn features(&self, entity: Entity, key: &str) -> Value {
        let row = self.live.features(entity, key, self.now());
        serde_json::to_value(row).unwrap_or_default()
    }

    /// The live models, the placements and the clock.
    pub(crate) fn live_models(&self) -> Models {
        let describe = |(alias, model): (String, Option<Arc<live_model::LiveModel>>)| LiveVersion {
            alias,
            version: model.as_ref().map(|model| model.version.clone()),
            kind: model.as_ref().map(|model| model.recommender.name()),
            items: model.as_ref().map(|model| model.recommender.catalogue_size()),
            since: model.as_ref().map(|model| model.loaded),
        };
        Models {
            models: self.models.all().into_iter().map(describe).collect(),
            propensity: self.live_propensity(),
            placements: self.placements.keys().cloned().collect(),
            now: self.now(),
        }
    }

    /// Shoppers, visits, and answers that wait or were lost.
    pub(crate) fn sizes(&self) -> (usize, usize, usize, u64) {
        let (waiting, lost) = self.answers.waiting_and_lost();
        (self.live.users.len(), self.live.sessions.len(), waiting, lost)
    }
}
