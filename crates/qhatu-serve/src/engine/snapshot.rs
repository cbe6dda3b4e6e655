//! A snapshot of the live state, so that a restart replays only the log's tail.
//!
//! It is made by replaying, not by copying: a thread of its own takes the last snapshot, applies the events
//! after it to a state of its own, and writes that. So the live state is never locked for it, and what is
//! written is exactly the fold over the log up to an offset, whatever order the server's threads worked in.
//! The price is memory for a second state while one is made; a snapshot is due every [`DUE_EVENTS`] events,
//! which a start replays in about the time it takes to load a model, and when the server drains.
//!
//! ```text
//! "qhatu live state" | layout: u32 | SHA-256 of the rest | head | state
//! ```
//!
//! The file is replaced in one step. One that is damaged, of another layout or version, made with other
//! features, or of another log is passed over with a warning, and everything is replayed.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use qhatu_features::{Declarations, State};
use qhatu_schema::{EventId, ItemId, SessionId, UserId};
use qhatu_store::{EventLog, StoreError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Live;
use super::order::Orders;
use super::popularity::Counts;
use super::shopper::Shopper;
use crate::error::ServeError;

const MAGIC: &[u8; 16] = b"qhatu live state";
/// Raised with every change of what stands in the file.
const LAYOUT: u32 = 1;
const START: usize = MAGIC.len() + 4 + 32;
/// New events after which a snapshot is due.
const DUE_EVENTS: u64 = 50_000;
/// How often it is looked whether one is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const REPLAYED_AT_ONCE: usize = 4_096;

/// Why a snapshot cannot be used. There is nothing to be done about any of these: the log has it all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("it is not a snapshot")]
    Foreign,
    #[error("its layout is {found}; this program writes layout {LAYOUT}")]
    Layout { found: u32 },
    #[error("it is damaged: {fault}")]
    Damaged { fault: String },
    #[error("it was made with other features or by another version")]
    OtherFeatures,
    #[error("it belongs to another log: it goes up to offset {offset}, event {event}")]
    OtherLog { offset: u64, event: EventId },
}

/// Up to where the log is in it, and what it was made with.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    fingerprint: [u8; 32],
    offset: u64,
    /// The event at that offset, by which the log is known again.
    event: EventId,
}

/// All but the catalogue, which the documents keep.
#[derive(Serialize, Deserialize)]
struct Saved {
    names: Vec<ItemId>,
    users: Vec<(UserId, Arc<Shopper>)>,
    sessions: Vec<(SessionId, Arc<Shopper>)>,
    popularity: Counts,
    orders: Orders,
    last_time: i64,
    features: Vec<u8>,
}

/// Where snapshots are kept and what they are made of.
#[derive(Clone)]
pub(crate) struct Snapshots {
    pub(crate) path: PathBuf,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) declarations: Arc<Declarations>,
    pub(crate) half_life_days: f64,
}

