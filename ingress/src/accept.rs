//! Makes a body safe: an update goes to its partition, what is none to the dead letters, and what the broker
//! can't take to the spool; the answer is known within the deadline. Knows nothing of HTTP.

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;
use shared::queue::{Envelope, Letter, PublishError, Publisher};
use shared::spool::{Spool, SpoolError};
use shared::traces::{Kind, Span};
use shared::update::{Malformed, peek};

use crate::events;

/// Of the deadline, what the broker has for its confirm where there is a spool; a good broker needs a hundredth.
const BROKERS_SHARE: f64 = 0.6;

/// A disk that needs longer than the rest of the deadline is waited for up to this, since a 503 would cost the
/// update another two seconds.
const DISK: Duration = Duration::from_secs(2);

/// Whether Telegram may forget the update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is on disk, here or at the broker (invariant I1).
    Safe,
    /// It is not known to be: Telegram has to keep it, and to try again.
    NotSafe,
}

/// Where something is safe.
enum Place {
    Broker,
    Spool,
}

/// Why it is nowhere.
#[derive(Debug, thiserror::Error)]
enum Nowhere {
    #[error(transparent)]
    Broker(#[from] PublishError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("there was no word within {0:?}")]
    Late(Duration),
}

/// Makes updates safe. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    pub publisher: Publisher,
    pub spool: Option<Spool>,
    pub bot: Option<u64>,
    pub deadline: Duration,
}

impl Acceptor {
    /// A whole body: published as the update that it is, or buried as `malformed`. Its span, in the trace of an
    /// authentic caller if that has one, is what all that becomes of the update hangs under.
    pub async fn accept(&self, body: Bytes, traceparent: Option<String>) -> Accepted {
        let begun = Instant::now();
        let span = Span::begin("accept", Kind::Server, traceparent.as_deref());
        let traceparent = span.traceparent().or(traceparent);
        match peek(&body) {
            Ok(mut peek) => {
                // A kind with a dot is the gateway's own, of what services send: what is posted is none of these.
                if peek.kind.contains('.') {
                    peek.kind.clear();
                }
                span.update(peek.update_id);
                let envelope = Envelope::received(peek, self.bot, traceparent, body);
                tell(&envelope.kind, begun, &span, self.keep(&envelope, begun, &span).await)
            }
            Err(malformed) => self.bury(malformed, body, traceparent, &span).await,
        }
    }

    /// A body that is over the limit: its letter says so, and is without it.
    pub async fn too_large(&self) -> Accepted {
        let span = Span::begin("accept", Kind::Server, None);
        self.bury(Malformed::TooLarge, Bytes::new(), span.traceparent(), &span).await
    }

    async fn keep(&self, envelope: &Envelope, begun: Instant, span: &Span) -> Result<Place, Nowhere> {
        let Some(spool) = &self.spool else {
            return published(span, within(self.deadline, self.publisher.publish(envelope))).await;
        };
        if spool.comes_first(envelope) || !self.publisher.takes() {
            return self.spooled_or_else(spool, envelope, begun, span).await;
        }
        let mut publishing = self.publisher.begin(envelope);
        let publish = span.child("publish", Kind::Producer);
        match tokio::time::timeout(self.brokers_share(), &mut publishing).await {
            Ok(Ok(())) => {
                publish.outcome("confirmed");
                spool.trust();
                Ok(Place::Broker)
            }
            Ok(Err(error)) => {
                publish.end_failed("refused");
                events::falls_back(&error);
                self.spooled(spool, begun, span, spool.put(envelope, None)).await
            }
            // Its confirm may still come, and then the spool lets go of it.
            Err(_) => {
                publish.end_failed("late");
                events::late(self.brokers_share());
                self.spooled(spool, begun, span, spool.put(envelope, Some(publishing))).await
            }
        }
    }

