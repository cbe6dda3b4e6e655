//! An open-loop load generator for HTTP/1.1: requests leave on a fixed schedule whether or not the
//! server keeps up, and a latency counts from the moment a request *should* have left, so that a slow
//! answer cannot hide those waiting behind it ("coordinated omission").

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What is sent, how fast and for how long.
pub(crate) struct Load {
    /// The server.
    pub(crate) address: SocketAddr,
    /// Whole requests as bytes; taken in turn.
    pub(crate) requests: Arc<Vec<Vec<u8>>>,
    /// Requests a second; 0 sends the next as soon as the last is answered (closed loop).
    pub(crate) rate: f64,
    /// Kept-alive connections, a thread each.
    pub(crate) connections: usize,
    /// How long.
    pub(crate) duration: Duration,
}

/// What came back.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Milliseconds from the scheduled moment to the last byte, ascending.
    pub(crate) latencies_ms: Vec<f64>,
    /// The same with the second, from the start, for which each request was scheduled; in no order.
    pub(crate) timed: Vec<(f64, f64)>,
    /// Answers that were not 2xx, and requests that got none.
    pub(crate) failed: usize,
    /// Seconds from the first scheduled request to the last answer.
    pub(crate) seconds: f64,
}

impl Outcome {
    /// The latency below which `share` (0 to 1) of the requests stay, in milliseconds.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let last = self.latencies_ms.len().saturating_sub(1);
        let place = (share * self.latencies_ms.len() as f64).ceil() as usize;
        self.latencies_ms.get(place.saturating_sub(1).min(last)).copied().unwrap_or(f64::NAN)
    }

    /// The latencies of the requests that were due from one second to another.
    pub(crate) fn between(&self, from: f64, to: f64) -> Outcome {
        let timed: Vec<(f64, f64)> =
            self.timed.iter().copied().filter(|(due, _)| (from..to).contains(due)).collect();
        let mut latencies_ms: Vec<f64> = timed.iter().map(|(_, latency)| *latency).collect();
        latencies_ms.sort_by(f64::total_cmp);
        Outcome { latencies_ms, timed, failed: 0, seconds: to - from }
    }

    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies_ms.len() as f64 / self.seconds
    }
}

/// A POST with a JSON body, ready to send.
pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A GET, ready to send.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// Sends the load and waits for all answers.
pub(crate) fn run(load: &Load) -> Outcome {
    let total = if load.rate > 0.0 { (load.rate * load.duration.as_secs_f64()) as usize } else { usize::MAX };
    let next = AtomicUsize::new(0);
    let start = Instant::now() + Duration::from_millis(20);
    let parts: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..load.connections).map(|_| scope.spawn(|| connection(load, &next, total, start))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
    });
    let mut all = Outcome { seconds: start.elapsed().as_secs_f64(), ..Outcome::default() };
    for part in parts {
        all.timed.extend(part.timed);
        all.failed += part.failed;
    }
    all.latencies_ms = all.timed.iter().map(|(_, latency)| *latency).collect();
    all.latencies_ms.sort_by(f64::total_cmp);
    all
}

/// One connection: takes the next request that is due, sends it, waits for its answer.
fn connection(load: &Load, next: &AtomicUsize, total: usize, start: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    let mut wire = None;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= total || (load.rate <= 0.0 && start.elapsed() >= load.duration) {
            return outcome;
        }
        let due = if load.rate > 0.0 {
            let due = start + Duration::from_secs_f64(number as f64 / load.rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due
        } else {
            Instant::now()
        };
        match exchange(&mut wire, load, &load.requests[number % load.requests.len()]) {
            Some(200..=299) => outcome.timed.push((
                due.saturating_duration_since(start).as_secs_f64(),
                due.elapsed().as_secs_f64() * 1e3,
            )),
            Some(_) => outcome.failed += 1,
            None => {
                outcome.failed += 1;
                wire = None;
            }
        }
    }
}

/// Sends one request and reads its answer; the status, or `None` where the connection broke.
fn exchange(wire: &mut Option<BufReader<TcpStream>>, load: &Load, request: &[u8]) -> Option<u16> {
    if wire.is_none() {
        let stream = TcpStream::connect(load.address).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        *wire = Some(BufReader::new(stream));
    }
    let wire = wire.as_mut()?;
    wire.get_mut().write_all(request).ok()?;
    answer(wire).map(|(status, _)| status)
}

/// Reads an answer: its status and body.
pub(crate) fn answer(wire: &mut BufReader<TcpStream>) -> Option<(u16, Vec<u8>)> {
    let mut line = String::new();
    wire.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut length = 0usize;
    loop {
        line.clear();
        if wire.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    wire.read_exact(&mut body).ok()?;
    Some((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn percentiles_are_those_of_the_sorted_latencies() {
        let outcome = Outcome { latencies_ms: (1..=100).map(f64::from).collect(), ..Outcome::default() };
        let timed =
            Outcome { timed: vec![(0.5, 3.0), (1.5, 2.0), (1.9, 1.0), (2.0, 9.0)], ..Outcome::default() };
        assert_eq!(timed.between(1.0, 2.0).latencies_ms, [1.0, 2.0]);
        assert_eq!(outcome.percentile(0.5), 50.0);
        assert_eq!(outcome.percentile(0.99), 99.0);
        assert_eq!(outcome.percentile(1.0), 100.0);
        assert!(Outcome::default().percentile(0.5).is_nan());
    }

    /// A server that needs 20 ms for each answer cannot hide that at 100 requests a second over one
    /// connection: the later ones wait for the earlier ones, and that wait counts.
    #[test]
    fn waiting_behind_a_slow_answer_counts() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
                if line == "\r\n" {
                    std::thread::sleep(Duration::from_millis(20));
                    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
                }
                line.clear();
            }
        });
        let load = Load {
            address,
            requests: Arc::new(vec![get("/")]),
            rate: 100.0,
            connections: 1,
            duration: Duration::from_millis(300),
        };
        let outcome = run(&load);
        assert_eq!((outcome.latencies_ms.len(), outcome.failed), (30, 0));
        assert!(outcome.percentile(1.0) > 250.0, "{}", outcome.percentile(1.0));
    }
}
