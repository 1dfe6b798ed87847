//! What is known in memory of one partition: who has it, how far it was written and handed out, and where its latest
//! updates lie.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// What a file has of a partition when it is opened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub waiting: u64,
    /// The sequence of the first.
    pub first: u64,
    /// Behind the sequence of the last.
    pub end: u64,
}

pub(super) struct Partition {
    held: AtomicBool,
    waiting: AtomicU64,
    /// No update has a lower sequence.
    first: u64,
    recent: Mutex<Recent>,
    /// All below it are on disk, or were acked, or never came to be.
    published: watch::Sender<u64>,
    /// All below it may have been begun by someone.
    begun: AtomicU64,
}

/// The sequences of the latest updates, so that a reader that has kept up need not look for them among all others.
struct Recent {
    /// In ascending order. Whatever is on disk from `from` on is among them; some may be acked.
    sequences: VecDeque<u64>,
    from: u64,
    /// Behind the last.
    end: u64,
    /// The most that are kept.
    most: usize,
    /// How many writes had failed by then.
    failures: u64,
}

/// Where a reader finds what comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// Just there; behind them it goes on at `then`.
    At { sequences: Vec<u64>, then: u64 },
    /// Somewhere below `until`.
    Below { until: u64 },
}

impl Partition {
    /// With what an earlier process left, any of which may have been begun. Keeps the sequences of the latest `most`.
    pub(super) fn new(found: Found, most: usize) -> Self {
        let Found { waiting, first, end } = found;
        let recent = Recent { sequences: VecDeque::new(), from: end, end, most, failures: 0 };
        Self {
            held: AtomicBool::new(false),
            waiting: AtomicU64::new(waiting),
            first,
            recent: Mutex::new(recent),
            published: watch::Sender::new(end),
            begun: AtomicU64::new(end),
        }
    }

    /// True for the first to ask since it was free.
    pub(super) fn take(&self) -> bool {
        !self.held.swap(true, Ordering::AcqRel)
    }

    pub(super) fn free(&self) {
        self.held.store(false, Ordering::Release);
    }

    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The update with this sequence is on disk: wakes the reader. `failures` is how many writes have failed so far: what
    /// such a one was to write may be there, with a sequence between that of the one before and this.
    pub(super) fn published(&self, sequence: u64, failures: u64) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.recent().add(sequence, failures);
        self.published.send_if_modified(|end| {
            let is_news = *end <= sequence;
            *end = sequence.saturating_add(1).max(*end);
            is_news
        });
    }

    /// Where those are that have no lower sequence than `next`: of the ones that are known `limit` at the most.
    pub(super) fn ahead(&self, next: u64, limit: usize) -> Ahead {
        self.recent().ahead(next, limit)
    }

    /// Nobody asks for lower ones any more, but for a later claim.
    pub(super) fn passed(&self, next: u64) {
        self.recent().forget(next);
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells how far is published.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    pub(super) fn acked(&self) {
        // Not below zero: a write whose commit failed may be on disk all the same, and was not counted.
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).ok();
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// The update with this sequence is about to be handed out.
    pub(super) fn begin(&self, sequence: u64) {
        self.begun.fetch_max(sequence.saturating_add(1), Ordering::AcqRel);
    }
}

impl Recent {
    fn add(&mut self, sequence: u64, failures: u64) {
        if self.failures != failures {
            self.failures = failures;
            self.forget(sequence);
        }
        self.sequences.push_back(sequence);
        if self.sequences.len() > self.most
            && let Some(oldest) = self.sequences.pop_front()
        {
            self.from = oldest.saturating_add(1);
        }
        self.end = sequence.saturating_add(1);
    }

    fn ahead(&self, next: u64, limit: usize) -> Ahead {
        if next < self.from {
            return Ahead::Below { until: self.from };
        }
        let mut later = self.sequences.iter().copied().skip_while(|sequence| *sequence < next);
        let sequences: Vec<u64> = later.by_ref().take(limit).collect();
        Ahead::At { sequences, then: later.next().unwrap_or(self.end) }
    }

    fn forget(&mut self, next: u64) {
        while self.sequences.front().is_some_and(|sequence| *sequence < next) {
            self.sequences.pop_front();
        }
        self.from = self.from.max(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequences: &[u64], then: u64) -> Ahead {
        Ahead::At { sequences: sequences.to_vec(), then }
    }

    #[test]
    fn who_keeps_up_is_told_where_the_next_ones_are() {
        let partition = Partition::new(Found { waiting: 2, first: 3, end: 8 }, 3);
        assert_eq!(partition.ahead(3, 9), Ahead::Below { until: 8 }, "what was left is looked for");
        assert_eq!(partition.ahead(8, 9), at(&[], 8));
        [10, 20, 30].into_iter().for_each(|sequence| partition.published(sequence, 0));
        assert_eq!(partition.ahead(8, 2), at(&[10, 20], 30));
        assert_eq!(partition.ahead(11, 9), at(&[20, 30], 31));
        partition.passed(21);
        assert_eq!(partition.ahead(21, 9), at(&[30], 31));
        assert_eq!(partition.ahead(3, 9), Ahead::Below { until: 21 }, "a later claim looks for all");
    }

    #[test]
    fn who_is_late_looks_for_what_is_not_known_any_more() {
        let partition = Partition::new(Found::default(), 2);
        [10, 20, 30].into_iter().for_each(|sequence| partition.published(sequence, 0));
        assert_eq!(partition.ahead(0, 9), Ahead::Below { until: 11 });
        assert_eq!(partition.ahead(11, 9), at(&[20, 30], 31));
    }

    #[test]
    fn what_a_failed_write_may_have_left_is_looked_for() {
        let partition = Partition::new(Found::default(), 9);
        partition.published(10, 0);
        partition.published(30, 1);
        assert_eq!(partition.ahead(0, 9), Ahead::Below { until: 30 });
        assert_eq!(partition.ahead(11, 9), Ahead::Below { until: 30 });
        assert_eq!(partition.ahead(30, 9), at(&[30], 31));
        partition.published(40, 1);
        assert_eq!(partition.ahead(30, 9), at(&[30, 40], 41));
    }
}
