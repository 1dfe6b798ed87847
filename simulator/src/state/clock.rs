//! The simulator's one clock: expiry, retries, limits, punishments, waits and dates all go by it. It is the real
//! one, plus what `Control::advance` added; whoever waits on it is woken by a leap that ends the wait. A test may
//! stop it, and then nothing but leaps moves it.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

/// A leap beyond a hundred years serves nobody, and an `Instant` can't hold every number.
const MOST_AHEAD: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Clones share one clock.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<Shared>);

#[derive(Default)]
struct Shared {
    hands: Mutex<Hands>,
    moved: Notify,
}

#[derive(Default)]
struct Hands {
    ahead: Duration,
    stopped: Option<(Instant, SystemTime)>,
}

impl Clock {
    pub fn now(&self) -> Instant {
        let hands = self.hands();
        hands.stopped.map_or_else(Instant::now, |(now, _)| now) + hands.ahead
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        let hands = self.hands();
        let now = hands.stopped.map_or_else(SystemTime::now, |(_, now)| now);
        let elapsed = now.duration_since(UNIX_EPOCH).unwrap_or_default() + hands.ahead;
        i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
    }

    /// Telegram's dates: whole seconds since 1970.
    pub fn now_seconds(&self) -> i64 {
        self.now_ms() / 1000
    }

    /// Leaps ahead. There is no way back: what was told to wait has waited.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.hands();
        hands.ahead = hands.ahead.saturating_add(by).min(MOST_AHEAD);
        drop(hands);
        self.0.moved.notify_waiters();
    }

    /// Stops it where it is, or lets it go on; then it leaps to where it would be had it not stood still.
    pub fn stop(&self, stop: bool) {
        let mut hands = self.hands();
        hands.stopped = stop.then(|| hands.stopped.unwrap_or_else(|| (Instant::now(), SystemTime::now())));
        drop(hands);
        self.0.moved.notify_waiters();
    }

    pub async fn sleep_until(&self, at: Instant) {
        loop {
            // Asked before the look, so that a leap after it is noticed.
            let moved = self.0.moved.notified();
            let left = at.saturating_duration_since(self.now());
            if left.is_zero() {
                return;
            }
            let stopped = self.hands().stopped.is_some();
            tokio::select! { () = moved => (), () = tokio::time::sleep(left), if !stopped => () }
        }
    }

    /// None: the deadline came first.
    pub async fn until<T>(&self, deadline: Instant, done: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            value = pin!(done) => Some(value),
            () = self.sleep_until(deadline) => None,
        }
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_leap_ends_the_waits_that_it_reaches_and_no_others() {
        let clock = Clock::default();
        let (day, start) = (Duration::from_secs(86_400), clock.now());
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(start + day).await }
        });
        clock.advance(day / 2);
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        let before = clock.now_seconds();
        clock.advance(day / 2);
        sleeper.await.unwrap();
        assert!(clock.now() >= start + day && clock.now_seconds() - before >= 43_200);
    }

    #[test]
    fn a_clock_that_stands_still_is_moved_by_leaps_only() {
        let clock = Clock::default();
        clock.stop(true);
        let (now, now_ms) = (clock.now(), clock.now_ms());
        clock.advance(Duration::from_secs(5));
        assert_eq!((clock.now() - now, clock.now_ms() - now_ms), (Duration::from_secs(5), 5000));
        clock.stop(false);
        assert!(clock.now() >= now + Duration::from_secs(5));
    }
}
