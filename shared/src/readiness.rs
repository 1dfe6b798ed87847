//! Which dependencies there are, in what state each is and since when: what `/ready` tells.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{clock, events};

/// The state of everything that this process leans on. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, Dependency>>>, Arc<AtomicBool>);

#[derive(Clone, Debug)]
struct Dependency {
    state: &'static str,
    serves: bool,
    since_ms: u64,
}

impl Readiness {
    /// Says how `name` is doing, in one word such as `up`, `away`, `blocked`; `serves` is whether this
    /// process can do its work with the dependency in that state. True if the word is a new one.
    pub fn set(&self, name: &'static str, state: &'static str, serves: bool) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(name).is_some_and(|known| known.state == state && known.serves == serves);
        if !known {
            all.insert(name, Dependency { state, serves, since_ms: clock::now_ms() });
            events::ready(all.values().all(|dependency| dependency.serves));
        }
        !known
    }

    /// The process has been told to stop: not ready from now on.
    pub fn stop(&self) {
        self.1.store(true, Ordering::Release);
        self.set("process", "stopping", false);
    }

    pub fn is_stopping(&self) -> bool {
        self.1.load(Ordering::Acquire)
    }

    /// Whether every dependency serves.
    pub fn is_ready(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().all(|dependency| dependency.serves)
    }

    /// `{"status":"ready","dependencies":{"broker":{"state":"up","since":"…"}}}`
    pub fn to_json(&self) -> serde_json::Value {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ready = all.values().all(|dependency| dependency.serves);
        let dependencies: serde_json::Map<_, _> = all
            .into_iter()
            .map(|(name, it)| {
                let since = clock::rfc3339(it.since_ms);
                (name.to_owned(), serde_json::json!({"state": it.state, "since": since}))
            })
            .collect();
        let status = if ready { "ready" } else { "not ready" };
        serde_json::json!({"status": status, "dependencies": dependencies})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_every_dependency_serves() {
        let readiness = Readiness::default();
        assert!(readiness.set("broker", "connecting", false));
        assert!(!readiness.is_ready());
        assert!(readiness.set("broker", "up", true));
        assert!(!readiness.set("broker", "up", true));
        readiness.set("store", "away", true);
        assert!(readiness.is_ready());
        assert_eq!(readiness.to_json()["dependencies"]["store"]["state"], "away");
    }
}
