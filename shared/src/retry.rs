//! How long to wait before trying again. The only file that names the `backoff` package: the owner chose
//! it, and it is unmaintained (RUSTSEC-2025-0012, facts L7), so that replacing it is this one file.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// Growing waits with jitter (±50 %), for something that is tried again for ever.
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// The first wait is about `first`, each later one half as long again, up to `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        let mut waits = ExponentialBackoff {
            initial_interval: first,
            max_interval: most,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        waits.reset();
        Self(waits)
    }

    /// Begins again with the shortest wait; to be called when a try succeeded.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    /// Sleeps for the next wait.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_wait()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_never_end() {
        let mut waits = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        assert!(waits.next_wait() <= Duration::from_millis(150));
        let late: Vec<_> = (0..100).map(|_| waits.next_wait()).skip(50).collect();
        assert!(late.iter().all(|wait| *wait >= Duration::from_secs(1) && *wait <= Duration::from_secs(3)));
    }
}
