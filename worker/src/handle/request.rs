//! What a service is asked, and under which id.

use shared::store::UpdateKey;
use uuid::Uuid;

use super::Attempt;
use crate::routes::{Found, Shape};
use crate::services::{Request, body};

/// The namespace of request ids: UUIDv5 of this and `<bot>:<update_id>` (contract 4).
pub const NAMESPACE: Uuid = Uuid::from_u128(0x7c6b_2a54_9a1e_5d0c_8f3b_1e6d_4a90_c257);

/// The id of an update's requests: the same for every repeat of any kind, replays too.
pub fn request_id(key: &UpdateKey) -> String {
    request_uuid(key).hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned()
}

/// Likewise, as what also names the trace of an update that came without one.
pub fn request_uuid(key: &UpdateKey) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{}:{}", key.bot, key.update_id).as_bytes())
}

pub(super) fn request(
    attempt: &Attempt<'_>,
    found: &Found<'_>,
    shape: Shape,
    user_id: Option<&str>,
) -> Request {
    let asked = body::Asked { incoming: attempt.incoming, album: attempt.album, found };
    let body = body::request_body(shape, &asked, user_id, attempt.request_id);
    let traceparent = traceparent(attempt.envelope.traceparent.as_deref(), attempt.request_id);
    Request { body, request_id: attempt.request_id.to_owned(), traceparent }
}

/// What a service is told where we make no spans ourselves: the caller's trace with an id of our own; where there is
/// none, one named by the request id, so that the repeats of an update are one trace.
fn traceparent(given: Option<&str>, request_id: &str) -> String {
    let trace = given.and_then(|given| given.split('-').nth(1)).filter(|trace| trace.len() == 32);
    let trace = trace.map_or_else(|| request_id.replace('-', ""), str::to_owned);
    let flags = given.and_then(|given| given.get(53..55)).unwrap_or("00");
    format!("00-{trace}-{:016x}-{flags}", rand::random_range(1..=u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_depends_on_bot_and_update_alone() {
        let key = |bot, update_id, replay, owner| UpdateKey { bot, update_id, replay, owner };
        let id = request_id(&key(123, 456, 0, 7));
        assert_eq!(id, request_id(&key(123, 456, 9, 8)));
        assert_ne!(id, request_id(&key(124, 456, 0, 7)));
        assert_eq!(id.as_bytes()[14], b'5', "version 5");
    }

    #[test]
    fn a_trace_is_carried_on_with_a_new_span() {
        let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let next = traceparent(Some(given), "x");
        assert!(next.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && next.ends_with("-01"), "{next}");
        assert!(!next.contains("b7ad6b7169203331"));
        assert_eq!(traceparent(None, "01234567-89ab-cdef-0123-456789abcdef").len(), 55);
    }
}
