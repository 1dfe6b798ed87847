//! What this worker ended last: its own memory, for when the store is away (invariant I9). For as long as the store
//! remembers it: after that Telegram may give the same number to another update (facts T8).

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use shared::store::{REMEMBER_SECONDS, UpdateKey};
use tokio::time::Instant;

/// As many as are remembered, some 5 MB.
const MOST: usize = 100_000;

/// The last updates that ended here.
#[derive(Default)]
pub struct Recent(Mutex<Memory>);

struct Memory {
    begun: Instant,
    known: HashSet<(u64, u64, u32)>,
    /// With when it was, in seconds since `begun`.
    order: VecDeque<(u64, u64, u32, u32)>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { begun: Instant::now(), known: HashSet::new(), order: VecDeque::new() }
    }
}

impl Memory {
    fn now(&self) -> u32 {
        u32::try_from(self.begun.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    /// Forgets what is too old, and too many.
    fn forget(&mut self) {
        let now = self.now();
        let is_old = |then: u32| u64::from(now.saturating_sub(then)) >= REMEMBER_SECONDS;
        while let Some(&(bot, update_id, replay, then)) = self.order.front()
            && (self.order.len() > MOST || is_old(then))
        {
            self.order.pop_front();
            self.known.remove(&(bot, update_id, replay));
        }
    }
}

impl Recent {
    pub fn contains(&self, key: &UpdateKey) -> bool {
        let mut memory = self.lock();
        memory.forget();
        memory.known.contains(&id(key))
    }

    pub fn insert(&self, key: &UpdateKey) {
        let mut memory = self.lock();
        let (id, now) = (id(key), memory.now());
        if memory.known.insert(id) {
            memory.order.push_back((id.0, id.1, id.2, now));
        }
        memory.forget();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn id(key: &UpdateKey) -> (u64, u64, u32) {
    (key.bot, key.update_id, key.replay)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(update_id: u64) -> UpdateKey {
        UpdateKey { bot: 1, update_id, replay: 0, owner: 0 }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_store_does_not_remember_is_forgotten() {
        let (recent, second) = (Recent::default(), Duration::from_secs(1));
        tokio::time::advance(second).await;
        recent.insert(&key(1));
        tokio::time::advance(second * (REMEMBER_SECONDS as u32 - 1)).await;
        recent.insert(&key(2));
        assert!(recent.contains(&key(1)));
        tokio::time::advance(second).await;
        assert!(!recent.contains(&key(1)) && recent.contains(&key(2)));
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let recent = Recent::default();
        (0..=MOST as u64).for_each(|id| recent.insert(&key(id)));
        assert!(!recent.contains(&key(0)) && recent.contains(&key(1)) && recent.contains(&key(MOST as u64)));
        assert!(!recent.contains(&UpdateKey { replay: 1, ..key(1) }), "a replay is a run of its own");
    }
}
