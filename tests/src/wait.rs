//! Waiting: for a condition, with a deadline. Nothing in the test house waits a fixed time and hopes.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// For what happens at once on an idle machine; generous, because a test machine is seldom idle.
pub const SHORT: Duration = Duration::from_secs(10);
/// For what includes a start, a hand-over or a reconnect.
pub const LONG: Duration = Duration::from_secs(30);

const STEP: Duration = Duration::from_millis(20);

/// Polls until `look` finds something; panics with `what` when `deadline` has passed.
pub async fn wait_for<T, F, Fut>(what: &str, deadline: Duration, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let end = Instant::now() + deadline;
    let mut ticks = interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "not seen within {deadline:?}: {what}");
    }
}

/// [`wait_for`] for a condition that needs no await.
pub async fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, deadline, || std::future::ready(condition().then_some(()))).await;
}

/// The time that a fake takes on purpose, or over which a test watches that nothing happens.
/// Never a way to wait for something: that is [`wait_for`].
pub async fn pause(duration: Duration) {
    timeout(duration, std::future::pending::<()>()).await.ok();
}
