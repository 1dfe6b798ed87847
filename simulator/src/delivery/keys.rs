//! What delivery must know of an update: its kind, its queue key (facts T1) and how long it is worth
//! sending (facts T4). Read from the raw JSON, so that an update goes out byte for byte as it came.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
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
    let shifted = |id: Option<i64>, by: i64| id.and_then(|id| id.checked_add(by << 33));
    let seconds = Duration::from_secs;
    match kind {
        "inline_query" => (shifted(user, 1), seconds(30)),
        "chosen_inline_result" => (shifted(user, 2), seconds(600)),
        "callback_query" => (shifted(user, 3), seconds(150)),
        "shipping_query" | "pre_checkout_query" => (shifted(user, 4), seconds(150)),
        "my_chat_member" => (shifted(chat, 5), DAY),
        "chat_member" | "chat_join_request" => (shifted(user, 6), DAY),
        "chat_boost" | "removed_chat_boost" => (shifted(chat, 7), DAY),
        "message_reaction" => (shifted(chat, 8), DAY),
        "message_reaction_count" => (shifted(chat, 9), DAY),
        "business_connection" => (shifted(user, 10), DAY),
        "business_message" | "edited_business_message" | "deleted_business_messages" => {
            (shifted(chat, 11), DAY)
        }
        "purchased_paid_media" => (shifted(user, 12), DAY),
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
    fn what_cannot_be_read_waits_for_nobody() {
        for body in [r#"{}"#, r#"{"update_id":1}"#, r#"{"message":5}"#, r#"{"message":{"chat":{"id":"x"}}}"#]
        {
            assert_eq!(read(body).unwrap().key, None, "{body}");
        }
        assert_eq!(read("[]"), None);
        assert_eq!(read("{"), None);
    }
}
