//! Served answers, kept so that each can be fetched again by its id. A request only pushes its answer
//! into a buffer; one thread writes the buffer in batches, so storing costs the request nothing and a
//! slow disk slows nobody. Ids are ULIDs: the store's order by key is the order of time, which makes
//! forgetting old answers a walk from the front.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use qhatu_store::Documents;
use serde::Serialize;
use serde_json::Value;
use ulid::Ulid;

use super::recommend::Answer;
use crate::error::ServeError;

const KIND: &str = "recommendation";
/// Answers that wait at most for the writer; beyond this a broken store costs answers, not memory.
const MOST_WAITING: usize = 50_000;
const EVERY: Duration = Duration::from_millis(200);
/// How often answers that are too old are looked for, and how many go in one step: each step is one sync,
/// and the new ones are written between two steps, so that they do not wait long.
const FORGET_EVERY: Duration = Duration::from_secs(60);
const FORGOTTEN_AT_ONCE: usize = 1_000;

#[derive(Default)]
struct Buffer {
    waiting: HashMap<String, Arc<Answer>>,
    writing: Arc<HashMap<String, Arc<Answer>>>,
    stop: bool,
}

struct Shared {
    documents: Arc<dyn Documents>,
    keep_days: u32,
    buffer: Mutex<Buffer>,
    wake: Condvar,
    lost: AtomicU64,
}

/// The buffer and its writing thread.
pub(crate) struct AnswerLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl AnswerLog {
    /// Starts the writer. `keep_days` 0 keeps answers for good.
    pub(crate) fn start(documents: Arc<dyn Documents>, keep_days: u32) -> Result<Self, ServeError> {
        let shared = Arc::new(Shared {
            documents,
            keep_days,
            buffer: Mutex::default(),
            wake: Condvar::new(),
            lost: AtomicU64::new(0),
        });
        let name = "answer-log";
        let its = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || its.write_until_stopped())
            .map_err(|source| ServeError::Thread { name, source })?;
        Ok(Self { shared, writer: Mutex::new(Some(writer)) })
    }

    /// Keeps an answer.
    pub(crate) fn push(&self, answer: Arc<Answer>) {
        let mut buffer = self.shared.lock();
        if buffer.waiting.len() >= MOST_WAITING {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        buffer.waiting.insert(answer.recommendation_id.clone(), answer);
    }

    /// The answer of that id, from the buffer or the store.
    pub(crate) fn get(&self, id: &str) -> Result<Option<Value>, ServeError> {
        let buffered = {
            let buffer = self.shared.lock();
            buffer.waiting.get(id).or_else(|| buffer.writing.get(id)).cloned()
        };
        match buffered {
            Some(answer) => Ok(Some(as_json(&*answer))),
            None => Ok(self.shared.documents.get(KIND, id)?.map(|document| document.body)),
        }
    }

    /// Answers that wait for the writer, and those that were lost because too many waited.
    pub(crate) fn waiting_and_lost(&self) -> (usize, u64) {
        (self.shared.lock().waiting.len(), self.shared.lost.load(Ordering::Relaxed))
    }

    /// Writes what waits and ends the thread.
    pub(crate) fn stop(&self) {
        self.shared.lock().stop = true;
        self.shared.wake.notify_all();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the writer of served answers had broken off");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_until_stopped(&self) {
        let mut forgot = Instant::now();
        loop {
            let buffer = self.lock();
            let (mut buffer, _) = self
                .wake
                .wait_timeout_while(buffer, EVERY, |buffer| !buffer.stop)
                .unwrap_or_else(PoisonError::into_inner);
            let stop = buffer.stop;
            let batch = Arc::new(std::mem::take(&mut buffer.waiting));
            buffer.writing = Arc::clone(&batch);
            drop(buffer);
            self.write(&batch);
            if stop {
                return;
            }
            if forgot.elapsed() > FORGET_EVERY {
                match self.forget_old(SystemTime::now()) {
                    // As many as go in one step went: there may be more, and they go after the next writing.
                    Ok(FORGOTTEN_AT_ONCE) => {}
                    Ok(_) => forgot = Instant::now(),
                    Err(error) => {
                        forgot = Instant::now();
                        tracing::warn!(%error, "old answers could not be forgotten");
                    }
                }
            }
        }
    }

    fn write(&self, batch: &HashMap<String, Arc<Answer>>) {
        if batch.is_empty() {
            return;
        }
        let entries: Vec<(String, String)> =
            batch.iter().map(|(id, answer)| (id.clone(), as_text(&**answer))).collect();
        if let Err(error) = self.documents.put_texts(KIND, &entries) {
            tracing::error!(%error, answers = entries.len(), "served answers could not be stored; trying again");
            let mut buffer = self.lock();
            for (id, answer) in batch {
                if buffer.waiting.len() < MOST_WAITING {
                    buffer.waiting.insert(id.clone(), Arc::clone(answer));
                } else {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            return;
        }
        self.lock().writing = Arc::default();
    }

    /// Forgets the oldest answers that are too old at `now`, one step of them; how many.
    fn forget_old(&self, now: SystemTime) -> Result<usize, ServeError> {
        if self.keep_days == 0 {
            return Ok(0);
        }
        let age = Duration::from_secs(u64::from(self.keep_days) * 86_400);
        let Some(oldest) = now.checked_sub(age) else { return Ok(0) };
        let first_kept = Ulid::from_datetime(oldest).to_string();
        let listed = self.documents.list(KIND, None, FORGOTTEN_AT_ONCE)?;
        let old: Vec<String> =
            listed.into_iter().map(|document| document.key).take_while(|key| *key < first_kept).collect();
        if old.is_empty() {
            return Ok(0);
        }
        Ok(self.documents.delete_many(KIND, &old)?)
    }
}

fn as_text(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).expect("texts, numbers and lists with text keys are always JSON")
}

fn as_json(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).expect("texts, numbers and lists with text keys are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use qhatu_store::MemoryDocuments;

    #[test]
    fn answers_that_are_too_old_go_step_by_step_and_the_others_stay() {
        let documents = Arc::new(MemoryDocuments::default());
        let day = |number: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(number * 86_400);
        let id = |time: SystemTime, number: u64| {
            Ulid::from_parts(Ulid::from_datetime(time).timestamp_ms(), u128::from(number)).to_string()
        };
        let old = (0..2_500).map(|number| (id(day(100), number), Value::Null));
        let young = (0..10).map(|number| (id(day(195), number), Value::Null));
        documents.put_many(KIND, &old.chain(young).collect::<Vec<_>>()).unwrap();
        let shared = Shared {
            documents: Arc::<MemoryDocuments>::clone(&documents),
            keep_days: 90,
            buffer: Mutex::default(),
            wake: Condvar::new(),
            lost: AtomicU64::new(0),
        };
        let steps: Vec<usize> = (0..4).map(|_| shared.forget_old(day(200)).unwrap()).collect();
        assert_eq!(steps, [1_000, 1_000, 500, 0]);
        assert_eq!(documents.count(KIND).unwrap(), 10);
        // A clock that jumped back takes nothing more away.
        assert_eq!(shared.forget_old(day(1)).unwrap(), 0);
        assert_eq!(documents.count(KIND).unwrap(), 10);
    }
}
