//! What this worker ended last: its own memory, for when the store is away (invariant I9).

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use shared::store::UpdateKey;

/// As many as are remembered, some 5 MB.
const MOST: usize = 100_000;

/// The last updates that ended here.
#[derive(Default)]
pub struct Recent(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    known: HashSet<(u64, u64, u32)>,
    order: VecDeque<(u64, u64, u32)>,
}

impl Recent {
    pub fn contains(&self, key: &UpdateKey) -> bool {
        self.lock().known.contains(&id(key))
    }

    pub fn insert(&self, key: &UpdateKey) {
        let mut memory = self.lock();
        let id = id(key);
        if memory.known.insert(id) {
            memory.order.push_back(id);
        }
        if memory.order.len() > MOST
            && let Some(oldest) = memory.order.pop_front()
        {
            memory.known.remove(&oldest);
        }
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
    use super::*;

    fn key(update_id: u64) -> UpdateKey {
        UpdateKey { bot: 1, update_id, replay: 0, owner: 0 }
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let recent = Recent::default();
        (0..=MOST as u64).for_each(|id| recent.insert(&key(id)));
        assert!(!recent.contains(&key(0)) && recent.contains(&key(1)) && recent.contains(&key(MOST as u64)));
        assert!(!recent.contains(&UpdateKey { replay: 1, ..key(1) }), "a replay is a run of its own");
    }
}
