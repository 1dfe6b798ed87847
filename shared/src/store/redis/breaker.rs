//! Whether Redis is treated as away: for one second after a failure, unless it answers another call meanwhile.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long one failure keeps the calls away (contract 9).
const REST: Duration = Duration::from_secs(1);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Closed to begin with.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Milliseconds since `START` until which it is open.
    until: AtomicU64,
    /// What was last said of Redis: 0 nothing, 1 up, 2 away.
    said: AtomicU8,
}

impl Breaker {
    pub fn is_open(&self) -> bool {
        (START.elapsed().as_millis() as u64) < self.until.load(Ordering::Relaxed)
    }

    pub fn open(&self) {
        let until = START.elapsed() + REST;
        self.until.store(until.as_millis() as u64, Ordering::Relaxed);
    }

    /// A call that was under way when it opened was answered after all.
    pub fn close(&self) {
        if self.until.load(Ordering::Relaxed) != 0 {
            self.until.store(0, Ordering::Relaxed);
        }
    }

    /// Whether this is news.
    pub fn changed(&self, up: bool) -> bool {
        let word = if up { 1 } else { 2 };
        // A load first: this is asked at every call, and changes once in a month.
        self.said.load(Ordering::Relaxed) != word && self.said.swap(word, Ordering::Relaxed) != word
    }
}
