//! A panic costs one update one attempt, never the process (invariant I7).

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use crate::events;

/// As often as this a panic is an attempt; then the update is poison, whatever the store knows.
pub(super) const PANICS: u32 = 5;

/// Runs `attempt` again after each panic; nothing comes of what panics every time. Its argument is whether the one
/// before panicked.
pub(super) async fn contain<T, F>(attempt: impl Fn(bool) -> F) -> Option<T>
where
    F: Future<Output = T>,
{
    for panics in 0..PANICS {
        match AssertUnwindSafe(attempt(panics > 0)).catch_unwind().await {
            Ok(outcome) => return Some(outcome),
            Err(_) => events::panicked(panics + 1),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::handle::outcome::{Done, Outcome};

    #[tokio::test]
    async fn a_panic_is_one_attempt_and_the_process_lives() {
        let tries = AtomicU32::new(0);
        let outcome = contain(|after_panic| {
            let try_number = tries.fetch_add(1, Ordering::Relaxed);
            assert_eq!(after_panic, try_number > 0);
            async move {
                assert!(try_number >= 2, "on cue");
                Outcome::Done(Done::Answered)
            }
        });
        assert_eq!(outcome.await, Some(Outcome::Done(Done::Answered)));
        assert_eq!(tries.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn an_update_that_panics_five_times_is_given_up() {
        let tries = AtomicU32::new(0);
        let outcome = contain(|_| async {
            tries.fetch_add(1, Ordering::Relaxed);
            panic!("on cue")
        });
        assert_eq!(outcome.await, None::<Outcome>);
        assert_eq!(tries.load(Ordering::Relaxed), PANICS);
    }
}
