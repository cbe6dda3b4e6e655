//! Work on parts of a stream by several threads, with the results in the order of the parts.
//!
//! Whoever is free draws the next part and, still holding the stream, puts the place of its result into a
//! bounded line; the caller takes results from that line. So order needs no sorting, and no more parts are
//! in memory than the line is long.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Draws parts with `next`, turns each into a result with `work` on `workers` threads, and gives the results
/// to `take` on this thread, in the order of the parts. One part alone is worked on here.
///
/// # Errors
/// The first of `take`; nothing is drawn after it.
pub(crate) fn in_order<T: Send, R: Send, E>(
    workers: usize,
    mut next: impl FnMut() -> Option<T> + Send,
    work: impl Fn(T) -> R + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let Some(first) = next() else { return Ok(()) };
    let Some(second) = next() else { return take(work(first)) };
    let mut drawn = [first, second].into_iter();
    let next = || drawn.next().or_else(&mut next);
    let (places, line) = sync_channel(2 * workers.max(1));
    let feed = Mutex::new(Feed { next, places: Some(places) });
    thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                while let Some((part, place)) = draw(&feed) {
                    // Who no longer waits needs no result.
                    drop(place.send(work(part)));
                }
            });
        }
        // The line is dropped with this loop, which ends workers that wait for a place in it. A result
        // that never comes is a worker that panicked; the scope hands the panic on.
        for result in line.into_iter().map_while(|place: Receiver<R>| place.recv().ok()) {
            take(result)?;
        }
        Ok(())
    })
}

struct Feed<N, R> {
    next: N,
    places: Option<SyncSender<Receiver<R>>>,
}

fn draw<T, R, N: FnMut() -> Option<T>>(feed: &Mutex<Feed<N, R>>) -> Option<(T, Sender<R>)> {
    let mut feed = feed.lock().unwrap_or_else(PoisonError::into_inner);
    let places = feed.places.clone()?;
    let Some(part) = (feed.next)() else {
        feed.places = None;
        return None;
    };
    let (place, result) = channel();
    if places.send(result).is_err() {
        feed.places = None;
        return None;
    }
    Some((part, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_parts() {
        let mut parts = 0..500_u64;
        let mut taken = Vec::new();
        let slow_now_and_then = |part: u64| {
            let turns = (0..(part % 7) * 10_000).map(std::hint::black_box).count();
            std::hint::black_box(turns);
            part * 2
        };
        let done: Result<(), ()> = in_order(
            3,
            || parts.next(),
            slow_now_and_then,
            |result| {
                taken.push(result);
                Ok(())
            },
        );
        assert_eq!(done, Ok(()));
        assert_eq!(taken, (0..500).map(|part| part * 2).collect::<Vec<_>>());
    }

    #[test]
    fn a_fault_stops_the_drawing() {
        let mut drawn = 0;
        let next = || {
            drawn += 1;
            Some(drawn)
        };
        let done =
            in_order(2, next, |part: u32| part, |result| if result < 5 { Ok(()) } else { Err(result) });
        assert_eq!(done, Err(5));
        assert!(drawn < 30, "{drawn} parts were drawn");
    }
}
