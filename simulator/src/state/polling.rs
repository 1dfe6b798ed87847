//! Who waits in getUpdates, and what getUpdates remembers of the calls before: one waits at a time, whoever asks
//! the same too often waits longer, and a conflict is told at once only every three seconds.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// A call that asks the same as the one before, so soon after it, waits at least so long,
const SOON: Duration = Duration::from_secs(3);
/// and gets one update if it comes even sooner.
const TOO_SOON: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(crate) struct Polling {
    waiting: Option<oneshot::Sender<&'static str>>,
    previous: Option<(i64, Instant)>,
    next_conflict: Option<Instant>,
}

impl Polling {
    /// Notes a call; returns its limit and its time-out, changed where it comes too soon after one with this offset.
    pub fn begin(&mut self, offset: i64, limit: usize, timeout: Duration, now: Instant) -> (usize, Duration) {
        let same = self.previous.replace((offset, now)).filter(|(previous, _)| *previous == offset);
        let since = same.map(|(_, at)| now.saturating_duration_since(at));
        let within = |span: Duration| since.is_some_and(|since| since < span);
        let limit = if within(TOO_SOON) { 1 } else { limit };
        (limit, if within(SOON) { timeout.max(SOON) } else { timeout })
    }

    /// Waits in place of whoever waited until now; the receiver is told why it must go.
    pub fn wait(&mut self) -> oneshot::Receiver<&'static str> {
        self.end("terminated by other getUpdates request; make sure that only one bot instance is running");
        let (teller, told) = oneshot::channel();
        self.waiting = Some(teller);
        told
    }

    pub fn end(&mut self, why: &'static str) {
        if let Some(teller) = self.waiting.take() {
            // An error says that it does not wait any more.
            teller.send(why).ok();
        }
    }

    /// When a conflict that is found now may be told.
    pub fn conflict(&mut self, now: Instant) -> Instant {
        if self.next_conflict.is_some_and(|next| now < next) {
            return now + SOON;
        }
        self.next_conflict = Some(now + SOON);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_the_same_too_often_waits_and_gets_little() {
        let (mut polling, start) = (Polling::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let none = Duration::ZERO;
        assert_eq!(polling.begin(0, 100, none, at(0)), (100, none));
        assert_eq!(polling.begin(0, 100, none, at(400)), (1, SOON));
        assert_eq!(polling.begin(0, 100, none, at(1000)), (100, SOON));
        assert_eq!(polling.begin(5, 100, none, at(1001)), (100, none));
        assert_eq!(polling.begin(5, 100, none, at(4001)), (100, none));
        assert_eq!(polling.begin(5, 100, Duration::from_secs(50), at(4101)), (1, Duration::from_secs(50)));
    }

    #[test]
    fn a_conflict_is_told_at_once_only_every_three_seconds() {
        let (mut polling, start) = (Polling::default(), Instant::now());
        assert_eq!(polling.conflict(start), start);
        let soon = start + Duration::from_secs(1);
        assert_eq!(polling.conflict(soon), soon + SOON);
        let later = start + SOON;
        assert_eq!(polling.conflict(later), later);
    }
}
