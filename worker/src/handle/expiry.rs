//! When an update's answer is no longer worth a call (facts T4). Pure.

use crate::incoming::Incoming;

const SECOND: u64 = 1000;
/// Of a message, from its date: Telegram itself would no longer deliver it.
const MESSAGE: u64 = 24 * 60 * 60 * SECOND;
/// Of a callback, a shipping and a pre-checkout query, from when the ingress received it.
const CALLBACK: u64 = 150 * SECOND;
const INLINE_QUERY: u64 = 30 * SECOND;
const CHOSEN_RESULT: u64 = 600 * SECOND;

/// Whether its time is over at `now_ms`.
pub fn is_over(incoming: &Incoming, received_ms: u64, now_ms: u64) -> bool {
    let received = |life| (received_ms, life);
    let (since, life) = match incoming.kind.as_str() {
        "callback_query" | "shipping_query" | "pre_checkout_query" => received(CALLBACK),
        "inline_query" => received(INLINE_QUERY),
        "chosen_inline_result" => received(CHOSEN_RESULT),
        _ => (incoming.date.map_or(received_ms, |date| date.saturating_mul(SECOND)), MESSAGE),
    };
    now_ms.saturating_sub(since) > life
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_time() {
        let now = 2_000_000_000_000;
        let over =
            |body: &str, age_s: u64| is_over(&Incoming::read(body.as_bytes()), now - age_s * 1000, now);
        let dated = |age_s: u64| format!(r#"{{"update_id":1,"message":{{"date":{}}}}}"#, now / 1000 - age_s);
        assert!(!over(&dated(86_000), 0) && over(&dated(86_500), 0));
        assert!(!over(&dated(10), 90_000), "a message's time is counted from its date");
        for (kind, life) in [("callback_query", 150), ("pre_checkout_query", 150), ("inline_query", 30)] {
            let body = format!(r#"{{"update_id":1,"{kind}":{{"id":"x"}}}}"#);
            assert!(!over(&body, life - 1) && over(&body, life + 1), "{kind}");
        }
        assert!(!over(r#"{"update_id":1,"brand_new":{}}"#, 3600));
    }
}
