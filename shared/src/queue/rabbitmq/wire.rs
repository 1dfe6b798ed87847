//! Envelopes and letters as AMQP messages. The body is the update's own bytes. What every update has is in the
//! properties that AMQP itself names; what a replay, a trace or a letter adds is in headers of our own names, since the
//! broker's x-death does not survive a republish (facts R13).
//!
//! A table of headers costs: the broker reads it, and so does lapin, entry by entry. The five values of every update in
//! one took the broker and lapin a sixth of all that a confirmed publish costs (docs/performance-changes.md).

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::queue::{Envelope, Letter, Reason, Replayed};
use crate::update;

/// Survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// The version of a letter's headers. A reader takes this and every earlier one.
const VERSION: i64 = 1;

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

struct Written {
    received_ms: u64,
    bot: Option<u64>,
}

/// The properties of a message that was delivered.
struct Read<'a>(&'a BasicProperties);

impl<'a> Read<'a> {
    fn get(&self, name: &str) -> Option<&'a AMQPValue> {
        self.0.headers().as_ref()?.inner().get(name)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.get(name).and_then(whole)
    }

    fn text(&self, name: &str) -> Option<String> {
        Some(self.get(name)?.as_long_string()?.to_string())
    }

    /// What the application's id says, if it is ours.
    fn written(&self) -> Option<Written> {
        let mut words = self.0.app_id().as_ref()?.as_str().split(' ');
        if words.next() != Some(WRITTEN_BY) {
            return None;
        }
        Some(Written {
            received_ms: words.next()?.parse().ok()?,
            bot: words.next().and_then(|bot| bot.parse().ok()),
        })
    }

    /// Of an update as it is written now, or by the header of a letter, or of an update of the first version.
    fn bot(&self) -> Option<u64> {
        match self.written() {
            Some(written) => written.bot,
            None => self.number("tgw-bot").map(|bot| bot as u64),
        }
    }

    fn replayed(&self) -> Option<Replayed> {
        let at_ms = self.number("tgw-replayed-at")? as u64;
        let by = self.text("tgw-replayed-by").unwrap_or_default();
        Some(Replayed { at_ms, by, first_failed_ms: self.number("tgw-first-failed")? as u64 })
    }
}

/// What made a message, and how it is written, as of now: the beginning of its application's id. A reader takes this and
/// every earlier one. The first had no such id, and all in headers.
const WRITTEN_BY: &str = "tgw/2";

/// The message's id is the update's, what it is correlated by the lane, and its type the kind. The rest is in the id of the
/// application, as `tgw/2 1790000000123 77`: when it was received, in milliseconds, and the bot. Not in AMQP's timestamp: it
/// counts seconds, and a broker can be set to write its own there.
pub(crate) fn envelope_properties(envelope: &Envelope) -> BasicProperties {
    let written_by = match envelope.bot {
        Some(bot) => format!("{WRITTEN_BY} {} {bot}", envelope.received_ms),
        None => format!("{WRITTEN_BY} {}", envelope.received_ms),
    };
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_message_id(envelope.update_id.to_string().into())
        .with_app_id(written_by.into());
    if let Some(lane) = envelope.lane {
        properties = properties.with_correlation_id(lane.to_string().into());
    }
    let mut headers = Headers::default();
    match ShortString::try_new(envelope.kind.as_str()) {
        Ok(kind) => properties = properties.with_type(kind),
        // A kind of 64 letters (the most that is taken) may have 256 bytes.
        Err(_) => headers = headers.text("tgw-kind", Some(&envelope.kind)),
    }
    let replayed = envelope.replayed.as_ref();
    let headers = headers
        .number("tgw-replay", (envelope.replay > 0).then_some(i64::from(envelope.replay)))
        .number("tgw-replayed-at", replayed.map(|replayed| replayed.at_ms as i64))
        .text("tgw-replayed-by", replayed.map(|replayed| replayed.by.as_str()))
        .number("tgw-first-failed", replayed.map(|replayed| replayed.first_failed_ms as i64))
        .text("traceparent", envelope.traceparent.as_deref());
    if headers.0.inner().is_empty() { properties } else { properties.with_headers(headers.0) }
}