impl Snapshots {
    /// Puts the kept state into `live`, which must be empty; the offset up to which the log is in it, 0
    /// where there is no snapshot or none that can be used.
    pub(crate) fn restore(&self, live: &Live) -> Result<u64, ServeError> {
        let begun = Instant::now();
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the snapshot cannot be read: everything is replayed");
                return Ok(0);
            }
        };
        match self.open(&bytes)? {
            Ok((offset, saved, features)) => {
                fill(live, saved, features);
                let milliseconds = begun.elapsed().as_millis();
                tracing::info!(offset, bytes = bytes.len(), milliseconds, "went on from the snapshot");
                Ok(offset)
            }
            Err(fault) => {
                tracing::warn!(path = %self.path.display(), %fault, "the snapshot is not used: everything is replayed");
                Ok(0)
            }
        }
    }

    /// What a file holds, checked against the log and the features. The outer error is the log's.
    fn open(&self, bytes: &[u8]) -> Result<Result<(u64, Saved, State), Unusable>, StoreError> {
        let (head, body) = match parts(bytes) {
            Ok(parts) => parts,
            Err(fault) => return Ok(Err(fault)),
        };
        if head.fingerprint != self.fingerprint() {
            return Ok(Err(Unusable::OtherFeatures));
        }
        let there = self.log.read(head.offset, 1)?;
        if !matches!(there.first(), Some((offset, event)) if *offset == head.offset && event.event_id == head.event)
        {
            return Ok(Err(Unusable::OtherLog { offset: head.offset, event: head.event }));
        }
        let opened = postcard::from_bytes(body).map_err(damaged).and_then(|mut saved: Saved| {
            let features = std::mem::take(&mut saved.features);
            let features = State::restore(Arc::clone(&self.declarations), &features).map_err(damaged)?;
            Ok((head.offset, saved, features))
        });
        Ok(opened)
    }

    /// Writes `live` as the state of the log up to `offset`; in one step, so that a crash leaves the old
    /// file or the new one.
    pub(crate) fn write(&self, live: &Live, offset: u64) -> Result<(), ServeError> {
        let begun = Instant::now();
        let Some((_, last)) = self.log.read(offset, 1)?.pop() else { return Ok(()) };
        let head = Head { fingerprint: self.fingerprint(), offset, event: last.event_id };
        let failed = |fault: String| ServeError::Snapshot { path: self.path.clone(), fault };
        let saved = saved(live).map_err(failed)?;
        let rest = postcard::to_allocvec(&(head, saved)).map_err(|error| failed(error.to_string()))?;
        let bytes =
            [MAGIC, &LAYOUT.to_le_bytes()[..], Sha256::digest(&rest).as_slice(), rest.as_slice()].concat();
        qhatu_store::write_atomic(&self.path, &bytes)?;
        let milliseconds = begun.elapsed().as_millis();
        tracing::info!(offset, bytes = bytes.len(), milliseconds, "snapshot written");
        Ok(())
    }

    /// Makes the snapshot of the log as it stands, from the last one and the events after it. Half of the
    /// time it rests, so that requests have the processor, unless `hurry`.
    fn make(&self, hurry: bool) -> Result<u64, ServeError> {
        let live = Live::new(Arc::clone(&self.declarations), self.half_life_days);
        let before = self.restore(&live)?;
        let last = self.log.last_offset()?;
        let mut done = before;
        while done < last {
            let begun = Instant::now();
            let read = self.log.read(done + 1, REPLAYED_AT_ONCE)?;
            let Some((offset, _)) = read.last() else { break };
            done = *offset;
            live.apply_all(read.iter().map(|(_, event)| event));
            if !hurry {
                std::thread::sleep(begun.elapsed());
            }
        }
        if done > before {
            self.write(&live, done)?;
        }
        Ok(done)
    }

    /// What must be the same for a snapshot to be understood: the program, the features, the half-life.
    fn fingerprint(&self) -> [u8; 32] {
        let (version, features) = (env!("CARGO_PKG_VERSION"), &*self.declarations);
        Sha256::digest(format!("{version} {features:?} {:x}", self.half_life_days.to_bits())).into()
    }
}

/// Whether so many new events make a snapshot due.
pub(crate) fn is_due(new_events: u64) -> bool {
    new_events >= DUE_EVENTS
}

/// Head and body of a file that is whole and of this layout.
fn parts(bytes: &[u8]) -> Result<(Head, &[u8]), Unusable> {
    let (start, rest) = bytes.split_at_checked(START).ok_or(Unusable::Foreign)?;
    let (magic, start) = start.split_at(MAGIC.len());
    let (layout, digest) = start.split_at(4);
    if magic != MAGIC {
        return Err(Unusable::Foreign);
    }
    let layout = layout.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    if layout != LAYOUT {
        return Err(Unusable::Layout { found: layout });
    }
    if Sha256::digest(rest).as_slice() != digest {
        return Err(damaged("its checksum is another"));
    }
    postcard::take_from_bytes(rest).map_err(damaged)
}

fn damaged(fault: impl ToString) -> Unusable {
    Unusable::Damaged { fault: fault.to_string() }
}

fn saved(live: &Live) -> Result<Saved, String> {
    let features = live.features.read().unwrap_or_else(PoisonError::into_inner).snapshot();
    Ok(Saved {
        names: live.names.read().unwrap_or_else(PoisonError::into_inner).ids().to_vec(),
        users: live.users.all(),
        sessions: live.sessions.all(),
        popularity: live.popularity.counts(),
        orders: live.orders.read().unwrap_or_else(PoisonError::into_inner).clone(),
        last_time: live.last_time(),
        features: features.map_err(|error| error.to_string())?,
    })
}

fn fill(live: &Live, saved: Saved, features: State) {
    let mut names = live.names.write().unwrap_or_else(PoisonError::into_inner);
    for id in &saved.names {
        names.intern(id);
    }
    drop(names);
    saved.users.into_iter().for_each(|(id, shopper)| live.users.put(id, shopper));
    saved.sessions.into_iter().for_each(|(id, shopper)| live.sessions.put(id, shopper));
    live.popularity.go_on_from(saved.popularity);
    *live.orders.write().unwrap_or_else(PoisonError::into_inner) = saved.orders;
    *live.features.write().unwrap_or_else(PoisonError::into_inner) = features;
    live.last_time.store(saved.last_time, std::sync::atomic::Ordering::Relaxed);
}

