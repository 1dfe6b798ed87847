//! A message in the queue: an envelope whose body has the shape of an update, of a kind of our own, so that who reads
//! updates finds its chat; in it the calls that it comes to. Pure.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::queue::{Bulk, Envelope};
use uuid::Uuid;

use super::body::Priority;
use super::id;
use crate::reply::Call;

/// No kind of Telegram's has a dot.
const REPLY: &str = "tgw.reply";
const NOTIFICATION: &str = "tgw.notification";
const BROADCAST: &str = "tgw.broadcast";

/// A wire type: it lies in the queue, and in a dead letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queued {
    /// The version of this shape.
    pub v: u32,
    /// The request that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Uuid>,
    /// What is to be sent, in this order.
    pub calls: Vec<Call>,
}

const VERSION: u32 = 1;

impl Queued {
    pub fn new(request_id: Option<Uuid>, calls: Vec<Call>) -> Self {
        Self { v: VERSION, request_id, calls }
    }

    /// The envelope for its chat's partition. None where its calls are nested deeper than anybody reads.
    pub fn envelope(
        &self,
        id: u64,
        bot: u64,
        chat: i64,
        priority: Priority,
        received_ms: u64,
    ) -> Option<Envelope> {
        let kind = kind(priority);
        let mut inner = serde_json::to_value(self).ok()?;
        inner["chat"] = json!({"id": chat});
        // A private chat has its user's number: so a letter tells whose it is.
        if chat > 0 {
            inner["from"] = json!({"id": chat});
        }
        let body = Bytes::from(json!({"update_id": id, kind: inner}).to_string());
        let envelope = Envelope {
            update_id: id,
            bot: Some(bot),
            kind: kind.to_owned(),
            lane: Some(chat),
            received_ms,
            replay: 0,
            replayed: None,
            traceparent: None,
            body,
        };
        Self::read(&envelope).map(|_| envelope)
    }

    /// What is in an envelope; none where it is of a later version, or broken.
    pub fn read(envelope: &Envelope) -> Option<Self> {
        let mut body: Value = serde_json::from_slice(&envelope.body).ok()?;
        let inner = body.get_mut(&envelope.kind)?.take();
        serde_json::from_value(inner).ok().filter(|queued: &Self| queued.v <= VERSION)
    }
}

/// Where an envelope waits that is no reply and no update.
pub fn bulk_of(envelope: &Envelope) -> Option<Bulk> {
    match envelope.kind.as_str() {
        NOTIFICATION if is_message(envelope) => Some(Bulk::Notifications),
        BROADCAST if is_message(envelope) => Some(Bulk::Broadcasts),
        _ => None,
    }
}

/// Whether an envelope holds a message and no update.
pub fn is_message(envelope: &Envelope) -> bool {
    envelope.update_id >= id::FIRST && [REPLY, NOTIFICATION, BROADCAST].contains(&envelope.kind.as_str())
}

fn kind(priority: Priority) -> &'static str {
    match priority {
        Priority::Reply => REPLY,
        Priority::Notification => NOTIFICATION,
        Priority::Broadcast => BROADCAST,
    }
}

#[cfg(test)]
mod tests {
    use shared::update::peek;

    use super::*;
    use crate::incoming::Incoming;

    fn queued() -> Queued {
        Queued::new(None, vec![Call::new("sendMessage").with("chat_id", 5).with("text", "hi")])
    }

    /// Written by version 1: messages like this lie in people's queues.
    const GOLDEN: &str = r#"{"update_id":4611686018427387904,"tgw.reply":{"v":1,"chat":{"id":5},"from":{"id":5},"request_id":"7b9fa372-ec48-506c-8022-a499a9839f5c","calls":[{"method":"sendMessage","params":{"chat_id":5,"text":"hi"}}]}}"#;

    #[test]
    fn a_message_of_version_1_is_read_for_ever() {
        let body = Bytes::from_static(GOLDEN.as_bytes());
        let envelope = Envelope::received(peek(&body).unwrap(), Some(1), None, body);
        assert!(is_message(&envelope));
        let read = Queued::read(&envelope).unwrap();
        assert_eq!(
            read.request_id.map(|id| id.to_string()).as_deref(),
            Some("7b9fa372-ec48-506c-8022-a499a9839f5c")
        );
        assert_eq!(read.calls, queued().calls);
        let later = Envelope { body: GOLDEN.replace("\"v\":1", "\"v\":2").into(), ..envelope };
        assert_eq!(Queued::read(&later), None);
    }

    #[test]
    fn what_is_queued_comes_out_again_and_looks_like_an_update() {
        for priority in Priority::ALL {
            for chat in [5, -1_001_234] {
                let envelope = queued().envelope(id::FIRST + 7, 99, chat, priority, 1).unwrap();
                assert_eq!(Queued::read(&envelope), Some(queued()));
                assert!(is_message(&envelope));
                let peeked = peek(&envelope.body).unwrap();
                assert_eq!(
                    (peeked.update_id, &peeked.kind, peeked.lane),
                    (envelope.update_id, &envelope.kind, Some(chat))
                );
                let incoming = Incoming::from_bytes(envelope.body);
                assert_eq!(incoming.chat.map(|chat| chat.id), Some(chat));
                assert_eq!(incoming.user.map(|user| user.id), (chat > 0).then_some(chat));
            }
        }
    }

    #[test]
    fn an_update_of_telegrams_is_none_whatever_it_is_called() {
        let body = Bytes::from_static(br#"{"update_id":7,"tgw.reply":{"v":1,"calls":[]}}"#);
        assert!(!is_message(&Envelope::received(peek(&body).unwrap(), None, None, body)));
    }

    #[test]
    fn what_nobody_could_read_is_not_queued() {
        let deep = (0..125).fold(json!(1), |inner, _| json!([inner]));
        let queued = Queued::new(None, vec![Call::new("sendMessage").with("x", deep)]);
        assert!(queued.envelope(id::FIRST, 1, 5, Priority::Reply, 1).is_none());
    }
}