/// The envelope of a delivered message, as it is written now or as it was at first. What is neither (somebody put it there
/// by hand) is looked at as the ingress would; what is no update at all is given back as its bytes.
pub(crate) fn read_envelope(properties: &BasicProperties, body: Bytes) -> Result<Envelope, Bytes> {
    let read = Read(properties);
    let update_id = number(properties.message_id()).filter(|id| *id <= i64::MAX as u64);
    let of_header = || read.text("tgw-kind");
    let (kind, received_ms, lane, bot) = match read.written() {
        Some(Written { received_ms, bot }) => {
            let kind = properties.kind().as_ref().map(|kind| kind.as_str().to_owned());
            (kind.or_else(of_header), Some(received_ms), number(properties.correlation_id()), bot)
        }
        None => {
            let received_ms = read.number("tgw-received").map(|at| at as u64);
            (of_header(), received_ms, read.number("tgw-lane"), read.bot())
        }
    };
    if let (Some(update_id), Some(kind), Some(received_ms)) = (update_id, kind, received_ms) {
        return Ok(Envelope {
            update_id,
            bot,
            kind,
            lane,
            received_ms,
            replay: read.number("tgw-replay").unwrap_or(0) as u32,
            replayed: read.replayed(),
            traceparent: read.text("traceparent"),
            body,
        });
    }
    match update::peek(&body) {
        Ok(peek) => Ok(Envelope::received(peek, None, None, body)),
        Err(_) => Err(body),
    }
}

