//! Tells a user that they are too fast, at most once per window (contract 3.3 and 9).

use std::time::Duration;

use super::{Attempt, Handler};
use crate::reply;
use crate::telegram::Sent;

/// The right to a notice is held at most this long beyond the window while it is being sent: a call, its
/// retry, and the wait between.
const SENDING: Duration = Duration::from_secs(25);

impl Handler {
    /// Sends the notice, if it is due. Its failing is no reason to do anything: the update is done.
    pub(super) async fn notice(&self, attempt: &Attempt<'_>) {
        let window_ms = self.limits.window.as_millis() as u64;
        let hold_ms = window_ms + SENDING.as_millis() as u64;
        let due = self.store.notice_begin(&attempt.key, hold_ms).await.unwrap_or(false);
        let Some(call) = reply::notice(attempt.incoming).filter(|_| due) else {
            return self.stop_spinner(attempt, None).await;
        };
        let sent = match attempt.spinner {
            Some(spinner) => spinner.stop(Some(call)).await,
            None => self.telegram.send(&call).await == Sent::Yes,
        };
        // The next one may follow a window after this one was seen; at once, if this one was not.
        let wait_ms = if sent { window_ms } else { 1 };
        if self.store.notice_sent(&attempt.key, wait_ms).await.is_err() {
            tracing::debug!("the time of a notice is not recorded; the next one waits longer");
        }
    }
}
