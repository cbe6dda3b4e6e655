//! The server under load: durable ingest, and answers while events arrive.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::load::{self, Load, Outcome};
use super::server::Server;
use super::{Row, Spread, demo};
use crate::process;

pub(super) const ROUNDS: usize = 3;

/// Events a second acknowledged after fsync, in batches of 500 and of 1.
pub(crate) fn ingest(root: &Path) -> Result<Vec<Row>, String> {
    let project = fresh_project(root, "ingest")?;
    let server = Server::start(root, &project)?;
    let (mut batches, mut singles) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let outcome = closed(&server, batch_requests(round, 400, 500), 4, 400)?;
        batches.push(outcome.rate() * 500.0);
        let outcome = closed(&server, batch_requests(round + ROUNDS, 2000, 1), 64, 2000)?;
        singles.push(outcome.rate());
    }
    let (batches, singles) = (Spread::of(&batches), Spread::of(&singles));
    Ok(vec![
        Row {
            what: "events acknowledged after fsync, batches of 500, 4 connections".to_owned(),
            unit: "events/s".to_owned(),
            reached: Some(batches.median >= 50_000.0),
            ours: batches,
            peer: None,
            ratio: None,
            goal: "≥ 50,000".to_owned(),
        },
        Row {
            what: "the same one by one, 64 connections".to_owned(),
            unit: "events/s".to_owned(),
            ours: singles,
            peer: None,
            ratio: None,
            goal: "reported".to_owned(),
            reached: None,
        },
    ])
}

/// Latency of recommendations at a fixed rate on the demo's champion, events arriving meanwhile.
pub(crate) fn latency(root: &Path) -> Result<Vec<Row>, String> {
    let project = demo::project(root)?;
    let server = Server::start(root, &project)?;
    let users = demo::users();
    let requests: Arc<Vec<Vec<u8>>> = Arc::new(
        users.iter().map(|user| load::get(&format!("/v1/recommendations?user_id={user}&k=10"))).collect(),
    );
    at_rates(&server, &requests, "", &|round, rate| batch_requests(100 + round + rate as usize, 300, 1))
}

/// The longest a list may take at the 99th percentile, at 1,000 requests a second.
const GOAL_MS: f64 = 5.0;

/// How long lists take at two fixed rates while events arrive, which `events` makes for each round of a rate; `what` is
/// who answers.
pub(super) fn at_rates(
    server: &Server,
    requests: &Arc<Vec<Vec<u8>>>,
    what: &str,
    events: &dyn Fn(usize, f64) -> Vec<Vec<u8>>,
) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (rate, goal) in [(250.0, None), (1000.0, Some(GOAL_MS))] {
        let mut found = [const { Vec::new() }; 3];
        for round in 0..ROUNDS {
            let outcome = under_events(server, requests, Arc::new(events(round, rate)), rate)?;
            let shares = found.iter_mut().zip([0.5, 0.9, 0.99]);
            shares.for_each(|(found, share)| found.push(outcome.percentile(share)));
        }
        for (name, values) in ["p50", "p90", "p99"].into_iter().zip(found) {
            let ours = Spread::of(&values);
            let limit = goal.filter(|_| name == "p99");
            rows.push(Row {
                what: format!("{what}{name} at {rate:.0} requests/s, open loop, 20 events/s arriving"),
                unit: "ms".to_owned(),
                ours,
                peer: None,
                ratio: None,
                goal: limit.map_or("reported".to_owned(), |limit| format!("≤ {limit} ms")),
                reached: limit.map(|limit| ours.median <= limit),
            });
        }
    }
    Ok(rows)
}

/// The load of recommendations, with single events on connections of their own beside it.
fn under_events(
    server: &Server,
    requests: &Arc<Vec<Vec<u8>>>,
    events: Arc<Vec<Vec<u8>>>,
    rate: f64,
) -> Result<Outcome, String> {
    let duration = Duration::from_secs(15);
    let events = Load { address: server.address, requests: events, rate: 20.0, connections: 2, duration };
    let asked =
        Load { address: server.address, requests: Arc::clone(requests), rate, connections: 16, duration };
    let (answers, written) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| load::run(&events));
        (load::run(&asked), writer.join().unwrap_or_default())
    });
    match answers.failed + written.failed {
        0 => Ok(answers),
        failed => Err(format!("{failed} requests failed")),
    }
}

/// Sends each request once, the next as soon as one is answered.
fn closed(
    server: &Server,
    requests: Vec<Vec<u8>>,
    connections: usize,
    total: usize,
) -> Result<Outcome, String> {
    let load = Load {
        address: server.address,
        requests: Arc::new(requests),
        rate: 1e9,
        connections,
        duration: Duration::from_secs_f64(total as f64 / 1e9),
    };
    let outcome = load::run(&load);
    match outcome.failed {
        0 => Ok(outcome),
        failed => Err(format!("{failed} of {total} requests failed")),
    }
}

/// A number that no other run has: a project that is kept holds the events of earlier ones, which would be told from new
/// ones by their ids.
pub(super) fn run_number() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

/// Requests with new events: views by a thousand shoppers of a thousand items.
fn batch_requests(round: usize, requests: usize, size: usize) -> Vec<Vec<u8>> {
    let run = run_number();
    let event = |number: usize| {
        format!(
            r#"{{"event_id":"bench-{run}-{round}-{number}","time":"2026-01-01T12:00:00Z","kind":"view","user_id":"bench-{}","item_id":"{}"}}"#,
            number % 1000,
            number * 7 % 1000
        )
    };
    (0..requests)
        .map(|request| {
            let events: Vec<String> = (request * size..(request + 1) * size).map(event).collect();
            if size == 1 {
                load::post("/v1/events", &events[0])
            } else {
                load::post("/v1/events", &format!("[{}]", events.join(",")))
            }
        })
        .collect()
}

fn fresh_project(root: &Path, name: &str) -> Result<PathBuf, String> {
    let folder = root.join("target/bench").join(name);
    drop(std::fs::remove_dir_all(&folder));
    let qhatu = super::import::binary(root).to_string_lossy().into_owned();
    process::read(root, &qhatu, &["init", &folder.to_string_lossy()])?;
    Ok(folder)
}
