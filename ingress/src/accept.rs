//! Makes a body safe: an update goes to its partition, what is none to the dead letters, and either way
//! the answer is known within the deadline. Knows nothing of HTTP.

use std::time::Duration;

use bytes::Bytes;
use shared::queue::{Envelope, Letter, PublishError, Publisher};
use shared::update::{Malformed, peek};

use crate::events;

/// Whether Telegram may forget the update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is on disk, here or at the broker (invariant I1).
    Safe,
    /// It is not known to be: Telegram has to keep it, and to try again.
    NotSafe,
}

/// Makes updates safe. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    pub publisher: Publisher,
    pub bot: Option<u64>,
    pub deadline: Duration,
}

impl Acceptor {
    /// A whole body: published as the update that it is, or buried as `malformed`.
    pub async fn accept(&self, body: Bytes, traceparent: Option<String>) -> Accepted {
        match peek(&body) {
            Ok(peek) => {
                let envelope = Envelope::received(peek, self.bot, traceparent, body);
                self.in_time(&envelope.kind, self.publisher.publish(&envelope)).await
            }
            Err(malformed) => self.bury(malformed, body, traceparent).await,
        }
    }

    /// A body that is over the limit: its letter says so, and is without it.
    pub async fn too_large(&self) -> Accepted {
        self.bury(Malformed::TooLarge, Bytes::new(), None).await
    }

    async fn bury(&self, malformed: Malformed, body: Bytes, traceparent: Option<String>) -> Accepted {
        events::malformed(malformed);
        let letter = Letter::malformed(malformed.to_string(), self.bot, traceparent, body);
        self.in_time("malformed", self.publisher.bury(&letter)).await
    }

    /// The publish itself goes on when its time is over: its confirm may come late, and the copy that
    /// Telegram then sends is found by its update_id.
    async fn in_time(&self, kind: &str, publish: impl Future<Output = Result<(), PublishError>>) -> Accepted {
        let begun = std::time::Instant::now();
        match tokio::time::timeout(self.deadline, publish).await {
            Ok(Ok(())) => {
                events::accepted(kind, begun.elapsed());
                Accepted::Safe
            }
            Ok(Err(error)) => {
                events::not_accepted(&error);
                Accepted::NotSafe
            }
            Err(_) => {
                events::late(self.deadline);
                Accepted::NotSafe
            }
        }
    }
}
