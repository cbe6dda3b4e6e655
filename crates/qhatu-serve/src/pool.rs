//! A fixed number of threads with a bounded queue, for work that must not run on the threads that
//! carry the connections. A full queue refuses at once: under overload a caller gets an honest
//! "later" instead of a wait that grows without end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::error::ServeError;

type Job = Box<dyn FnOnce() + Send>;

/// The threads and their queue. The threads end when the pool is dropped.
pub(crate) struct Pool {
    name: &'static str,
    queue: SyncSender<Job>,
}

impl Pool {
    /// Starts `threads` threads behind a queue of at most `waiting` jobs.
    pub(crate) fn start(name: &'static str, threads: usize, waiting: usize) -> Result<Self, ServeError> {
        Self::with(name, threads, waiting, work)
    }

    /// Starts one thread that does by itself what its tasks would spread over all cores, so that those stay free for others.
    pub(crate) fn start_apart(name: &'static str, waiting: usize) -> Result<Self, ServeError> {
        Self::with(name, 1, waiting, work_apart)
    }

    fn with(
        name: &'static str,
        threads: usize,
        waiting: usize,
        work: fn(&Mutex<Receiver<Job>>),
    ) -> Result<Self, ServeError> {
        let (queue, jobs) = sync_channel::<Job>(waiting);
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads.max(1) {
            let jobs = Arc::clone(&jobs);
            thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || work(&jobs))
                .map_err(|source| ServeError::Thread { name, source })?;
        }
        Ok(Self { name, queue })
    }

    /// Runs `task` on one of the threads and waits for its result without blocking this one.
    ///
    /// # Errors
    /// [`ServeError::Busy`] when the queue is full, [`ServeError::Panicked`] when the task did not
    /// come to its end.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServeError> {
        self.run_wanted(|_| task()).await
    }

    /// The same for a task of many parts, which asks before each whether its result is wanted still.
    ///
    /// # Errors
    /// As [`Pool::run`].
    pub(crate) async fn run_wanted<T: Send + 'static>(
        &self,
        task: impl FnOnce(&dyn Fn() -> bool) -> T + Send + 'static,
    ) -> Result<T, ServeError> {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            // A caller who went away while waiting is not worked for.
            if !answer.is_closed() {
                let made = task(&|| !answer.is_closed());
                let _ = answer.send(made);
            }
        });
        self.queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => ServeError::Busy { pool: self.name },
            TrySendError::Disconnected(_) => ServeError::Stopped,
        })?;
        result.await.map_err(|_| ServeError::Panicked { pool: self.name })
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting: the next idle thread waits for the lock instead.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!(thread = thread::current().name(), "a task panicked; the thread goes on");
        }
    }
}

/// Parallel work of a thread goes to the pool that the thread belongs to: here to one that is this thread alone.
fn work_apart(jobs: &Mutex<Receiver<Job>>) {
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
    if let Err(error) = &alone {
        tracing::warn!(%error, "a thread cannot be kept apart: its tasks take all cores");
    }
    work(jobs);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn a_task_that_panics_is_an_error_and_the_thread_goes_on() {
        let pool = Pool::start("test", 1, 4).unwrap();
        block_on(async {
            let lost = pool.run(|| panic!("on purpose")).await;
            assert!(matches!(lost, Err(ServeError::Panicked { .. })));
            assert_eq!(pool.run(|| 7).await.unwrap(), 7);
        });
    }

    #[test]
    fn a_task_learns_that_nobody_waits_for_it() {
        let pool = Pool::start("test", 1, 4).unwrap();
        let (begun, running) = std::sync::mpsc::channel();
        block_on(async {
            let mut endless = Box::pin(pool.run_wanted(move |wanted| {
                begun.send(()).unwrap();
                while wanted() {
                    thread::yield_now();
                }
            }));
            assert!(futures_poll(&mut endless).await);
            running.recv().unwrap();
            drop(endless);
            pool.run(|| ()).await.unwrap();
        });
    }

    #[test]
    fn a_task_of_a_thread_apart_stays_on_it() {
        use rayon::prelude::*;
        let pool = Pool::start_apart("test", 4).unwrap();
        let on = || {
            let name = |_: i32| thread::current().name().unwrap_or_default().to_owned();
            let names: Vec<String> = (0..1000).into_par_iter().map(name).collect();
            (rayon::current_num_threads(), names.iter().all(|name| name == "test-0"))
        };
        block_on(async {
            assert_eq!(pool.run(on).await.unwrap(), (1, true));
            assert!(pool.run(|| panic!("on purpose")).await.is_err());
            assert_eq!(pool.run(on).await.unwrap(), (1, true));
        });
    }

    #[test]
    fn a_full_queue_refuses() {
        let pool = Pool::start("test", 1, 1).unwrap();
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let (begun, running) = std::sync::mpsc::channel::<()>();
        block_on(async {
            let mut first = Box::pin(pool.run(move || {
                begun.send(()).unwrap();
                gate.recv().unwrap();
            }));
            assert!(futures_poll(&mut first).await);
            running.recv().unwrap();
            let mut second = Box::pin(pool.run(|| ()));
            assert!(futures_poll(&mut second).await);
            assert!(matches!(pool.run(|| ()).await, Err(ServeError::Busy { .. })));
            go.send(()).unwrap();
            first.await.unwrap();
            second.await.unwrap();
        });
    }

    /// Polls once; true while the future still waits.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
        })
        .await
    }
}
