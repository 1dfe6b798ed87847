//! How old the oldest update in this worker's hand is, by when it was received: what users wait for at least.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// When each update in hand was received, in milliseconds since the epoch, and how many were at that time.
#[derive(Clone, Default)]
pub struct Ages(Arc<Mutex<BTreeMap<u64, u32>>>);

/// One update's place among them, until it is dropped.
pub struct Aged(Ages, u64);

impl Ages {
    pub fn add(&self, received_ms: u64) -> Aged {
        *self.lock().entry(received_ms).or_default() += 1;
        Aged(self.clone(), received_ms)
    }

    pub fn oldest_ms(&self) -> Option<u64> {
        self.lock().keys().next().copied()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Aged {
    fn drop(&mut self) {
        let mut all = self.0.lock();
        if let Some(many) = all.get_mut(&self.1) {
            *many -= 1;
            if *many == 0 {
                all.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_the_one_that_has_not_ended() {
        let ages = Ages::default();
        let (first, second, same) = (ages.add(10), ages.add(20), ages.add(10));
        drop(first);
        assert_eq!(ages.oldest_ms(), Some(10));
        drop(same);
        assert_eq!(ages.oldest_ms(), Some(20));
        drop(second);
        assert_eq!(ages.oldest_ms(), None);
    }
}
