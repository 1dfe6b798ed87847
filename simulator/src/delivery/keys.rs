//! What delivery must know of an update: its kind, its queue key (facts T1) and how long it is worth
//! sending (facts T4). Read from the raw JSON, so that an update goes out byte for byte as it came.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// None when there is none, or none that can be read.
    pub update_id: Option<i64>,
    /// Whether it has an update_id at all, even a wrong one.
    pub named: bool,
    pub kind: String,
    /// None: waits for nobody.
    pub key: Option<i64>,
    pub lifetime: Duration,
}

/// Where the ids are, in all kinds of update. Whatever else is there is left alone.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Content {
    chat: Option<Id>,
    voter_chat: Option<Id>,
    from: Option<Id>,
    user: Option<Id>,
    /// Whom the change is about, which may be another than the one who made it.
    old_chat_member: Option<Member>,
    /// A poll's own, as text.
    id: Option<Value>,
    poll_id: Option<Value>,
}

#[derive(Deserialize)]
struct Member {
    user: Id,
}

#[derive(Deserialize)]
struct Id {
    id: i64,
}

/// None when the body is no JSON object.
pub(crate) fn read(body: &str) -> Option<Envelope> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(body).ok()?;
    let update_id = fields.get("update_id").and_then(|raw| raw.get().parse().ok());
    let named = fields.contains_key("update_id");
    let content = fields.iter().find(|(name, _)| *name != "update_id");
    let kind = content.map_or("", |(name, _)| name.as_str());
    let ids = content.and_then(|(_, raw)| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let (key, lifetime) = key_and_lifetime(kind, &ids);
    Some(Envelope { update_id, named, kind: kind.to_owned(), key, lifetime })
}

/// The numbers are Telegram's: ids stay below 2^33, so that kinds never share a key.
fn key_and_lifetime(kind: &str, ids: &Content) -> (Option<i64>, Duration) {
    let chat = ids.chat.as_ref().or(ids.voter_chat.as_ref()).map(|chat| chat.id);
    let user = ids.from.as_ref().or(ids.user.as_ref()).map(|user| user.id);
    let member = ids.old_chat_member.as_ref().map(|member| member.user.id).or(user);
    let poll = |id: &Option<Value>| id.as_ref().and_then(Value::as_str)?.parse().ok();
    let shifted = |id: Option<i64>, by: i64| id.and_then(|id| id.checked_add(by << 33));
    let seconds = Duration::from_secs;
    match kind {
        "inline_query" => (shifted(user, 1), seconds(30)),
        "chosen_inline_result" => (shifted(user, 2), seconds(600)),
        "callback_query" => (shifted(user, 3), seconds(150)),
        "shipping_query" | "pre_checkout_query" => (shifted(user, 4), seconds(150)),
        "my_chat_member" => (shifted(chat, 5), DAY),
        "chat_member" => (shifted(member, 6), DAY),
        "chat_join_request" => (shifted(user, 6), DAY),
        "chat_boost" | "removed_chat_boost" => (shifted(chat, 7), DAY),
        "message_reaction" => (shifted(chat, 8), DAY),
        "message_reaction_count" => (shifted(chat, 9), DAY),
        "business_connection" => (shifted(user, 10), DAY),
        "business_message" | "edited_business_message" | "deleted_business_messages" => {
            (shifted(chat, 11), DAY)
        }
        "purchased_paid_media" => (shifted(user, 12), DAY),
        "guest_message" => (shifted(chat, 12), DAY),
        "managed_bot" => (shifted(user, 13), DAY),
        "poll" => (poll(&ids.id), DAY),
        "poll_answer" => (poll(&ids.poll_id), DAY),
        _ => (chat.or(user), DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_and_a_press_of_one_chat_do_not_wait_for_each_other() {
        let text = read(r#"{"update_id":1,"message":{"chat":{"id":7},"from":{"id":7}}}"#).unwrap();
        let edit = read(r#"{"update_id":2,"edited_message":{"chat":{"id":7},"from":{"id":7}}}"#).unwrap();
        let press = read(r#"{"update_id":3,"callback_query":{"from":{"id":7}}}"#).unwrap();
        assert_eq!((text.key, edit.key, press.key), (Some(7), Some(7), Some(7 + (3 << 33))));
        assert_eq!(press.lifetime, Duration::from_secs(150));
    }

    #[test]
    fn each_kind_has_telegrams_key_and_lifetime() {
        const CHAT: i64 = -5;
        const USER: i64 = 7;
        let content = r#"{"id":"99","poll_id":"98","chat":{"id":-5},"from":{"id":7},"user":{"id":7},
            "old_chat_member":{"user":{"id":8}}}"#;
        let day = DAY.as_secs();
        #[rustfmt::skip]
        let cases = [
            ("message", CHAT, 0, day), ("edited_message", CHAT, 0, day), ("channel_post", CHAT, 0, day),
            ("edited_channel_post", CHAT, 0, day), ("something_new", CHAT, 0, day),
            ("poll", 99, 0, day), ("poll_answer", 98, 0, day),
            ("inline_query", USER, 1, 30), ("chosen_inline_result", USER, 2, 600), ("callback_query", USER, 3, 150),
            ("shipping_query", USER, 4, 150), ("pre_checkout_query", USER, 4, 150), ("my_chat_member", CHAT, 5, day),
            ("chat_member", 8, 6, day), ("chat_join_request", USER, 6, day), ("chat_boost", CHAT, 7, day),
            ("removed_chat_boost", CHAT, 7, day), ("message_reaction", CHAT, 8, day),
            ("message_reaction_count", CHAT, 9, day), ("business_connection", USER, 10, day),
            ("business_message", CHAT, 11, day), ("edited_business_message", CHAT, 11, day),
            ("deleted_business_messages", CHAT, 11, day), ("guest_message", CHAT, 12, day),
            ("purchased_paid_media", USER, 12, day), ("managed_bot", USER, 13, day),
        ];
        for (kind, id, kin, lifetime) in cases {
            let update = read(&format!(r#"{{"update_id":1,"{kind}":{content}}}"#)).unwrap();
            let expected = (Some(id + (kin << 33)), Duration::from_secs(lifetime));
            assert_eq!((update.key, update.lifetime), expected, "{kind}");
        }
    }

    #[test]
    fn what_cannot_be_read_waits_for_nobody() {
        for body in [r#"{}"#, r#"{"update_id":1}"#, r#"{"message":5}"#, r#"{"message":{"chat":{"id":"x"}}}"#]
        {
            assert_eq!(read(body).unwrap().key, None, "{body}");
        }
        assert_eq!(read("[]"), None);
        assert_eq!(read("{"), None);
    }
}
