//! Whose an internal id is, kept for who writes to it later. A session lives shorter than people stay away, so this is
//! kept beside it and for longer; and renewed by what a user does, but seldom.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::store::{Address, Store};
use tokio::time::Instant;

/// How often one is written again; a small part of the time for which it is kept.
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// So many are known to have been written lately; then all are forgotten, and written once more.
const MOST: usize = 50_000;

#[derive(Default)]
pub struct Addresses(Mutex<HashMap<(i64, u64), Instant>>);

impl Addresses {
    /// Keeps an address: at once where it was given, else unless that was done lately. The gateway's own name for
    /// somebody needs no keeping. Without the store it is done the next time.
    pub async fn keep(&self, store: &Store, address: &Address<'_>) {
        if address.user_id.strip_prefix("user_").is_some_and(|id| id == address.user.to_string()) {
            return;
        }
        let known = (address.user, hash(address.user_id));
        if !self.is_due(known, Instant::now()) && !address.given {
            return;
        }
        if let Err(error) = store.keep_address(address).await {
            tracing::debug!(%error, "whose an internal id is, is not kept");
            self.lock().remove(&known);
        }
    }

    fn is_due(&self, known: (i64, u64), now: Instant) -> bool {
        let mut written = self.lock();
        if written.get(&known).is_some_and(|at| now - *at < EVERY) {
            return false;
        }
        if written.len() >= MOST {
            written.clear();
        }
        written.insert(known, now);
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(i64, u64), Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_once_a_day_and_another_one_at_once() {
        let (addresses, now) = (Addresses::default(), Instant::now());
        assert!(addresses.is_due((5, hash("anna")), now));
        assert!(!addresses.is_due((5, hash("anna")), now + EVERY / 2));
        assert!(addresses.is_due((5, hash("bert")), now), "another name");
        assert!(addresses.is_due((5, hash("anna")), now + EVERY));
        (0..2 * MOST as i64).for_each(|user| assert!(addresses.is_due((user, 0), now)));
        assert!(addresses.lock().len() <= MOST);
    }
}
