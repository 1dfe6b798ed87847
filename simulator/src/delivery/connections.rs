//! How many connections to the webhook are wanted, and when the next one may be opened: facts T7. Pure.

use std::time::{Duration, Instant};

/// A webhook that took nothing for so long gets one connection, now and then.
const ACTIVE_FOR: Duration = Duration::from_secs(10);
/// An active one: 10 new connections per 0.5 s; else 1 per 2 s.
const ACTIVE: Flood = Flood::new(10, Duration::from_millis(500));
const INACTIVE: Flood = Flood::new(1, Duration::from_secs(2));

pub(super) struct Connections {
    /// Off: as many as there are keys, at once.
    limited: bool,
    most: usize,
    active: Flood,
    inactive: Flood,
    last_success: Option<Instant>,
}

impl Connections {
    /// At most `most` at once, the webhook's `max_connections`.
    pub fn new(most: usize, limited: bool) -> Self {
        Self { limited, most, active: ACTIVE, inactive: INACTIVE, last_success: None }
    }

    pub fn succeeded(&mut self, now: Instant) {
        self.last_success = Some(now);
    }

    /// Whether another connection may be opened beside those that are open, for so many loaded keys.
    /// `Ok(false)`: it is not needed. `Err`: not before then.
    pub fn open(&mut self, open: usize, keys: usize, now: Instant) -> Result<bool, Instant> {
        let wanted = keys.min(self.most);
        if !self.limited {
            return Ok(open < wanted);
        }
        let is_active = self.last_success.is_some_and(|last| now <= last + ACTIVE_FOR);
        // An active webhook has a connection even while there is nothing to send.
        let wanted = if is_active { wanted.max(1) } else { wanted.min(1) };
        if open >= wanted {
            return Ok(false);
        }
        let flood = if is_active { &mut self.active } else { &mut self.inactive };
        flood.add(now).map(|()| true)
    }
}

/// A leaky bucket: `count` at once, and then `count` in each period.
#[derive(Clone, Copy)]
struct Flood {
    count: u32,
    each: Duration,
    /// When the bucket is empty again.
    empty_at: Option<Instant>,
}

impl Flood {
    const fn new(count: u32, period: Duration) -> Self {
        // `Duration`'s own division is no const fn.
        let each = Duration::from_nanos(period.as_nanos() as u64 / count as u64);
        Self { count, each, empty_at: None }
    }

    fn add(&mut self, now: Instant) -> Result<(), Instant> {
        let empty_at = self.empty_at.unwrap_or(now).max(now);
        // There is room for `count` drops: the last of them fits when all but one have leaked.
        let room_at = empty_at - (self.each * (self.count - 1)).min(empty_at - now);
        if room_at > now {
            return Err(room_at);
        }
        self.empty_at = Some(empty_at + self.each);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(connections: &mut Connections, open: usize, keys: usize, now: Instant) -> usize {
        (0..100).take_while(|more| connections.open(open + more, keys, now) == Ok(true)).count()
    }

    #[test]
    fn a_webhook_that_takes_nothing_gets_one_connection_and_a_new_one_every_two_seconds() {
        let (mut connections, start) = (Connections::new(40, true), Instant::now());
        assert_eq!(opened(&mut connections, 0, 80, start), 1);
        // It was lost; the next may come in two seconds.
        let next = start + Duration::from_secs(2);
        assert_eq!(connections.open(0, 80, start), Err(next));
        assert_eq!(opened(&mut connections, 0, 80, next), 1);
        assert_eq!(connections.open(1, 80, next), Ok(false));
    }

    #[test]
    fn an_active_webhook_gets_ten_connections_at_once_and_then_twenty_a_second() {
        let (mut connections, start) = (Connections::new(40, true), Instant::now());
        connections.succeeded(start);
        assert_eq!(opened(&mut connections, 1, 80, start), 10);
        let mut open = 11;
        for ms in (50..=1450).step_by(50) {
            let now = start + Duration::from_millis(ms);
            open += opened(&mut connections, open, 80, now);
        }
        assert_eq!(open, 40);
        // No more than there are keys, one if there are none.
        assert_eq!(connections.open(2, 2, start + Duration::from_secs(5)), Ok(false));
        assert_eq!(connections.open(0, 0, start + Duration::from_secs(5)), Ok(true));
        // Eleven seconds after the last success it is one again.
        assert_eq!(connections.open(1, 80, start + Duration::from_secs(11)), Ok(false));
    }

    #[test]
    fn without_the_limits_every_key_has_a_connection_at_once() {
        let (mut connections, start) = (Connections::new(40, false), Instant::now());
        assert_eq!(opened(&mut connections, 0, 80, start), 40);
        assert_eq!(connections.open(3, 3, start), Ok(false));
    }
}
