//! Whether the disk takes what is written.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A write that takes longer is taken for one that hangs.
const HANGS: Duration = Duration::from_secs(1);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

#[derive(Debug, Default)]
pub(super) struct Health {
    /// The last write failed by the disk.
    failed: AtomicBool,
    /// When the write that is under way began, ms since `START` and one more; 0 where there is none.
    begun: AtomicU64,
    /// How many failed by the disk so far.
    failures: AtomicU64,
}

impl Health {
    pub(super) fn begin(&self) {
        self.begun.store(now() + 1, Ordering::Relaxed);
    }

    pub(super) fn end(&self, failed: bool) {
        self.begun.store(0, Ordering::Relaxed);
        self.failed.store(failed, Ordering::Relaxed);
        self.failures.fetch_add(u64::from(failed), Ordering::Relaxed);
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn is_failing(&self) -> bool {
        let begun = self.begun.load(Ordering::Relaxed);
        let hangs = begun > 0 && now().saturating_sub(begun) > HANGS.as_millis() as u64;
        hangs || self.failed.load(Ordering::Relaxed)
    }
}

fn now() -> u64 {
    START.elapsed().as_millis() as u64
}
