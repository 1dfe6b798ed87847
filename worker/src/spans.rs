//! The spans of an update's handling, and what each says of how it went: the worker's part of the traces in one place.

use shared::queue::Envelope;
use shared::store::{StoreError, UpdateKey};
use shared::traces::{Kind, Span};

use crate::handle::outcome::Outcome;
use crate::handle::request_uuid;
use crate::services::ServiceError;
use crate::telegram::Sent;

/// One try of an update: under what the ingress did with it, whoever tries and however often; and, of a replay, under
/// the run whose letter it was. Beside it, how long the update has waited for this turn.
pub fn handling(envelope: &Envelope, key: &UpdateKey, request_id: &str) -> Span {
    let (traceparent, own) = (envelope.traceparent.as_deref(), || request_uuid(key).as_u128());
    let span = if envelope.replay > 0 {
        Span::begin_again("handle", Kind::Consumer, traceparent, own)
    } else {
        Span::over("wait", Kind::Consumer, traceparent, envelope.received_ms, own);
        Span::begin_own("handle", Kind::Consumer, traceparent, own)
    };
    span.update(envelope.update_id);
    span.replay(envelope.replay);
    span.request(request_id);
    span
}

pub fn handled(span: &Span, outcome: &Outcome) {
    match outcome {
        Outcome::Done(done) => span.outcome(done.as_str()),
        Outcome::Dead(death) => span.failed(death.reason.as_str()),
        Outcome::Stay => span.failed("stays"),
        Outcome::NotBegun => span.outcome("not_begun"),
    }
}

/// A service was called. Not with what it said: that can be anything.
pub fn called(span: Span, failed: Option<&ServiceError>) {
    match failed {
        None => span.outcome("ok"),
        Some(ServiceError::Timeout(_)) => span.failed("timeout"),
        Some(ServiceError::NoConnection) => span.failed("no_connection"),
        Some(ServiceError::Broken) => span.failed("broken"),
        Some(ServiceError::Status(_)) => span.failed("status"),
        Some(ServiceError::TooLarge) => span.failed("too_large"),
        Some(ServiceError::Nonsense(_)) => span.failed("nonsense"),
        Some(ServiceError::BreakerOpen) => span.failed("breaker_open"),
        Some(ServiceError::Unknown) => span.failed("unknown"),
    }
}

pub fn kept(span: Span, kept: &Result<(), StoreError>) {
    match kept {
        Ok(()) => span.outcome("kept"),
        Err(StoreError::Away) => span.failed("store_away"),
        Err(StoreError::Fenced) => span.failed("fenced"),
    }
}

/// A message was sent, with its retry and the waits between. Not with its method: a service can name any.
pub fn sent(span: Span, sent: &Sent) {
    match sent {
        Sent::Yes => span.outcome("sent"),
        Sent::Refused(_) => span.failed("refused"),
        Sent::ChatClosed(_) => span.failed("chat_closed"),
        Sent::Failed(_) => span.failed("failed"),
        Sent::WrongToken => span.failed("wrong_token"),
        Sent::Aborted => span.failed("aborted"),
    }
}
