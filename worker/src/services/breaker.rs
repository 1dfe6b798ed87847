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
    /// Counts the changes of state, so that a call which began in another state decides nothing.
    era: u32,
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

/// The right to make one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    era: u32,
}

impl Breaker {
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::Closed, era: 0, slots: VecDeque::new() }
    }

    /// The right to make a call now. Who has it tells with `ended` how the call went; a trial that is never
    /// told of (its caller was cancelled) is replaced after another rest.
    pub fn may_call(&mut self, now: Instant) -> Option<Pass> {
        match self.state {
            State::Closed => {}
            State::Open { since } | State::Trying { since }
                if now.duration_since(since) < self.limits.rest =>
            {
                return None;
            }
            State::Open { .. } | State::Trying { .. } => self.become_(State::Trying { since: now }),
        }
        Some(Pass { era: self.era })
    }

    /// A call ended.
    pub fn ended(&mut self, now: Instant, pass: Pass, failed: bool) {
        if pass.era != self.era {
            return;
        }
        match self.state {
            State::Closed => {
                self.count(now, failed);
                if self.too_many_failed() {
                    self.become_(State::Open { since: now });
                }
            }
            State::Trying { .. } if failed => self.become_(State::Open { since: now }),
            State::Trying { .. } | State::Open { .. } => {
                self.slots.clear();
                self.become_(State::Closed);
            }
        }
    }

    fn become_(&mut self, state: State) {
        self.state = state;
        self.era += 1;
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

    /// Calls that begin and end at once.
    fn calls(breaker: &mut Breaker, now: Instant, times: u32, failed: bool) {
        for _ in 0..times {
            let pass = breaker.may_call(now).unwrap();
            breaker.ended(now, pass, failed);
        }
    }

    #[test]
    fn it_opens_when_half_of_twenty_calls_failed() {
        let (mut breaker, now) = breaker();
        calls(&mut breaker, now, 10, false);
        calls(&mut breaker, now, 9, true);
        assert!(!breaker.is_open());
        calls(&mut breaker, now, 1, true);
        assert_eq!(breaker.may_call(now), None);
    }

    #[test]
    fn failures_that_are_long_past_do_not_count() {
        let (mut breaker, now) = breaker();
        calls(&mut breaker, now, 19, true);
        calls(&mut breaker, now + 11 * SECOND, 1, true);
        assert!(!breaker.is_open());
    }

    #[test]
    fn after_a_rest_one_call_decides() {
        let (mut breaker, now) = breaker();
        calls(&mut breaker, now, 20, true);
        let later = now + 5 * SECOND;
        let trial = breaker.may_call(later).unwrap();
        assert_eq!(breaker.may_call(later), None);
        breaker.ended(later, trial, true);
        assert_eq!(breaker.may_call(later + SECOND), None);
        calls(&mut breaker, later + 6 * SECOND, 1, false);
        assert!(!breaker.is_open());
    }

    #[test]
    fn a_call_from_before_it_opened_decides_nothing() {
        let (mut breaker, now) = breaker();
        let early = breaker.may_call(now).unwrap();
        calls(&mut breaker, now, 20, true);
        let trial = breaker.may_call(now + 5 * SECOND).unwrap();
        breaker.ended(now + 5 * SECOND, early, true);
        breaker.ended(now + 5 * SECOND, trial, false);
        assert!(!breaker.is_open());
    }

    #[test]
    fn a_trial_that_never_ends_is_replaced() {
        let (mut breaker, now) = breaker();
        calls(&mut breaker, now, 20, true);
        assert!(breaker.may_call(now + 5 * SECOND).is_some());
        assert!(breaker.may_call(now + 10 * SECOND).is_some());
    }
}
