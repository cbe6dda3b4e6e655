//! The way in for events: callers hand over a batch and wait; a few threads take everything that
//! waits, append it to the log in one go, apply what is new to the live state and answer. So many
//! small requests share one fsync, and an answer means: durable, and counted in the next list.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use qhatu_schema::Event;
use qhatu_store::{EventLog, StoreError};
use tokio::sync::oneshot;

use super::Live;
use crate::error::ServeError;

/// Two threads: one applies while the other waits for the disk.
const THREADS: usize = 2;
const MOST_WAITING: usize = 1_024;
const MOST_AT_ONCE: usize = 8_192;

struct Batch {
    events: Vec<Event>,
    answer: oneshot::Sender<Result<Vec<bool>, Arc<StoreError>>>,
}

/// The queue in front of the log.
pub(crate) struct Ingest {
    queue: SyncSender<Batch>,
}

impl Ingest {
    /// Starts the threads; they end when this is dropped.
    pub(crate) fn start(log: Arc<dyn EventLog>, live: Arc<Live>) -> Result<Self, ServeError> {
        let (queue, batches) = sync_channel(MOST_WAITING);
        let batches = Arc::new(Mutex::new(batches));
        let name = "ingest";
        for number in 0..THREADS {
            let (log, live, batches) = (Arc::clone(&log), Arc::clone(&live), Arc::clone(&batches));
            std::thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || while take_and_append(&batches, &*log, &live) {})
                .map_err(|source| ServeError::Thread { name, source })?;
        }
        Ok(Self { queue })
    }

    /// Appends `events`; one truth value each: true = new, false = known before.
    pub(crate) async fn append(&self, events: Vec<Event>) -> Result<Vec<bool>, ServeError> {
        let (answer, result) = oneshot::channel();
        self.queue.try_send(Batch { events, answer }).map_err(|error| match error {
            TrySendError::Full(_) => ServeError::Busy { pool: "the event log" },
            TrySendError::Disconnected(_) => ServeError::Stopped,
        })?;
        let appended = result.await.map_err(|_| ServeError::Panicked { pool: "the event log" })?;
        appended.map_err(ServeError::Append)
    }
}

/// Takes what waits and appends it; false when nobody can send any more.
fn take_and_append(batches: &Mutex<Receiver<Batch>>, log: &dyn EventLog, live: &Live) -> bool {
    let mut taken = Vec::new();
    {
        let batches = batches.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(first) = batches.recv() else { return false };
        let mut count = first.events.len();
        taken.push(first);
        while count < MOST_AT_ONCE
            && let Ok(next) = batches.try_recv()
        {
            count += next.events.len();
            taken.push(next);
        }
    }
    append(taken, log, live);
    true
}

fn append(taken: Vec<Batch>, log: &dyn EventLog, live: &Live) {
    let mut all = Vec::with_capacity(taken.iter().map(|batch| batch.events.len()).sum());
    let mut callers = Vec::with_capacity(taken.len());
    for batch in taken {
        callers.push((batch.events.len(), batch.answer));
        all.extend(batch.events);
    }
    match log.append(&all) {
        Ok(new) => {
            live.apply_all(all.iter().zip(&new).filter(|(_, new)| **new).map(|(event, _)| event));
            let mut rest = new.as_slice();
            for (count, answer) in callers {
                let (own, others) = rest.split_at(count.min(rest.len()));
                rest = others;
                let _ = answer.send(Ok(own.to_vec()));
            }
        }
        Err(error) => {
            tracing::error!(%error, events = all.len(), "events could not be appended");
            let error = Arc::new(error);
            callers.into_iter().for_each(|(_, answer)| drop(answer.send(Err(Arc::clone(&error)))));
        }
    }
}
