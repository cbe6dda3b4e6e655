//! Group commit, the same for every engine: one thread writes all that waits at once and answers each.

use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::engine::Engine;

/// Events that are written together at most; as in `qhatu-store`.
const GROUP_EVENTS_MAX: usize = 20_000;

/// An event as an engine is given it.
#[derive(Clone)]
pub struct Entry {
    pub id: String,
    pub body: Vec<u8>,
}

struct Request {
    events: Vec<Entry>,
    answer: Sender<Result<Vec<bool>, String>>,
}

/// A log with one writing thread.
pub struct Log {
    requests: Option<Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

impl Log {
    pub fn start(engine: Box<dyn Engine>) -> Self {
        let (requests, received) = bounded(1024);
        let writer = std::thread::spawn(move || write_groups(engine, &received));
        Self { requests: Some(requests), writer: Some(writer) }
    }

    /// Durable on return; for each event whether it is new.
    pub fn append(&self, events: Vec<Entry>) -> Result<Vec<bool>, String> {
        let (answer, answered) = bounded(1);
        let requests = self.requests.as_ref().ok_or("closed")?;
        requests.send(Request { events, answer }).map_err(|_| "the writer is gone")?;
        answered.recv().map_err(|_| "the writer is gone")?
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

fn write_groups(mut engine: Box<dyn Engine>, requests: &Receiver<Request>) {
    while let Ok(first) = requests.recv() {
        let mut group = vec![first];
        let mut size = group[0].events.len();
        while size < GROUP_EVENTS_MAX
            && let Ok(next) = requests.try_recv()
        {
            size += next.events.len();
            group.push(next);
        }
        let events: Vec<&Entry> = group.iter().flat_map(|request| &request.events).collect();
        let written = engine.append(&events);
        let mut place = 0;
        for request in &group {
            let own = place..place + request.events.len();
            place = own.end;
            drop(request.answer.send(written.clone().map(|new| new[own].to_vec())));
        }
    }
}
