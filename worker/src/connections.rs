//! How many connections lead to a peer: about as many as its answers take. The HTTP client makes one for each call that
//! finds none idle, so that some hundred updates that begin at once make some hundred connections to a peer which
//! answers within a millisecond; and each costs it a socket, and this process some 25 KB. So a call waits for a moment
//! until another one's comes free, and only then makes its own.
//!
//! The client's pool can't be asked. What is counted here is what has to be in it: a place for each connection, taken by a
//! call and given back; one that nobody needed for as long as the pool keeps it is forgotten. Being wrong costs a
//! call the wait, or the process a connection. Over HTTP/2 all calls share one, and nobody waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Version;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::fence::Fence;

/// Connections that wait for the next call, after a burst; the pool closes others.
pub const IDLE: usize = 256;

/// For how long one of those waits at most.
pub const KEPT: Duration = Duration::from_secs(60);

/// So many are made without a wait: by Little's law enough for 3,000 calls a second that take 20 ms each.
const FEW: usize = 64;

/// How long a call waits at most. So late are calls of a slow peer when more of them are under way than were in the last
/// minute: one of three seconds does not show it. With a quarter of it, and half as many places, a machine that is busy
/// itself took its own delay for the peer's (docs/performance-changes.md).
const WAIT: Duration = Duration::from_millis(100);

/// The places of one peer.
pub struct Connections {
    free: Semaphore,
    window: Mutex<Window>,
    /// The peer speaks HTTP/2.
    shared: AtomicBool,
}

/// Since when it is watched how many places nobody needs.
struct Window {
    begun: Instant,
    /// The least that were free.
    least: usize,
    /// All, free or not.
    places: usize,
}

/// A call's; dropping it gives it back.
pub struct Place<'c>(&'c Connections);

impl Default for Connections {
    fn default() -> Self {
        let window = Window { begun: Instant::now(), least: FEW, places: FEW };
        Self { free: Semaphore::new(FEW), window: Mutex::new(window), shared: AtomicBool::new(false) }
    }
}

impl Connections {
    /// A connection's place: at once, or when one comes free, or after [`WAIT`] a new one.
    pub async fn take(&self) -> Place<'_> {
        self.forget_unused();
        let taken = match self.free.try_acquire() {
            Ok(permit) => Some(permit),
            Err(_) if self.shared.load(Ordering::Relaxed) => None,
            Err(_) => timeout(WAIT, self.free.acquire()).await.ok().and_then(Result::ok),
        };
        match taken {
            Some(permit) => permit.forget(),
            None => self.window().places += 1,
        }
        Place(self)
    }

    /// Likewise, for a call before which the broker has to be heard. Nobody has a place while it is silent: else all
    /// would make their connections in the moment when it is heard.
    pub async fn take_behind(&self, fence: &Fence) -> Place<'_> {
        fence.pass().await;
        let place = self.take().await;
        fence.pass().await;
        place
    }

    /// The peer does, as far as is known.
    pub fn speaks(&self, version: Version) {
        self.shared.store(version == Version::HTTP_2, Ordering::Relaxed);
    }

    fn forget_unused(&self) {
        let (now, free) = (Instant::now(), self.free.available_permits());
        let mut window = self.window();
        let since = now.saturating_duration_since(window.begun);
        // Where nobody called for so long all are gone.
        let unused = if since > KEPT * 2 { free } else { window.least };
        window.least = window.least.min(free.saturating_sub(1));
        if since > KEPT {
            let forgotten = self.free.forget_permits(unused.min(window.places.saturating_sub(FEW)));
            window.places -= forgotten;
            (window.begun, window.least) = (now, free);
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let connections = self.0;
        if connections.free.available_permits() < IDLE {
            connections.free.add_permits(1);
        } else {
            connections.window().places -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
