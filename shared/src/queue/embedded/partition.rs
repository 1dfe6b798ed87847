//! What is known in memory of one partition: who has it, how far it was written and handed out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

pub(super) struct Partition {
    held: AtomicBool,
    waiting: AtomicU64,
    /// The next update's sequence.
    next: AtomicU64,
    /// All below it are on disk, or were acked, or never came to be.
    published: watch::Sender<u64>,
    /// All below it may have been begun by someone.
    begun: AtomicU64,
}

impl Partition {
    /// With `waiting` updates from an earlier process, all below `next`; any of them may have been begun.
    pub(super) fn new(waiting: u64, next: u64) -> Self {
        Self {
            held: AtomicBool::new(false),
            waiting: AtomicU64::new(waiting),
            next: AtomicU64::new(next),
            published: watch::Sender::new(next),
            begun: AtomicU64::new(next),
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

    /// Never the same one twice: an ack that comes late must not hit another update.
    pub(super) fn take_sequence(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The update with this sequence is on disk: wakes the reader.
    pub(super) fn published(&self, sequence: u64) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.published.send_if_modified(|end| {
            let is_news = *end <= sequence;
            *end = sequence.saturating_add(1).max(*end);
            is_news
        });
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
