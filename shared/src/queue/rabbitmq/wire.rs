//! Envelopes and letters as AMQP messages. The body is the update's own bytes; all else is in headers, of
//! our own names, since the broker's x-death does not survive a republish (facts R13).

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use crate::queue::envelope::VERSION;
use crate::queue::{Envelope, Letter};
use crate::update;

/// Survives a restart of the broker.
const PERSISTENT: u8 = 2;

#[derive(Default)]
struct Headers(FieldTable);

impl Headers {
    fn number(mut self, name: &'static str, value: Option<i64>) -> Self {
        if let Some(value) = value {
            self.0.insert(name.into(), AMQPValue::LongLongInt(value));
        }
        self
    }

    fn text(mut self, name: &'static str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.0.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        self
    }
}

pub(crate) fn envelope_properties(envelope: &Envelope) -> BasicProperties {
    let headers = Headers::default()
        .number("tgw-version", Some(i64::from(VERSION)))
        .text("tgw-kind", Some(&envelope.kind))
        .number("tgw-lane", envelope.lane)
        .number("tgw-bot", envelope.bot.map(|bot| bot as i64))
        .number("tgw-received", Some(envelope.received_ms as i64))
        .number("tgw-replay", (envelope.replay > 0).then_some(i64::from(envelope.replay)))
        .text("traceparent", envelope.traceparent.as_deref());
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_message_id(envelope.update_id.to_string().into())
        .with_headers(headers.0)
}

/// The envelope of a delivered message. What has no headers of ours (somebody put it there by hand) is
/// looked at as the ingress would; what is no update at all is given back as its bytes.
pub(crate) fn read_envelope(properties: &BasicProperties, body: Bytes) -> Result<Envelope, Bytes> {
    let empty = FieldTable::default();
    let headers = properties.headers().as_ref().unwrap_or(&empty).inner();
    let number = |name: &str| headers.get(name).and_then(whole);
    let text = |name: &str| headers.get(name).and_then(|value| Some(value.as_long_string()?.to_string()));
    let update_id = properties.message_id().as_ref().and_then(|id| id.as_str().parse().ok());
    let update_id = update_id.filter(|id| *id <= i64::MAX as u64);
    if let (Some(update_id), Some(kind), Some(received)) =
        (update_id, text("tgw-kind"), number("tgw-received"))
    {
        return Ok(Envelope {
            update_id,
            bot: number("tgw-bot").map(|bot| bot as u64),
            kind,
            lane: number("tgw-lane"),
            received_ms: received as u64,
            replay: number("tgw-replay").unwrap_or(0) as u32,
            traceparent: text("traceparent"),
            body,
        });
    }
    match update::peek(&body) {
        Ok(peek) => Ok(Envelope::received(peek, None, None, body)),
        Err(_) => Err(body),
    }
}

/// How often a quorum queue saw this message come back.
pub(crate) fn returns(properties: &BasicProperties) -> u32 {
    let headers = properties.headers().as_ref();
    headers.and_then(|all| whole(all.inner().get("x-delivery-count")?)).unwrap_or(0) as u32
}

fn whole(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::LongLongInt(number) => Some(*number),
        AMQPValue::LongInt(number) => Some(i64::from(*number)),
        AMQPValue::LongUInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortShortInt(number) => Some(i64::from(*number)),
        _ => None,
    }
}

pub(crate) fn letter_properties(letter: &Letter) -> BasicProperties {
    let headers = Headers::default()
        .number("tgw-version", Some(i64::from(VERSION)))
        .text("tgw-reason", Some(letter.reason.as_str()))
        .text("tgw-error", Some(&letter.error))
        .number("tgw-update-id", letter.update_id.map(|id| id as i64))
        .number("tgw-bot", letter.bot.map(|bot| bot as i64))
        .text("tgw-kind", Some(&letter.kind))
        .number("tgw-lane", letter.lane)
        .number("tgw-chat", letter.chat_id)
        .number("tgw-user", letter.user_id)
        .text("tgw-route", letter.route.as_deref())
        .text("tgw-service", letter.service.as_deref())
        .number("tgw-attempts", Some(i64::from(letter.attempts)))
        .number("tgw-received", Some(letter.received_ms as i64))
        .number("tgw-first-failed", Some(letter.first_failed_ms as i64))
        .number("tgw-last-failed", Some(letter.last_failed_ms as i64))
        .number("tgw-replays", Some(i64::from(letter.replays)))
        .number("tgw-update-bytes", Some(letter.body.len() as i64))
        .text("traceparent", letter.traceparent.as_deref());
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/octet-stream".into())
        .with_message_id(letter.id().into())
        .with_headers(headers.0)
}

/// The update's bytes, and right behind them what is still to be sent; `tgw-update-bytes` says where the
/// one ends. Headers could not hold it: they must fit in one frame of 128 KiB.
pub(crate) fn letter_body(letter: &Letter) -> Bytes {
    match &letter.rest {
        None => letter.body.clone(),
        Some(rest) => [&letter.body[..], &rest[..]].concat().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(update_id: u64) -> Envelope {
        Envelope {
            update_id,
            bot: Some(77),
            kind: "message".into(),
            lane: Some(-5),
            received_ms: 1_700_000_000_123,
            replay: 3,
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            body: Bytes::from_static(b"{\"update_id\":9}"),
        }
    }

    #[test]
    fn an_envelope_comes_out_as_it_went_in() {
        for update_id in [0, i64::MAX as u64] {
            let sent = envelope(update_id);
            assert_eq!(read_envelope(&envelope_properties(&sent), sent.body.clone()), Ok(sent));
        }
    }

    #[test]
    fn a_message_without_our_headers_is_looked_at() {
        let body = Bytes::from_static(b"{\"update_id\":9,\"message\":{\"chat\":{\"id\":4}}}");
        let read = read_envelope(&BasicProperties::default(), body.clone()).unwrap();
        assert_eq!((read.update_id, read.lane, read.kind.as_str()), (9, Some(4), "message"));
        assert_eq!(read_envelope(&BasicProperties::default(), "nonsense".into()), Err("nonsense".into()));
    }
}
