//! Threads that help with one piece of work after another, without going to sleep in between.
//!
//! A forward pass over few rows is a hundred products of some ten microseconds each. Waking a thread for each of them
//! takes as long as the product. So a helper is woken once, waits in a loop for what comes, and leaves when all is
//! done. Whoever leads never waits for a helper that has not begun: it takes all that nobody else took, so that a
//! pool with other work to do, or a helper that comes late, costs nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

/// Looks for work before a helper lets others run.
const LOOKS: u32 = 4_096;

type Work<'a> = &'a (dyn Fn(usize) + Sync);

/// A leader and its helpers.
#[derive(Debug)]
pub struct Team {
    threads: usize,
    /// Counts up when work begins (odd) and when it ends (even).
    turn: AtomicUsize,
    /// The work, while there is some.
    job: Mutex<Option<Job>>,
    /// The next part that nobody took.
    next: AtomicUsize,
    /// Helpers that are at work.
    inside: AtomicUsize,
    done: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct Job {
    work: *const (dyn Fn(usize) + Sync + 'static),
    parts: usize,
}

// SAFETY: what it points to may be called from any thread, and stays until no helper is inside (see `Team::each`).
unsafe impl Send for Job {}

/// Where values begin that threads share out.
#[derive(Clone, Copy)]
struct Start(*mut f32);

// SAFETY: who holds one writes to a piece of its own (see `Team::each_chunk`).
unsafe impl Send for Start {}
// SAFETY: as above.
unsafe impl Sync for Start {}

impl Start {
    fn at(self, place: usize) -> *mut f32 {
        self.0.wrapping_add(place)
    }
}

/// Sends the helpers home, also when the leader panics.
struct Dismissed<'a>(&'a Team);

impl Drop for Dismissed<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, SeqCst);
    }
}

/// Counts a helper out again, also when its work panics.
struct Inside<'a>(&'a Team);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, SeqCst);
    }
}

impl Team {
    /// The calling thread alone.
    pub fn alone() -> Self {
        Self::of(1)
    }

    fn of(threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            turn: AtomicUsize::new(0),
            job: Mutex::new(None),
            next: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            done: AtomicBool::new(false),
        }
    }

    /// `lead` with a team of so many threads of rayon's, the calling one among them.
    pub fn with<T: Send>(threads: usize, lead: impl FnOnce(&Team) -> T + Send) -> T {
        let team = Self::of(threads);
        if team.threads == 1 {
            return lead(&team);
        }
        rayon::scope(|scope| {
            let team = &team;
            (1..team.threads).for_each(|_| scope.spawn(move |_| team.help()));
            let _dismissed = Dismissed(team);
            lead(team)
        })
    }

    /// Threads of the team.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `work` once with each number below `parts`, on any thread; returns when all are done. Work must not call
    /// this itself.
    pub(crate) fn each(&self, parts: usize, work: Work) {
        if self.threads == 1 || parts <= 1 {
            return (0..parts).for_each(work);
        }
        // SAFETY: only the lifetime changes. A helper calls it while it is counted inside, after it saw that the work
        // is still on; below, the work ends, and then this waits until nobody is inside.
        let lasting = unsafe { std::mem::transmute::<Work<'_>, Work<'static>>(work) };
        *self.job.lock().unwrap_or_else(PoisonError::into_inner) = Some(Job { work: lasting, parts });
        self.next.store(0, SeqCst);
        self.turn.fetch_add(1, SeqCst);
        let ended = Ended(self);
        while let Some(part) = self.take(parts) {
            work(part);
        }
        drop(ended);
    }

    /// Calls `work` with each piece of `size` values, on any thread.
    pub(crate) fn each_chunk(&self, values: &mut [f32], size: usize, work: &(dyn Fn(&mut [f32]) + Sync)) {
        let (whole, start) = (values.len(), Start(values.as_mut_ptr()));
        let size = size.max(1);
        self.each(whole.div_ceil(size), &|part| {
            let from = part * size;
            let length = size.min(whole - from);
            // SAFETY: parts have pieces of their own of `values`, which is borrowed for as long as this runs.
            work(unsafe { std::slice::from_raw_parts_mut(start.at(from), length) });
        });
    }

    fn take(&self, parts: usize) -> Option<usize> {
        let part = self.next.fetch_add(1, SeqCst);
        (part < parts).then_some(part)
    }

    fn help(&self) {
        let (mut seen, mut looks) = (0, 0);
        while !self.done.load(SeqCst) {
            let turn = self.turn.load(SeqCst);
            if turn % 2 == 1 && turn != seen {
                (seen, looks) = (turn, 0);
                self.inside.fetch_add(1, SeqCst);
                let _inside = Inside(self);
                // Whoever leads waits for this thread from here on, unless the work ended before.
                if self.turn.load(SeqCst) == turn {
                    self.work();
                }
            } else if looks < LOOKS {
                looks += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }

    fn work(&self) {
        let job = *self.job.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(job) = job else { return };
        while let Some(part) = self.take(job.parts) {
            // SAFETY: the leader keeps it until this thread is not inside any more.
            unsafe { (*job.work)(part) };
        }
    }
}

/// Ends the work and waits for the helpers that are at it, also when the leader's share panics.
struct Ended<'a>(&'a Team);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.turn.fetch_add(1, SeqCst);
        while self.0.inside.load(SeqCst) > 0 {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_done_once_whatever_the_threads() {
        for threads in [1, 2, 5] {
            let counts: Vec<AtomicUsize> = (0..97).map(|_| AtomicUsize::new(0)).collect();
            Team::with(threads, |team| {
                for _ in 0..200 {
                    team.each(counts.len(), &|part| {
                        counts[part].fetch_add(1, SeqCst);
                    });
                }
                team.each(0, &|_| panic!("there is nothing to do"));
            });
            assert!(counts.iter().all(|count| count.load(SeqCst) == 200), "{threads} threads");
        }
    }

    #[test]
    fn teams_side_by_side_do_not_wait_for_each_other() {
        let sum = AtomicUsize::new(0);
        rayon::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|_| {
                    Team::with(3, |team| {
                        for _ in 0..50 {
                            team.each(10, &|part| {
                                sum.fetch_add(part, SeqCst);
                            });
                        }
                    });
                });
            }
        });
        assert_eq!(sum.load(SeqCst), 16 * 50 * 45);
    }

    #[test]
    fn a_panic_ends_the_team() {
        let found = std::panic::catch_unwind(|| {
            Team::with(2, |team| team.each(8, &|part| assert!(part < 3, "on purpose")));
        });
        assert!(found.is_err());
    }
}
