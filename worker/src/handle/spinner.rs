//! A callback's loading sign: stopped once, by the service's answer, else as soon as the service has
//! answered, else 3 s after the update reached the worker, even while its chat waits (contract 3).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shared::store::{Store, UpdateKey};
use shared::traces::{self, Kind, Span};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::request_uuid;
use crate::reply::Call;
use crate::spans;
use crate::telegram::{Going, Sent, Telegram};

/// Users see a button fail after 10 to 15 s (facts T18).
const PATIENCE: Duration = Duration::from_secs(3);

/// One callback's sign. Dropping it ends its clock, unless that is already stopping the sign.
pub struct Spinner {
    sign: Arc<Sign>,
    clock: JoinHandle<()>,
}

struct Sign {
    callback: String,
    key: UpdateKey,
    store: Store,
    telegram: Telegram,
    /// The trace of its update, which may not have a span of its own yet.
    traceparent: Option<String>,
    stopped: AtomicBool,
}

impl Spinner {
    /// Starts the clock of a callback that has just arrived.
    pub fn start(
        callback: String,
        key: UpdateKey,
        store: Store,
        telegram: Telegram,
        traceparent: Option<&str>,
    ) -> Self {
        let traceparent = traceparent.filter(|_| traces::are_on()).map(str::to_owned);
        let stopped = AtomicBool::new(false);
        let sign = Arc::new(Sign { callback, key, store, telegram, traceparent, stopped });
        let waiting = sign.clone();
        let clock = tokio::spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            waiting.stop(None, &CancellationToken::new()).await;
        });
        Self { sign, clock }
    }

    /// Stops the sign with that answer, or an empty one. `Yes` too where it was stopped before.
    pub async fn stop(&self, with: Option<Call>, abort: &CancellationToken) -> Sent {
        self.sign.stop(with, abort).await
    }

    /// Whether somebody has begun to stop it: what comes now is not shown.
    pub fn is_stopped(&self) -> bool {
        self.sign.stopped.load(Ordering::Acquire)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        // Aborted halfway, its answer would be neither sent nor sent again.
        if !self.is_stopped() {
            self.clock.abort();
        }
    }
}

impl Sign {
    async fn stop(&self, with: Option<Call>, abort: &CancellationToken) -> Sent {
        if self.stopped.swap(true, Ordering::AcqRel) {
            return Sent::Yes;
        }
        // Another worker may have stopped it before it crashed. Without the store nobody knows.
        if !self.store.answer_once(&self.key).await.unwrap_or(true) {
            return Sent::Yes;
        }
        let empty = || Call::new("answerCallbackQuery").with("callback_query_id", self.callback.as_str());
        let going = Going { abort, halt: abort, note: None, bulk: false };
        let own = || request_uuid(&self.key).as_u128();
        let span = Span::begin_own("answer", Kind::Client, self.traceparent.as_deref(), own);
        let sent = self.telegram.send(&with.unwrap_or_else(empty), &going).await;
        spans::sent(span, &sent);
        sent
    }
}