    async fn bury(
        &self,
        malformed: Malformed,
        body: Bytes,
        traceparent: Option<String>,
        span: &Span,
    ) -> Accepted {
        let begun = Instant::now();
        events::malformed(malformed);
        let letter = Letter::malformed(malformed.to_string(), self.bot, traceparent, body);
        tell("malformed", begun, span, self.keep_letter(&letter, begun, span).await)
    }

    async fn keep_letter(&self, letter: &Letter, begun: Instant, span: &Span) -> Result<Place, Nowhere> {
        let Some(spool) = &self.spool else {
            return published(span, within(self.deadline, self.publisher.bury(letter))).await;
        };
        let takes = self.publisher.takes();
        if takes && published(span, within(self.brokers_share(), self.publisher.bury(letter))).await.is_ok() {
            return Ok(Place::Broker);
        }
        // Two copies of a letter show as one, but for those without a body, which nothing tells apart.
        self.spooled(spool, begun, span, spool.put_letter(letter)).await
    }

    fn brokers_share(&self) -> Duration {
        self.deadline.mul_f64(BROKERS_SHARE)
    }

    /// To the spool; and where that can't take it and the broker may, to the broker, unless it would overtake an
    /// older one there.
    async fn spooled_or_else(
        &self,
        spool: &Spool,
        envelope: &Envelope,
        begun: Instant,
        span: &Span,
    ) -> Result<Place, Nowhere> {
        let refused = match self.spooled(spool, begun, span, spool.put(envelope, None)).await {
            Err(Nowhere::Spool(error)) => error,
            outcome => return outcome,
        };
        if spool.holds_older(envelope) || !self.publisher.takes() {
            return Err(refused.into());
        }
        let rest = self.deadline.saturating_sub(begun.elapsed());
        published(span, within(rest, self.publisher.publish(envelope))).await?;
        spool.trust();
        Ok(Place::Broker)
    }

    async fn spooled(
        &self,
        spool: &Spool,
        begun: Instant,
        span: &Span,
        put: impl Future<Output = Result<(), SpoolError>>,
    ) -> Result<Place, Nowhere> {
        let rest = self.deadline.saturating_sub(begun.elapsed());
        let spooling = span.child("spool", Kind::Producer);
        let put = within(rest.max(DISK), put).await;
        match &put {
            Ok(()) => spooling.outcome("spooled"),
            Err(_) => spooling.failed("refused"),
        }
        if let Err(Nowhere::Late(_)) = put {
            spool.hangs();
        }
        put.map(|()| Place::Spool)
    }
}

/// What is waited for goes on when its time is over: it may be stored all the same, and the copy that Telegram
/// then sends is found by its update_id.
async fn within<E: Into<Nowhere>>(
    time: Duration,
    work: impl Future<Output = Result<(), E>>,
) -> Result<(), Nowhere> {
    match tokio::time::timeout(time, work).await {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(_) => Err(Nowhere::Late(time)),
    }
}

/// What the broker confirms is at the broker.
async fn published(span: &Span, work: impl Future<Output = Result<(), Nowhere>>) -> Result<Place, Nowhere> {
    let publish = span.child("publish", Kind::Producer);
    let confirmed = work.await;
    match &confirmed {
        Ok(()) => publish.outcome("confirmed"),
        Err(Nowhere::Late(_)) => publish.failed("late"),
        Err(_) => publish.failed("refused"),
    }
    confirmed.map(|()| Place::Broker)
}

fn tell(kind: &str, begun: Instant, span: &Span, kept: Result<Place, Nowhere>) -> Accepted {
    match kept {
        Ok(Place::Broker) => {
            span.outcome("published");
            events::accepted(kind, begun.elapsed());
        }
        Ok(Place::Spool) => {
            span.outcome("spooled");
            events::spooled(kind, begun.elapsed());
        }
        Err(why) => {
            span.failed("refused");
            events::not_accepted(&why);
            return Accepted::NotSafe;
        }
    }
    Accepted::Safe
}