/// The thread that makes snapshots; it ends with [`Keeper::stop`], or when this is dropped.
pub(crate) struct Keeper {
    stop: Sender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    /// Starts the thread; the log is kept up to `kept`.
    pub(crate) fn start(snapshots: Snapshots, kept: u64) -> Result<Self, ServeError> {
        let (stop, asked) = channel();
        let name = "snapshot";
        let look = move || {
            let mut kept = kept;
            loop {
                let stopping = match asked.recv_timeout(LOOK_EVERY) {
                    Ok(()) => true,
                    Err(RecvTimeoutError::Timeout) => false,
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                kept = snapshots.make_if_due(kept, stopping);
                if stopping {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(look)
            .map_err(|source| ServeError::Thread { name, source })?;
        Ok(Self { stop, thread: Mutex::new(Some(thread)) })
    }

    /// Makes a last snapshot where there are new events, and ends the thread.
    pub(crate) fn stop(&self) {
        // Where the thread has ended there is nobody to tell.
        let _ = self.stop.send(());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the maker of snapshots had broken off");
        }
    }
}

impl Snapshots {
    /// The offset up to which the log is kept after looking. A fault is logged and costs a longer replay.
    fn make_if_due(&self, kept: u64, stopping: bool) -> u64 {
        let made = self.log.last_offset().map_err(ServeError::from).and_then(|last| {
            let new = last.saturating_sub(kept);
            if is_due(new) || (stopping && new > 0) { self.make(stopping) } else { Ok(kept) }
        });
        made.unwrap_or_else(|error| {
            tracing::warn!(%error, "no snapshot could be made; a restart will replay more of the log");
            kept
        })
    }
}

/// The path within a folder.
pub(crate) fn file_in(folder: &Path) -> PathBuf {
    folder.join("live.snapshot")
}

#[cfg(test)]
mod tests {
    use super::*;
    use qhatu_schema::{Event, EventKind, Timestamp};
    use qhatu_store::MemoryLog;

    fn views(numbers: std::ops::Range<u64>) -> Vec<Event> {
        let view = |number: u64| {
            let id = EventId::new(format!("e{number}")).unwrap();
            let time = Timestamp::from_millis(1_700_000_000_000 + i64::try_from(number).unwrap() * 1_000);
            let mut event = Event::new(id, time, EventKind::View);
            event.user_id = Some(UserId::new(format!("u{}", number % 100)).unwrap());
            event.item_id = Some(ItemId::new(format!("i{}", number % 30)).unwrap());
            event
        };
        numbers.map(view).collect()
    }

    #[test]
    fn one_is_made_when_it_is_due_and_when_the_server_drains() {
        let folder = tempfile::TempDir::new().unwrap();
        let log = Arc::new(MemoryLog::default());
        let snapshots = Snapshots {
            path: file_in(folder.path()),
            log: Arc::<MemoryLog>::clone(&log),
            declarations: Arc::default(),
            half_life_days: 7.0,
        };
        let offset = || {
            let live = Live::new(Arc::default(), 7.0);
            snapshots.restore(&live).unwrap()
        };
        log.append(&views(0..DUE_EVENTS - 1)).unwrap();
        assert_eq!((snapshots.make_if_due(0, false), offset()), (0, 0));
        log.append(&views(DUE_EVENTS..DUE_EVENTS + 1)).unwrap();
        assert_eq!((snapshots.make_if_due(0, false), offset()), (DUE_EVENTS, DUE_EVENTS));
        log.append(&views(DUE_EVENTS + 1..DUE_EVENTS + 3)).unwrap();
        assert_eq!((snapshots.make_if_due(DUE_EVENTS, false), offset()), (DUE_EVENTS, DUE_EVENTS));
        assert_eq!((snapshots.make_if_due(DUE_EVENTS, true), offset()), (DUE_EVENTS + 2, DUE_EVENTS + 2));
    }

    #[test]
    fn another_layout_is_told_apart_from_damage() {
        let mut bytes = [MAGIC.as_slice(), &2_u32.to_le_bytes(), &[0; 32], b"rest"].concat();
        assert!(matches!(parts(&bytes), Err(Unusable::Layout { found: 2 })));
        bytes[MAGIC.len()] = 1;
        assert!(matches!(parts(&bytes), Err(Unusable::Damaged { .. })));
        bytes[0] = b'Q';
        assert!(matches!(parts(&bytes), Err(Unusable::Foreign)));
    }
}
