//! How many replies were sent lately, by this worker and by all: what they take of the budget for bulk.

use std::sync::atomic::{AtomicU64, Ordering};

/// One worker's count, and what is known of all.
#[derive(Debug, Default)]
pub struct Replies {
    /// Sent and not told yet.
    own: AtomicU64,
    /// Of all workers in about a second.
    fleet: AtomicU64,
}

impl Replies {
    pub fn sent(&self, messages: u32) {
        self.own.fetch_add(messages.into(), Ordering::Relaxed);
    }

    /// What is to be told now.
    pub fn take(&self) -> u64 {
        self.own.swap(0, Ordering::Relaxed)
    }

    pub fn known(&self, fleet: u64) {
        self.fleet.store(fleet, Ordering::Relaxed);
    }

    /// In about the last second; the newest of them are known a quarter of a second later.
    pub fn of_all(&self) -> u64 {
        self.fleet.load(Ordering::Relaxed) + self.own.load(Ordering::Relaxed)
    }
}

/// This worker's own, beat by beat, for where nobody tells of the others.
#[derive(Debug, Default)]
pub struct Alone([u64; 4]);

impl Alone {
    /// The sum of the last beats, with one more.
    pub fn beat(&mut self, replies: u64) -> u64 {
        self.0.rotate_left(1);
        self.0[3] = replies;
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_told_once_and_counts_until_then() {
        let replies = Replies::default();
        replies.known(5);
        replies.sent(2);
        assert_eq!((replies.of_all(), replies.take(), replies.take(), replies.of_all()), (7, 2, 0, 5));
    }

    #[test]
    fn alone_a_beat_counts_for_a_second() {
        let mut alone = Alone::default();
        assert_eq!([8, 1, 0, 0, 0, 0].map(|replies| alone.beat(replies)), [8, 9, 9, 9, 1, 0]);
    }
}
