//! What is live under an alias of the registry. A model is loaded while the old one goes on answering, by a thread that no
//! other request waits for; putting the new one in its place is one pointer. Requests that hold the old one finish with it.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::ServeError;

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

/// A model that can be live.
pub(super) trait Versioned {
    /// Its version as `name@number`.
    fn version(&self) -> &str;
}

/// A version that could not be loaded, and why.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    pub(super) version: String,
    pub(super) fault: Arc<ServeError>,
}

/// The live model of an alias, and the version that could not be loaded last, so that following the
/// registry does not try it again every second.
pub(super) struct Slot<T> {
    live: RwLock<Option<Arc<T>>>,
    broken: Mutex<Option<Broken>>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { live: RwLock::default(), broken: Mutex::default() }
    }
}

impl<T: Versioned> Slot<T> {
    /// What is live.
    pub(super) fn get(&self) -> Option<Arc<T>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The version that could not be loaded last.
    pub(super) fn broken(&self) -> Option<Broken> {
        self.broken_now().clone()
    }

    fn broken_now(&self) -> MutexGuard<'_, Option<Broken>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks where the alias points and loads what is new, and, where it is told to, `again` what could not be loaded. One at
    /// a time: the caller sees to it.
    pub(super) fn reload(
        &self,
        (alias, again): (&str, bool),
        current: impl FnOnce() -> Result<Option<String>, ServeError>,
        load: impl FnOnce() -> Result<T, ServeError>,
    ) -> Reloaded {
        let live = self.get().map(|model| model.version().to_owned());
        let (version, fault) = match self.next((live.as_deref(), again), current, load) {
            Ok(None) => (live.clone(), None),
            Ok(Some(next)) => {
                let version = next.as_ref().map(|model| model.version().to_owned());
                tracing::info!(alias, version, "a model went live");
                *self.live.write().unwrap_or_else(PoisonError::into_inner) = next.map(Arc::new);
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
        (live, again): (Option<&str>, bool),
        current: impl FnOnce() -> Result<Option<String>, ServeError>,
        load: impl FnOnce() -> Result<T, ServeError>,
    ) -> Result<Option<Option<T>>, Arc<ServeError>> {
        let current = current()?;
        if current.as_deref() == live {
            return Ok(None);
        }
        let Some(version) = current else {
            *self.broken_now() = None;
            return Ok(Some(None));
        };
        if !again && self.broken_now().as_ref().is_some_and(|own| own.version == version) {
            return Ok(None);
        }
        match load() {
            Ok(model) => {
                *self.broken_now() = None;
                Ok(Some(Some(model)))
            }
            Err(fault) => {
                let fault = Arc::new(fault);
                *self.broken_now() = Some(Broken { version, fault: Arc::clone(&fault) });
                Err(fault)
            }
        }
    }
}

/// A thread that looks at the registry at intervals.
#[derive(Default)]
pub(super) struct Follower {
    running: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

impl Follower {
    /// Looks every `seconds` from now on; 0 never does.
    pub(super) fn start(
        &self,
        name: &'static str,
        seconds: u64,
        look: impl Fn() + Send + 'static,
    ) -> Result<(), ServeError> {
        if seconds == 0 {
            return Ok(());
        }
        let (stop, stopped) = channel::<()>();
        let every = Duration::from_secs(seconds);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    look();
                }
            })
            .map_err(|source| ServeError::Thread { name, source })?;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some((stop, thread));
        Ok(())
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = running {
            drop(stop);
            if thread.join().is_err() {
                tracing::error!("the thread that follows the registry had broken off");
            }
        }
    }
}