fn number<N: std::str::FromStr>(property: &Option<ShortString>) -> Option<N> {
    property.as_ref()?.as_str().parse().ok()
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
        .number("tgw-version", Some(VERSION))
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
        .number("tgw-replayed-at", letter.replayed.as_ref().map(|replayed| replayed.at_ms as i64))
        .text("tgw-replayed-by", letter.replayed.as_ref().map(|replayed| replayed.by.as_str()))
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

/// A letter as it was buried. What somebody put into the queue by hand, or the broker itself (facts R16), is a letter
/// too: poison where the bytes are an update, else malformed.
pub(crate) fn read_letter(properties: &BasicProperties, mut body: Bytes) -> Letter {
    let headers = Read(properties);
    let reason = headers.text("tgw-reason").and_then(|word| Reason::of(&word));
    let Some(reason) = reason else { return not_ours(&headers, body) };
    let update_bytes = headers.number("tgw-update-bytes").and_then(|length| usize::try_from(length).ok());
    let update = body.split_to(update_bytes.unwrap_or(body.len()).min(body.len()));
    let count = |name| headers.number(name).unwrap_or(0) as u32;
    let time = |name| headers.number(name).unwrap_or(0) as u64;
    Letter {
        reason,
        error: headers.text("tgw-error").unwrap_or_default(),
        update_id: headers.number("tgw-update-id").map(|id| id as u64),
        bot: headers.bot(),
        kind: headers.text("tgw-kind").unwrap_or_default(),
        lane: headers.number("tgw-lane"),
        chat_id: headers.number("tgw-chat"),
        user_id: headers.number("tgw-user"),
        route: headers.text("tgw-route"),
        service: headers.text("tgw-service"),
        attempts: count("tgw-attempts"),
        received_ms: time("tgw-received"),
        first_failed_ms: time("tgw-first-failed"),
        last_failed_ms: time("tgw-last-failed"),
        replays: count("tgw-replays"),
        replayed: headers.replayed(),
        traceparent: headers.text("traceparent"),
        body: update,
        rest: (!body.is_empty()).then_some(body),
    }
}

fn not_ours(headers: &Read<'_>, body: Bytes) -> Letter {
    let (bot, traceparent) = (headers.bot(), headers.text("traceparent"));
    let by_broker = headers.text("x-first-death-reason");
    let error = by_broker.map_or_else(
        || "put there by somebody else".to_owned(),
        |why| format!("the broker gave it up: {why}"),
    );
    let letter = Letter::malformed(error, bot, traceparent, body);
    match update::peek(&letter.body) {
        Ok(peek) => Letter {
            reason: Reason::Poison,
            update_id: Some(peek.update_id),
            kind: peek.kind,
            lane: peek.lane,
            chat_id: peek.lane,
            ..letter
        },
        Err(_) => letter,
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
            replayed: Some(Replayed { at_ms: 1_700_000_000_456, by: "ann@host".into(), first_failed_ms: 7 }),
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
        let least =
            Envelope { bot: None, lane: None, replay: 0, replayed: None, traceparent: None, ..envelope(9) };
        for kind in ["", "message", &"\u{1f980}".repeat(64)] {
            let sent = Envelope { kind: kind.to_owned(), ..least.clone() };
            let properties = envelope_properties(&sent);
            assert_eq!(read_envelope(&properties, sent.body.clone()), Ok(sent));
            assert_eq!(properties.headers().is_some(), kind.len() > 255, "a table of headers is dear");
        }
    }

    /// As the first versions wrote it: such messages may wait in people's queues.
    #[test]
    fn an_envelope_that_is_all_headers_is_read_for_ever() {
        let sent = envelope(9);
        let headers = Headers::default()
            .number("tgw-version", Some(1))
            .text("tgw-kind", Some("message"))
            .number("tgw-lane", Some(-5))
            .number("tgw-bot", Some(77))
            .number("tgw-received", Some(1_700_000_000_123))
            .number("tgw-replay", Some(3))
            .number("tgw-replayed-at", Some(1_700_000_000_456))
            .text("tgw-replayed-by", Some("ann@host"))
            .number("tgw-first-failed", Some(7))
            .text("traceparent", sent.traceparent.as_deref());
        let properties = BasicProperties::default().with_message_id("9".into()).with_headers(headers.0);
        // A broker may have put its own time there since.
        let properties = properties.with_timestamp(1_700_000_099);
        assert_eq!(read_envelope(&properties, sent.body.clone()), Ok(sent));
    }

    #[test]
    fn a_letter_comes_out_as_it_went_in() {
        let buried = envelope(9);
        let bare = Letter::malformed("no update".into(), None, None, "nonsense".into());
        let letter = Letter {
            reason: Reason::Telegram,
            update_id: Some(9),
            lane: Some(-5),
            chat_id: Some(-5),
            user_id: Some(5),
            route: Some("text".into()),
            attempts: 2,
            first_failed_ms: 7,
            replays: 3,
            replayed: buried.replayed,
            body: buried.body,
            rest: Some("the rest".into()),
            ..bare.clone()
        };
        for letter in [letter, bare] {
            assert_eq!(read_letter(&letter_properties(&letter), letter_body(&letter)), letter);
        }
    }

    #[test]
    fn a_letter_that_is_not_ours_is_one_all_the_same() {
        let read = |body: &'static str| read_letter(&BasicProperties::default(), body.into());
        let update = read("{\"update_id\":9,\"message\":{\"chat\":{\"id\":4}}}");
        assert_eq!((update.reason, update.update_id, update.lane), (Reason::Poison, Some(9), Some(4)));
        // What the broker gives up has the properties that the update had.
        let properties = envelope_properties(&envelope(9));
        assert_eq!(read_letter(&properties, "{\"update_id\":9}".into()).bot, Some(77));
        assert_eq!(read("nonsense").reason, Reason::Malformed);
    }

    #[test]
    fn a_message_without_our_headers_is_looked_at() {
        let body = Bytes::from_static(b"{\"update_id\":9,\"message\":{\"chat\":{\"id\":4}}}");
        let read = read_envelope(&BasicProperties::default(), body.clone()).unwrap();
        assert_eq!((read.update_id, read.lane, read.kind.as_str()), (9, Some(4), "message"));
        let foreign = BasicProperties::default()
            .with_message_id("5".into())
            .with_type("message".into())
            .with_timestamp(1_700_000_099)
            .with_app_id("shop/2 1700000000123".into());
        assert_eq!(read_envelope(&foreign, body).unwrap().update_id, 9);
        for properties in [BasicProperties::default(), foreign] {
            assert_eq!(read_envelope(&properties, "nonsense".into()), Err("nonsense".into()));
        }
    }
}
