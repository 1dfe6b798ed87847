//! Whether Redis is treated as away: for one second after a failure, unless it answers another call meanwhile. The parts
//! of a cluster are away each for itself.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::keys;

/// How long one failure keeps the calls away (contract 9).
const REST: Duration = Duration::from_secs(1);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

const UP: u8 = 1;
const AWAY: u8 = 2;

/// A breaker for each part; all closed to begin with.
#[derive(Debug)]
pub(super) struct Breakers {
    parts: Box<[Breaker]>,
    /// What was last said of Redis: 0 nothing.
    said: AtomicU8,
}

#[derive(Debug, Default)]
struct Breaker {
    /// Milliseconds since `START` until which it is open; 0 where the last call was answered.
    until: AtomicU64,
}

impl Breakers {
    pub fn new(parts: usize) -> Self {
        Self { parts: (0..parts.max(1)).map(|_| Breaker::default()).collect(), said: AtomicU8::new(0) }
    }

    /// Which part a key lies in.
    pub fn part_of(&self, key: &str) -> usize {
        if self.parts.len() < 2 { 0 } else { keys::part_of(key) }
    }

    pub fn is_open(&self, part: usize) -> bool {
        self.parts.get(part).is_some_and(Breaker::is_open)
    }

    /// Whose last call failed.
    pub fn away(&self) -> Vec<usize> {
        (0..self.parts.len()).filter(|part| self.parts[*part].is_away()).collect()
    }

    /// A call failed. True where it is news that Redis is away, all of it or a part.
    pub fn failed(&self, part: usize) -> bool {
        if let Some(breaker) = self.parts.get(part) {
            breaker.open();
        }
        self.said.load(Ordering::Relaxed) != AWAY && self.said.swap(AWAY, Ordering::Relaxed) != AWAY
    }

    /// A call was answered, if late: one that was under way when the breaker opened closes it. True where it is news
    /// that Redis is up, every part of it.
    pub fn answered(&self, part: usize) -> bool {
        if let Some(breaker) = self.parts.get(part) {
            breaker.close();
        }
        // A load first: this is asked at every call, and changes once in a month.
        self.said.load(Ordering::Relaxed) != UP
            && !self.parts.iter().any(Breaker::is_away)
            && self.said.swap(UP, Ordering::Relaxed) != UP
    }
}

impl Breaker {
    fn is_open(&self) -> bool {
        (START.elapsed().as_millis() as u64) < self.until.load(Ordering::Relaxed)
    }

    fn is_away(&self) -> bool {
        self.until.load(Ordering::Relaxed) != 0
    }

    fn open(&self) {
        let until = START.elapsed() + REST;
        self.until.store(until.as_millis() as u64, Ordering::Relaxed);
    }

    fn close(&self) {
        if self.is_away() {
            self.until.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_cluster_that_is_away_takes_no_other_with_it() {
        let breakers = Breakers::new(keys::PARTS);
        assert!(breakers.answered(3), "up, for the first time");
        assert!(breakers.failed(3) && !breakers.failed(4), "said once");
        assert!(breakers.is_open(3) && breakers.is_open(4) && !breakers.is_open(5));
        assert!(!breakers.answered(5) && !breakers.answered(4), "not while one is away");
        assert_eq!(breakers.away(), [3]);
        assert!(breakers.answered(3) && !breakers.answered(3), "said once");
    }
}
