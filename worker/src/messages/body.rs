//! What a service posts: to whom, what, and how urgent. Pure. The messages are read by the reader of answers, so they
//! are what an answer's are; what is of a wrong type beside them is refused, since somebody waits for it.

use serde::{Deserialize, Serialize};
use shared::json::{Json, Object};
use uuid::Uuid;

use super::Refusal;
use crate::reply::Answer;

/// Which goes first where not all can (facts T14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Priority {
    /// Somebody asked and waits. Never held up by Telegram's limit on bulk.
    Reply,
    Notification,
    /// To many at once.
    Broadcast,
}

impl Priority {
    pub const ALL: [Self; 3] = [Self::Reply, Self::Notification, Self::Broadcast];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Notification => "notification",
            Self::Broadcast => "broadcast",
        }
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == word)
    }
}

/// Whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    Chat(i64),
    /// By the name that services have for them.
    User(String),
}

pub struct Body {
    pub to: To,
    /// The forum topic.
    pub thread: Option<i64>,
    pub priority: Priority,
    /// The request that it answers.
    pub request_id: Option<Uuid>,
    pub answer: Answer,
}

impl Body {
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(bytes).map_err(|_| bad("the body is not UTF-8"))?;
        let json = Json::parse(text).map_err(|error| {
            bad(format!("the body is not JSON: line {}, column {}", error.line(), error.column()))
        })?;
        let body = json.object().ok_or_else(|| bad("the body is not a JSON object"))?;
        let request_id = read(&body, "request_id", "the request_id of what is answered", |it| {
            Uuid::parse_str(&it.string()?).ok()
        })?;
        let priority =
            read(&body, "priority", "reply, notification or broadcast", |it| Priority::of(&it.string()?))?;
        let by_default = if request_id.is_some() { Priority::Reply } else { Priority::Notification };
        Ok(Self {
            to: to(&body)?,
            thread: read(&body, "message_thread_id", "a whole number", Json::i64)?,
            priority: priority.unwrap_or(by_default),
            request_id,
            answer: answer(json, &body)?,
        })
    }
}

fn to(body: &Object<'_>) -> Result<To, Refusal> {
    let chat = read(body, "chat_id", "a chat's number", |it| it.i64().filter(|id| *id != 0))?;
    let user = read(body, "user_id", "a text that is not empty", |it| {
        it.string().map(std::borrow::Cow::into_owned).filter(|id| !id.is_empty())
    })?;
    match (chat, user) {
        (Some(chat), None) => Ok(To::Chat(chat)),
        (None, Some(user)) => Ok(To::User(user)),
        (None, None) => Err(bad("chat_id or user_id is missing: whom is it for?")),
        (Some(_), Some(_)) => Err(bad("chat_id and user_id are both there: say one of them")),
    }
}

/// `messages` as an answer has them, or the one message that the body itself is.
fn answer(json: Json<'_>, body: &Object<'_>) -> Result<Answer, Refusal> {
    for field in ["answer", "sticky"] {
        if body.has(field) {
            return Err(bad(format!(
                "{field} belongs to the answer to a request, not to a message of its own"
            )));
        }
    }
    let messages = match body.get("messages") {
        Some(messages) => messages.text(),
        None if body.has("type") => json.text(),
        None => return Err(bad("messages is missing: one message or an array of them, as in an answer")),
    };
    Answer::parse(200, None, messages.as_bytes()).map_err(|error| bad(error.to_string()))
}

/// A field, unless it is not there or null.
fn read<'a, T>(
    body: &Object<'a>,
    field: &str,
    expected: &str,
    read: impl FnOnce(Json<'a>) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    let given = body.get(field).filter(|given| given.text() != "null");
    given.map(|given| read(given).ok_or_else(|| bad(format!("{field} must be {expected}")))).transpose()
}

pub(super) fn bad(why: impl Into<String>) -> Refusal {
    Refusal::Bad(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(body: &str) -> Body {
        Body::read(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"))
    }

    fn why(body: &str) -> String {
        match Body::read(body.as_bytes()) {
            Err(refusal) => refusal.to_string(),
            Ok(_) => panic!("{body} is taken"),
        }
    }

    #[test]
    fn messages_are_what_an_answers_are() {
        let one = r#"{"type":"text","content":"a"}"#;
        for messages in [one.to_owned(), format!("[{one}]"), format!(r#"{{"messages":[{one}]}}"#)] {
            let body = ok(&format!(r#"{{"chat_id":-5,"message_thread_id":7,"messages":{messages},"x":1}}"#));
            assert_eq!((&body.to, body.thread, body.answer.messages.len()), (&To::Chat(-5), Some(7), 1));
        }
        let inline = ok(r#"{"user_id":"anna","type":"text","content":"a","request_id":null}"#);
        assert_eq!((inline.to, inline.answer.messages.len()), (To::User("anna".to_owned()), 1));
    }

    #[test]
    fn an_answer_to_a_request_is_a_reply_unless_it_says_otherwise() {
        let id = "7b9fa372-ec48-506c-8022-a499a9839f5c";
        let of = |more: &str| ok(&format!(r#"{{"chat_id":5,"type":"none"{more}}}"#)).priority;
        assert_eq!(of(""), Priority::Notification);
        assert_eq!(of(&format!(r#","request_id":"{id}""#)), Priority::Reply);
        assert_eq!(of(&format!(r#","request_id":"{id}","priority":"broadcast""#)), Priority::Broadcast);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, named) in [
            ("[1]", "object"),
            ("{", "line 1"),
            (r#"{"type":"none"}"#, "chat_id or user_id"),
            (r#"{"chat_id":5,"user_id":"a","type":"none"}"#, "both"),
            (r#"{"chat_id":"5","type":"none"}"#, "chat_id must be"),
            (r#"{"chat_id":0,"type":"none"}"#, "chat_id must be"),
            (r#"{"user_id":"","type":"none"}"#, "user_id must be"),
            (r#"{"chat_id":5}"#, "messages is missing"),
            (r#"{"chat_id":5,"messages":7}"#, "neither a message"),
            (r#"{"chat_id":5,"type":"hologram"}"#, "unknown type hologram"),
            (r#"{"chat_id":5,"messages":[{"type":"none"},{"type":"text"}]}"#, "message 1 of type text"),
            (r#"{"chat_id":5,"type":"none","priority":"high"}"#, "priority must be reply"),
            (r#"{"chat_id":5,"type":"none","request_id":"1"}"#, "request_id must be"),
            (r#"{"chat_id":5,"type":"none","sticky":null}"#, "sticky belongs"),
        ] {
            assert!(why(body).contains(named), "{body}: {}", why(body));
        }
    }
}
