//! Tells a user that they are too fast, at most once per window (contract 3.3 and 9).

use std::time::Duration;

use shared::traces::Kind;

use super::outcome::{Done, Outcome};
use super::{Attempt, Handler};
use crate::reply::{self, Call};
use crate::spans;
use crate::telegram::{Going, Sent};

/// The right to a notice is held at most this long beyond the window while it is being sent: a call, its
/// retry, and the longest wait that Telegram may ask for between them.
const SENDING: Duration = Duration::from_secs(90);

impl Handler {
    /// Sends the notice if it is due. Its failing is no reason to do anything: the update is done.
    pub(super) async fn notice(&self, attempt: &Attempt<'_>) -> Outcome {
        // On a button whose sign was stopped before, a notice could not be shown any more.
        let shown = attempt.spinner.is_none_or(|spinner| !spinner.is_stopped());
        let call = reply::notice(attempt.incoming).filter(|_| shown);
        let sent = match call {
            Some(call) if self.notice_is_due(attempt).await => self.send_notice(attempt, call).await,
            _ => self.stop_spinner(attempt, None).await,
        };
        match sent {
            Sent::WrongToken | Sent::Aborted => Outcome::Stay,
            _ => Outcome::Done(Done::Limited),
        }
    }

    async fn notice_is_due(&self, attempt: &Attempt<'_>) -> bool {
        let hold = self.limits.window + SENDING;
        self.store.notice_begin(attempt.key, hold.as_millis() as u64).await.unwrap_or(false)
    }

    async fn send_notice(&self, attempt: &Attempt<'_>, call: Call) -> Sent {
        let sent = match attempt.spinner {
            Some(spinner) => spinner.stop(Some(call), attempt.abort).await,
            None => {
                let span = attempt.span.child("send", Kind::Client);
                let sent = self.telegram.send(&call, &Going { once: true, ..self.going(attempt) }).await;
                spans::sent(span, &sent);
                sent
            }
        };
        // The next one may follow a window after this one was seen, or may have been; at once, if it was not.
        let may_be_seen = matches!(sent, Sent::Yes | Sent::Failed(_));
        let wait_ms = if may_be_seen { self.limits.window.as_millis() as u64 } else { 1 };
        if self.store.notice_sent(attempt.key, wait_ms).await.is_err() {
            tracing::debug!("the time of a notice is not recorded; the next one waits longer");
        }
        sent
    }
}
