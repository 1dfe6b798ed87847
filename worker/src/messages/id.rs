//! The number of a message, which stands in the place of an update_id: above any that Telegram gives, and growing with
//! time, so that what comes back of a partition is sorted behind its updates and in the order in which it was taken.

use std::sync::Mutex;
use std::sync::PoisonError;

use shared::clock;

/// All below are Telegram's.
pub const FIRST: u64 = 1 << 62;

/// What tells two messages of one millisecond apart. 42 bits of milliseconds reach to the year 2109.
const BITS: u32 = 20;

/// Gives them out. Two of one process are never the same; two of two processes are so only in the same millisecond and by
/// chance, and then they are still two, unless they are for one chat.
#[derive(Default)]
pub struct Ids(Mutex<u64>);

impl Ids {
    pub fn next(&self) -> u64 {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = after(*last, clock::now_ms(), rand::random_range(0..1 << (BITS - 1)));
        *last
    }
}

/// The id of that millisecond and chance; where the last one is higher, the one behind it.
fn after(last: u64, now_ms: u64, chance: u64) -> u64 {
    let fresh = FIRST | ((now_ms << BITS | chance) & (FIRST - 1));
    fresh.max(last + 1)
}

/// When an id was given.
#[cfg(test)]
fn given_ms(id: u64) -> u64 {
    (id & (FIRST - 1)) >> BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_with_time_and_fit_63_bits() {
        let now = 1_790_000_000_000;
        let first = after(0, now, 5);
        assert!(first >= FIRST && i64::try_from(first).is_ok());
        assert_eq!(given_ms(first), now);
        assert!(
            after(first, now, 0) > first && after(first, now - 1000, 7) > first,
            "also if the clock goes back"
        );
        assert!(after(first, now + 1, 0) > after(first, now, (1 << (BITS - 1)) - 1));
        let far = after(0, 4_398_046_511_103, (1 << (BITS - 1)) - 1);
        assert!(i64::try_from(far).is_ok(), "the year 2109");
    }
}
