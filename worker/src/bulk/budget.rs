//! How fast bulk goes: so many messages a second in all, less what replies took of them. Pure: whoever asks brings the
//! time and what is known of the replies.

use std::time::Duration;

use tokio::time::Instant;

/// However many replies there are, this part of the rate is left, so that bulk never stops.
const FLOOR: f64 = 0.1;

/// What was not used of the last moment may be caught up with: timers fire late, and the rate would suffer.
const CATCH_UP: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Budget {
    /// Messages a second; over 0.
    rate: f64,
    next: Instant,
}

impl Budget {
    pub fn new(rate: f64, now: Instant) -> Self {
        Self { rate, next: now }
    }

    /// When the next message may go.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// So many messages go now, beside that many replies in the last second.
    pub fn take(&mut self, messages: u32, replies: u64, now: Instant) {
        let since = self.next.max(now.checked_sub(CATCH_UP).unwrap_or(now));
        self.next = since + Duration::from_secs_f64(f64::from(messages) / allowed(self.rate, replies));
    }
}

/// Messages a second beside so many replies.
fn allowed(rate: f64, replies: u64) -> f64 {
    (rate - replies as f64).max(rate * FLOOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many messages go in that time, where replies come at that rate, by a timer that is late by so much.
    fn count(rate: f64, replies: u64, time: Duration, late: Duration) -> u32 {
        let begin = Instant::now();
        let (mut budget, mut now, mut count) = (Budget::new(rate, begin), begin, 0);
        while now < begin + time {
            budget.take(1, replies, now);
            count += 1;
            now = now.max(budget.next() + late);
        }
        count
    }

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn the_rate_is_kept_also_by_a_late_timer() {
        for late in [0, 1, 15] {
            assert!((298..=304).contains(&count(30.0, 0, TEN, Duration::from_millis(late))), "{late} ms");
        }
    }

    #[test]
    fn replies_go_first_and_leave_a_little() {
        assert!((98..=104).contains(&count(30.0, 20, TEN, Duration::ZERO)));
        assert!((29..=34).contains(&count(30.0, 30, TEN, Duration::ZERO)));
        assert!((29..=34).contains(&count(30.0, 5000, TEN, Duration::ZERO)));
    }

    #[test]
    fn a_pause_is_not_caught_up_with() {
        let begin = Instant::now();
        let mut budget = Budget::new(10.0, begin);
        let later = begin + Duration::from_secs(60);
        budget.take(1, 0, later);
        budget.take(1, 0, later);
        assert!(budget.next() > later, "{:?}", budget.next() - later);
    }

    #[test]
    fn who_sends_several_waits_for_several() {
        let begin = Instant::now();
        let mut budget = Budget::new(10.0, begin);
        budget.take(5, 0, begin);
        assert!(budget.next() >= begin + Duration::from_millis(400));
    }
}
