//! A service's circuit breaker: opens when too many of its latest calls failed, and lets one through after
//! a rest (contract 9). Pure: the time is the caller's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Fewer calls than this in the window decide nothing.
    pub calls: u32,
    /// It opens when this share of them failed, in percent.
    pub percent: u32,
    pub window: Duration,
    /// After this one call is let through; its outcome closes or reopens it.
    pub rest: Duration,
}

#[derive(Debug)]
pub struct Breaker {
    limits: Limits,
    state: State,
    /// The window's calls in tenths of it: when the slot began, calls, failures.
    slots: VecDeque<(Instant, u32, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        since: Instant,
    },
    /// One call is under way to see.
    Trying {
        since: Instant,
    },
}

const SLOTS: u32 = 10;

impl Breaker {
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::Closed, slots: VecDeque::new() }
    }

    /// Whether a call may be made now. One that may must be told of with `ended`; a trial that never is
    /// (its caller was cancelled) is replaced after another rest.
    pub fn may_call(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { since } | State::Trying { since }
                if now.duration_since(since) < self.limits.rest =>
            {
                false
            }
            State::Open { .. } | State::Trying { .. } => {
                self.state = State::Trying { since: now };
                true
            }
        }
    }

    /// A call ended.
    pub fn ended(&mut self, now: Instant, failed: bool) {
        match self.state {
            State::Closed => {
                self.count(now, failed);
                if self.too_many_failed() {
                    self.state = State::Open { since: now };
                }
            }
            State::Trying { .. } if failed => self.state = State::Open { since: now },
            State::Trying { .. } => {
                self.slots.clear();
                self.state = State::Closed;
            }
            // A call that was under way when it opened changes nothing.
            State::Open { .. } => {}
        }
    }

    pub fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    fn count(&mut self, now: Instant, failed: bool) {
        let window = self.limits.window;
        while self.slots.front().is_some_and(|(began, ..)| now.duration_since(*began) >= window) {
            self.slots.pop_front();
        }
        match self.slots.back_mut() {
            Some((began, calls, failures)) if now.duration_since(*began) < window / SLOTS => {
                *calls += 1;
                *failures += u32::from(failed);
            }
            _ => self.slots.push_back((now, 1, u32::from(failed))),
        }
    }

    fn too_many_failed(&self) -> bool {
        let (calls, failures) =
            self.slots.iter().fold((0, 0), |(c, f), (_, calls, failed)| (c + calls, f + failed));
        calls >= self.limits.calls
            && u64::from(failures) * 100 >= u64::from(calls) * u64::from(self.limits.percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> (Breaker, Instant) {
        let limits = Limits { calls: 20, percent: 50, window: 10 * SECOND, rest: 5 * SECOND };
        (Breaker::new(limits), Instant::now())
    }

    #[test]
    fn it_opens_when_half_of_twenty_calls_failed() {
        let (mut breaker, now) = breaker();
        (0..10).for_each(|_| breaker.ended(now, false));
        (0..9).for_each(|_| breaker.ended(now, true));
        assert!(breaker.may_call(now));
        breaker.ended(now, true);
        assert!(!breaker.may_call(now));
    }

    #[test]
    fn failures_that_are_long_past_do_not_count() {
        let (mut breaker, now) = breaker();
        (0..19).for_each(|_| breaker.ended(now, true));
        breaker.ended(now + 11 * SECOND, true);
        assert!(breaker.may_call(now + 11 * SECOND));
    }

    #[test]
    fn after_a_rest_one_call_decides() {
        let (mut breaker, now) = breaker();
        (0..20).for_each(|_| breaker.ended(now, true));
        let later = now + 5 * SECOND;
        assert!(breaker.may_call(later) && !breaker.may_call(later));
        breaker.ended(later, true);
        assert!(!breaker.may_call(later + SECOND));
        let latest = later + 6 * SECOND;
        assert!(breaker.may_call(latest));
        breaker.ended(latest, false);
        assert!(breaker.may_call(latest) && !breaker.is_open());
    }

    #[test]
    fn a_trial_that_never_ends_is_replaced() {
        let (mut breaker, now) = breaker();
        (0..20).for_each(|_| breaker.ended(now, true));
        assert!(breaker.may_call(now + 5 * SECOND));
        assert!(breaker.may_call(now + 10 * SECOND));
    }
}
