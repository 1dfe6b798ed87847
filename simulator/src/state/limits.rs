//! Telegram's own flood limits (facts T14), for a simulator that is told to hold them. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Chats whose bucket is remembered; above it, those that are full again are forgotten.
const CHATS: usize = 10_000;

#[derive(Default)]
pub(crate) struct Limits {
    buckets: HashMap<i64, Bucket>,
    /// How many chats may be known before the next look for buckets that are full again.
    room: usize,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

/// A private chat: one a second, short bursts pass. A group: 20 a minute.
fn rate_and_burst(chat_id: i64) -> (f64, f64) {
    if chat_id > 0 { (1.0, 3.0) } else { (20.0 / 60.0, 20.0) }
}

impl Limits {
    /// One message to this chat, or one edit in it; an error says after how many seconds to try again.
    pub fn charge(&mut self, chat_id: i64, now: Instant) -> Result<(), u64> {
        if self.buckets.len() >= self.room.max(CHATS) {
            let full_again = Duration::from_secs(60);
            self.buckets.retain(|_, bucket| now.duration_since(bucket.at) < full_again);
            // Twice as many as are in use, so that the looks cost each message next to nothing.
            self.room = 2 * self.buckets.len();
        }
        let (rate, burst) = rate_and_burst(chat_id);
        let bucket = self.buckets.entry(chat_id).or_insert(Bucket { tokens: burst, at: now });
        bucket.tokens = burst.min(bucket.tokens + now.duration_since(bucket.at).as_secs_f64() * rate);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            let seconds = ((1.0 - bucket.tokens) / rate).ceil();
            return Err(seconds.max(1.0) as u64);
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_chat_gets_one_a_second_after_a_burst() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        assert!((0..3).all(|_| limits.charge(7, start).is_ok()));
        assert_eq!(limits.charge(7, start), Err(1));
        assert!(limits.charge(8, start).is_ok());
        assert!(limits.charge(7, start + Duration::from_secs(1)).is_ok());
    }
}
