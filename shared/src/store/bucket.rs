//! The rate limit's arithmetic: a token bucket whose clock is when the user acted (contract 3.3).
//!
//! Updates of one user can come out of the order in which the user acted: a callback that arrives at once
//! beside messages that waited at Telegram for an hour. So the bucket remembers its latest charges, and a
//! late-comer is judged as if it had come in its place: it passes if neither it nor a charge already
//! granted after it would have found the bucket empty.
//!
//! Pure. The Redis store does the same in Lua (`redis/begin.lua`); a test holds the two equal.

use serde::{Deserialize, Serialize};

/// Charges remembered for judging late-comers. One that acted before the oldest of them passes uncharged.
pub const HISTORY: usize = 32;

/// A user's bucket. Times are ms since the epoch; levels are in thousandths of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// The level right after the latest charge. It is kept, so that a charge in its order is judged by what was granted under the
    /// settings of its time: where the limit is made stricter, nobody is limited for what they did before.
    level: i64,
    /// The level right after `base_ms`, when the oldest forgotten charge was made.
    base_level: i64,
    base_ms: i64,
    /// The times of the charges since, ascending.
    charges: Vec<i64>,
}

const TOKEN: i64 = 1000;

impl Bucket {
    /// A bucket that nobody has drawn from.
    pub fn full(requests: u32) -> Self {
        let level = i64::from(requests) * TOKEN;
        Self { level, base_level: level, base_ms: 0, charges: Vec::new() }
    }

    /// Takes a token as of `acted_ms`, if there is one. `requests` is the bucket's size, `window_ms` the
    /// time in which it fills.
    pub fn charge(&mut self, acted_ms: i64, requests: u32, window_ms: u64) -> bool {
        if acted_ms < self.base_ms {
            return true;
        }
        let after = |level, passed_ms| refilled(level, passed_ms, requests, window_ms) - TOKEN;
        let latest = self.charges.last().copied().unwrap_or(self.base_ms);
        let at = self.charges.partition_point(|charge| *charge <= acted_ms);
        let level = if acted_ms < latest {
            self.with_late(at, acted_ms, after)
        } else {
            Some(after(self.level, acted_ms - latest)).filter(|level| *level >= 0)
        };
        let Some(level) = level else { return false };
        self.level = level;
        self.charges.insert(at, acted_ms);
        if self.charges.len() > HISTORY {
            let oldest = self.charges.remove(0);
            self.base_level = after(self.base_level, oldest - self.base_ms);
            self.base_ms = oldest;
        }
        true
    }

    /// The level after the latest charge if one of `acted_ms` were in its place; none if that or one behind it would
    /// have found the bucket empty.
    fn with_late(&self, at: usize, acted_ms: i64, after: impl Fn(i64, i64) -> i64) -> Option<i64> {
        let (before, behind) = self.charges.split_at(at);
        let step = |(level, then), charge: &i64| (after(level, charge - then), *charge);
        let mut reached = before.iter().fold((self.base_level, self.base_ms), step);
        for charge in std::iter::once(&acted_ms).chain(behind) {
            reached = step(reached, charge);
            if reached.0 < 0 {
                return None;
            }
        }
        Some(reached.0)
    }
}

/// `level` after `passed_ms` more, at `requests` tokens per window, never over the bucket's size.
fn refilled(level: i64, passed_ms: i64, requests: u32, window_ms: u64) -> i64 {
    let size = i64::from(requests) * TOKEN;
    let window = window_ms.max(1) as i64;
    // More than a window refills it whole, and keeps the product below far from overflow.
    if passed_ms >= window { size } else { size.min(level + passed_ms * size / window) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charges(requests: u32, window_ms: u64, times: &[i64]) -> Vec<bool> {
        let mut bucket = Bucket::full(requests);
        times.iter().map(|time| bucket.charge(*time, requests, window_ms)).collect()
    }

    #[test]
    fn one_a_second_means_the_second_one_in_a_second_is_too_fast() {
        assert_eq!(charges(1, 1000, &[5000, 5000, 5999, 6000, 7000]), [true, false, false, true, true]);
    }

    #[test]
    fn a_full_bucket_takes_a_burst_and_refills_evenly() {
        assert_eq!(
            charges(3, 3000, &[9000, 9000, 9000, 9000, 9900, 10_000]),
            [true, true, true, false, false, true]
        );
    }

    #[test]
    fn a_backlog_is_judged_by_when_its_user_acted() {
        let honest: Vec<i64> = (0..500).map(|n| 1_000_000 + n * 1000).collect();
        assert!(charges(1, 1000, &honest).iter().all(|passed| *passed));
    }

    #[test]
    fn a_late_comer_is_judged_in_its_place() {
        assert_eq!(
            charges(1, 1000, &[100_000, 90_000, 91_000, 91_500, 99_500]),
            [true, true, true, false, false]
        );
    }

    #[test]
    fn a_stricter_limit_does_not_judge_what_was_granted_before_it() {
        let mut bucket = Bucket::full(20);
        assert!((0..20).all(|_| bucket.charge(1_000_000, 20, 60_000)));
        assert!(!bucket.charge(1_000_999, 1, 1000));
        assert!(bucket.charge(1_001_000, 1, 1000));
        assert!(!bucket.charge(1_001_001, 1, 1000));
    }

    #[test]
    fn what_acted_before_all_that_is_remembered_passes() {
        let mut bucket = Bucket::full(1);
        (0..100).for_each(|n| assert!(bucket.charge(1_000_000 + n * 1000, 1, 1000)));
        assert!(bucket.charge(5, 1, 1000));
        assert_eq!(bucket.charges.len(), HISTORY);
    }
}
