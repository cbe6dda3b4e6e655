//! What is measured. Each command prints one line of JSON.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::corpus;
use crate::engine::{self, Engine};
use crate::group::{Entry, Log};

/// Events per request while filling.
const BATCH: u64 = 500;
/// Ids that are looked up after recovery.
const LOOKED_UP: u64 = 100_000;

fn entries(numbers: impl Iterator<Item = u64>) -> Result<Vec<Entry>, String> {
    numbers.map(corpus::entry).collect()
}

/// Writers append batches of new events for some seconds; events acknowledged per second. Events are
/// made before the clock starts, so that the engine alone is measured.
pub fn throughput(engine: Box<dyn Engine>, batch: u64, writers: u64, seconds: u64) -> Result<(), String> {
    let made = if batch == 1 { 200_000 } else { 800_000 } / writers / batch;
    let batches: Vec<Vec<Vec<Entry>>> = (0..writers)
        .map(|writer| {
            let first = |number: u64| (writer * made + number) * batch;
            (0..made).map(|number| entries(first(number)..first(number) + batch)).collect()
        })
        .collect::<Result<_, String>>()?;
    let log = Log::start(engine);
    let (count, begun) = (AtomicU64::new(0), Instant::now());
    let until = begun + Duration::from_secs(seconds);
    let append = |own: Vec<Vec<Entry>>| -> Result<(), String> {
        for events in own {
            if Instant::now() > until {
                break;
            }
            let new = log.append(events)?;
            count.fetch_add(new.iter().filter(|new| **new).count() as u64, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let append = &append;
        let threads: Vec<_> = batches.into_iter().map(|own| scope.spawn(move || append(own))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a writer panicked")?)
    })?;
    let took = begun.elapsed().as_secs_f64();
    let events = count.into_inner();
    print(&json!({ "events": events, "seconds": took, "per_second": events as f64 / took }))
}

/// Writes batches of 500 from two threads; tells when `events` are in, and goes on until it is killed.
pub fn fill(engine: Box<dyn Engine>, events: u64) -> Result<(), String> {
    let log = Log::start(engine);
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let (begun, told) = (Instant::now(), std::sync::Once::new());
    let write = || -> Result<(), String> {
        loop {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            let new = log.append(entries(first..first + BATCH)?)?;
            let sum = done.fetch_add(new.len() as u64, Ordering::Relaxed) + new.len() as u64;
            if sum >= events + 2 * BATCH {
                // By now every batch below `events` is in, whichever thread had it.
                told.call_once(|| drop(print(&json!({ "seconds": begun.elapsed().as_secs_f64() }))));
            }
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(write);
        write()?;
        other.join().map_err(|_| "a writer panicked")?
    })
}

/// Opens what a killed `fill` left: seconds until it answers rightly to an id that it knows and to the
/// last offset; then everything is read and checked, and known ids are looked up in random order.
pub fn recover(name: &str, dir: &Path, events: u64) -> Result<(), String> {
    let begun = Instant::now();
    let mut engine = engine::open(name, dir)?;
    let last = engine.last_offset()?;
    let known = entries(std::iter::once(events / 2))?;
    let new = engine.append(&known.iter().collect::<Vec<_>>())?;
    let open_seconds = begun.elapsed().as_secs_f64();
    if new != [false] {
        return Err("an acknowledged id is not known after the kill".to_owned());
    }
    let begun = Instant::now();
    check(&*engine, last, events)?;
    let read_seconds = begun.elapsed().as_secs_f64();
    let lookups = look_up(&mut *engine, events)?;
    drop(engine);
    print(&json!({
        "open_seconds": open_seconds, "events": last, "read_per_second": last as f64 / read_seconds,
        "lookups_per_second": lookups, "bytes": bytes(dir)?, "memory_bytes": memory(),
    }))
}

/// Offsets without gaps, every id once, and every acknowledged event among them.
fn check(engine: &dyn Engine, last: u64, events: u64) -> Result<(), String> {
    let mut seen: HashSet<String> = HashSet::new();
    let mut next = 1;
    loop {
        let rows = engine.read(next, 10_000)?;
        if rows.is_empty() {
            break;
        }
        for (offset, body) in rows {
            let event: qhatu_schema::Event =
                serde_json::from_slice(&body).map_err(|error| format!("offset {offset}: {error}"))?;
            if offset != next || !seen.insert(event.event_id.as_str().to_owned()) {
                return Err(format!("offset {offset} stands at {next}, or its event is there twice"));
            }
            next += 1;
        }
    }
    let lost = (0..events).filter(|number| !seen.contains(&corpus::id(*number))).count();
    match (next - 1 == last, lost) {
        (true, 0) => Ok(()),
        _ => Err(format!("{lost} acknowledged events lost; {} read, the last offset is {last}", next - 1)),
    }
}

/// Ids per second that are found to be known, in requests of 500.
fn look_up(engine: &mut dyn Engine, events: u64) -> Result<f64, String> {
    // A step without a common divisor visits all in an order that no engine keeps.
    let known = entries((0..LOOKED_UP.min(events)).map(|number| number * 7_919 % events))?;
    let begun = Instant::now();
    for batch in known.chunks(BATCH as usize) {
        if engine.append(&batch.iter().collect::<Vec<_>>())?.contains(&true) {
            return Err("a known id was taken as new".to_owned());
        }
    }
    Ok(known.len() as f64 / begun.elapsed().as_secs_f64())
}

fn bytes(dir: &Path) -> Result<u64, String> {
    let text = |error: std::io::Error| format!("{}: {error}", dir.display());
    let mut sum = 0;
    for entry in std::fs::read_dir(dir).map_err(text)? {
        let entry = entry.map_err(text)?;
        let kept = entry.metadata().map_err(text)?;
        // Blocks, not lengths: some engines reserve more than they use, with holes.
        sum += if kept.is_dir() {
            bytes(&entry.path())?
        } else {
            std::os::unix::fs::MetadataExt::blocks(&kept) * 512
        };
    }
    Ok(sum)
}

/// The most memory this process has had, as Linux tells it.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

fn print(value: &Value) -> Result<(), String> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}").and_then(|()| out.flush()).map_err(|error| error.to_string())
}
