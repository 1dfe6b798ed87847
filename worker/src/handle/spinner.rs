//! A callback's loading sign: stopped once, by the service's answer, else as soon as the service has
//! answered, else 3 s after the update reached the worker, even while its chat waits (contract 3).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shared::store::{Store, UpdateKey};
use shared::traces::{self, Kind, Span};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Handler, request_uuid};
use crate::reply::Call;
use crate::spans;
use crate::telegram::{Going, Sent, Telegram};

/// Users see a button fail after 10 to 15 s (facts T18).
const PATIENCE: Duration = Duration::from_secs(3);

/// One callback's sign. Dropping it ends its clock, unless that is already stopping the sign.
pub struct Spinner {
    sign: Arc<Sign>,
    /// None in a replay, which answers a callback only as a service says (contract 8).
    clock: Option<JoinHandle<()>>,
}

struct Sign {
    callback: String,
    key: UpdateKey,
    /// This process's name in claims.
    worker: String,
    store: Store,
    telegram: Telegram,
    /// The trace of its update, which may not have a span of its own yet.
    traceparent: Option<String>,
    stopped: AtomicBool,
}

impl Spinner {
    /// Starts the clock of a callback that has just arrived, unless it is a replay's.
    pub fn start(callback: String, key: UpdateKey, handler: &Handler, traceparent: Option<&str>) -> Self {
        let (worker, store, telegram) =
            (handler.worker.clone(), handler.store.clone(), handler.telegram.clone());
        let traceparent = traceparent.filter(|_| traces::are_on()).map(str::to_owned);
        let stopped = AtomicBool::new(false);
        let sign = Arc::new(Sign { callback, key, worker, store, telegram, traceparent, stopped });
        let waiting = sign.clone();
        let clock = (sign.key.replay == 0).then(|| {
            tokio::spawn(async move {
                tokio::time::sleep(PATIENCE).await;
                waiting.stop(None, &CancellationToken::new()).await;
            })
        });
        Self { sign, clock }
    }

    /// Stops the sign with that answer, or an empty one. `Yes` too where it was stopped before, and where there is
    /// nothing to say in a replay.
    pub async fn stop(&self, with: Option<Call>, abort: &CancellationToken) -> Sent {
        if with.is_none() && self.clock.is_none() {
            return Sent::Yes;
        }
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
        if let Some(clock) = self.clock.as_ref().filter(|_| !self.is_stopped()) {
            clock.abort();
        }
    }
}

impl Sign {
    async fn stop(&self, with: Option<Call>, abort: &CancellationToken) -> Sent {
        if self.stopped.swap(true, Ordering::AcqRel) {
            return Sent::Yes;
        }
        // Another worker may have stopped it before it crashed. Without the store nobody knows.
        if !self.store.answer_begin(&self.key, &self.worker).await.unwrap_or(true) {
            return Sent::Yes;
        }
        let empty = || Call::new("answerCallbackQuery").with("callback_query_id", self.callback.as_str());
        let going = Going { abort, halt: abort, note: None, bulk: false, once: false };
        let own = || request_uuid(&self.key).as_u128();
        let span = Span::begin_own("answer", Kind::Client, self.traceparent.as_deref(), own);
        let sent = self.telegram.send(&with.unwrap_or_else(empty), &going).await;
        spans::sent(span, &sent);
        // One that failed may be given yet: by a replay, or with what the service says later.
        let given = matches!(sent, Sent::Yes | Sent::Refused(_) | Sent::ChatClosed(_));
        if self.store.answer_end(&self.key, &self.worker, given).await.is_err() {
            tracing::debug!(
                "that a callback was answered is not recorded; a crash would have it answered again"
            );
        }
        if !given {
            self.stopped.store(false, Ordering::Release);
        }
        sent
    }
}
