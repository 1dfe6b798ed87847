//! The bodies of contract 4, byte for byte: which fields, in which order, and which may be null. A message
//! goes out as the JSON token that came in, so nothing in it is ever re-encoded.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::incoming::{Incoming, Membership, Text};
use crate::routes::{Found, Shape, Target};

/// What a service is sent. `user_id` is the session's, none while Redis is away.
pub fn request_body(
    shape: Shape,
    incoming: &Incoming,
    found: &Found<'_>,
    user_id: Option<&str>,
    request_id: &str,
) -> Bytes {
    let telegram_user_id = incoming.user.as_ref().map(|user| user.id);
    let mut body = Body::default();
    match shape {
        Shape::Conversation => {
            body.put("user_id", &user_id);
            body.put("telegram_user_id", &telegram_user_id);
            body.put("message", &message(incoming));
        }
        Shape::Matching => {
            // A matching that a command starts has the command's name for its action.
            let command = incoming.command.as_ref().map(|command| command.name.as_str());
            body.put("user_id", &user_id);
            body.put("action", &found.action.as_deref().or(command));
            body.put("target_user_id", &found.param);
        }
        Shape::UserProfile => {
            body.put("telegram_user_id", &telegram_user_id);
            body.put("command", &incoming.command.as_ref().map(|command| &command.name));
        }
        Shape::Notification => {
            body.put("user_id", &user_id);
            body.put("telegram_user_id", &telegram_user_id);
            body.put("event", &incoming.membership.map(event));
        }
        Shape::Own => {
            body.put("user_id", &user_id);
            body.put("telegram_user_id", &telegram_user_id);
            body.put("chat_id", &incoming.chat.map(|chat| chat.id));
            body.put("kind", &incoming.kind);
        }
    }
    body.put("request_id", &request_id);
    put_optional(&mut body, shape, incoming, found);
    body.finish()
}

/// What stands behind the request_id, and only where it applies.
fn put_optional(body: &mut Body, shape: Shape, incoming: &Incoming, found: &Found<'_>) {
    let command = incoming.command.as_ref();
    if shape == Shape::Own {
        body.put_some("message", message(incoming));
        body.put_some("command", command.map(|command| &command.name));
    }
    if matches!(shape, Shape::Own | Shape::UserProfile) {
        match command.and_then(|command| command.raw_args.as_ref()) {
            Some(raw) => body.put("args", raw),
            None => body.put_some("args", command.and_then(|command| command.args.as_ref())),
        }
    }
    if shape == Shape::Own {
        body.put_some("action", found.action.as_ref());
        body.put_some("param", found.param.as_ref());
    }
    if matches!(found.target, Target::Service { with_update: true, .. }) {
        body.put_some("update", serde_json::from_slice::<&RawValue>(&incoming.raw).ok());
    }
}

/// What a user wrote: the text, else the caption.
fn message(incoming: &Incoming) -> Option<&RawValue> {
    let said: Option<&Text> = incoming.text.as_ref().or(incoming.caption.as_ref());
    said.map(|text| text.raw.as_ref())
}

fn event(membership: Membership) -> &'static str {
    match membership {
        Membership::Blocked => "blocked",
        Membership::Unblocked => "unblocked",
    }
}

/// A JSON object in the making, in the order of `put`: the contract's order, for those who read a wire.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn put(&mut self, name: &str, value: &impl Serialize) {
        self.0.extend_from_slice(if self.0.is_empty() { b"{\"" } else { b",\"" });
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        // Strings, numbers and raw JSON always serialize; were it otherwise, null keeps the body valid.
        match serde_json::to_vec(value) {
            Ok(value) => self.0.extend_from_slice(&value),
            Err(_) => self.0.extend_from_slice(b"null"),
        }
    }

    fn put_some(&mut self, name: &str, value: Option<impl Serialize>) {
        if let Some(value) = value {
            self.put(name, &value);
        }
    }

    fn finish(mut self) -> Bytes {
        self.0.push(b'}');
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::schema::{REQUEST, takes};
    use crate::routes::Table;

    const ROUTES: &str = r#"
        [services.own]
        url = "http://own"
        [[routes]]
        service = "own"
        [[routes]]
        callback = "VOTE"
        service = "own"
        update = true
        [[routes]]
        command = "/match"
        service = "own"
        body = "matching"
    "#;

    /// The body that the table's route for this update makes.
    fn body(table: &Table, kind: &str, content: &str) -> String {
        let incoming = Incoming::read(format!(r#"{{"update_id":7,"{kind}":{content}}}"#).as_bytes());
        let found = table.find(&incoming, None).unwrap();
        let Target::Service { shape, .. } = found.target else { panic!("a reply") };
        let body = request_body(shape, &incoming, &found, Some("u1"), "r1");
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(takes(&body.replace("\\ud83d", "?"), REQUEST), "not as the schema says: {body}");
        body
    }

    #[test]
    fn the_built_in_services_get_the_contracts_bodies() {
        let table = Table::builtin();
        for (kind, content, expected) in [
            (
                "message",
                r#"{"from":{"id":42},"text":"a\n\"b\" \ud83d\u00e9"}"#,
                r#"{"user_id":"u1","telegram_user_id":42,"message":"a\n\"b\" \ud83d\u00e9","request_id":"r1"}"#,
            ),
            (
                "callback_query",
                r#"{"id":"9","from":{"id":42},"data":"CONNECT:u2"}"#,
                r#"{"user_id":"u1","action":"CONNECT","target_user_id":"u2","request_id":"r1"}"#,
            ),
            (
                "callback_query",
                r#"{"id":"9","from":{"id":42},"data":"SKIP"}"#,
                r#"{"user_id":"u1","action":"SKIP","target_user_id":null,"request_id":"r1"}"#,
            ),
            (
                "message",
                r#"{"from":{"id":42},"text":"/Help"}"#,
                r#"{"telegram_user_id":42,"command":"/help","request_id":"r1"}"#,
            ),
            (
                "message",
                r#"{"text":"/start ref 7 "}"#,
                r#"{"telegram_user_id":null,"command":"/start","request_id":"r1","args":"ref 7"}"#,
            ),
            (
                "message",
                r#"{"text":"/start \ud83d "}"#,
                r#"{"telegram_user_id":null,"command":"/start","request_id":"r1","args":"\ud83d"}"#,
            ),
            (
                "my_chat_member",
                r#"{"chat":{"id":42,"type":"private"},"from":{"id":42},"new_chat_member":{"status":"kicked"}}"#,
                r#"{"user_id":"u1","telegram_user_id":42,"event":"blocked","request_id":"r1"}"#,
            ),
        ] {
            assert_eq!(body(&table, kind, content), expected);
        }
    }

    #[test]
    fn a_service_of_ones_own_gets_what_applies() {
        let table = Table::parse(ROUTES, "routes.toml", &|_| None).unwrap();
        for (kind, content, expected) in [
            (
                "message",
                r#"{"chat":{"id":-5},"from":{"id":42},"text":"/roll 2d6"}"#,
                r#"{"user_id":"u1","telegram_user_id":42,"chat_id":-5,"kind":"message","request_id":"r1","message":"/roll 2d6","command":"/roll","args":"2d6"}"#,
            ),
            (
                "message",
                r#"{"chat":{"id":-5},"photo":[],"caption":"me"}"#,
                r#"{"user_id":"u1","telegram_user_id":null,"chat_id":-5,"kind":"message","request_id":"r1","message":"me"}"#,
            ),
            (
                "callback_query",
                r#"{"id":"9","from":{"id":42},"data":"RATE:5"}"#,
                r#"{"user_id":"u1","telegram_user_id":42,"chat_id":null,"kind":"callback_query","request_id":"r1","action":"RATE","param":"5"}"#,
            ),
            (
                "callback_query",
                r#"{"id":"9","from":{"id":42},"data":"VOTE"}"#,
                r#"{"user_id":"u1","telegram_user_id":42,"chat_id":null,"kind":"callback_query","request_id":"r1","action":"VOTE","update":{"update_id":7,"callback_query":{"id":"9","from":{"id":42},"data":"VOTE"}}}"#,
            ),
            (
                "message",
                r#"{"from":{"id":42},"text":"/match"}"#,
                r#"{"user_id":"u1","action":"/match","target_user_id":null,"request_id":"r1"}"#,
            ),
        ] {
            assert_eq!(body(&table, kind, content), expected);
        }
    }

    #[test]
    fn without_a_session_the_user_id_is_null() {
        let incoming = Incoming::read(br#"{"update_id":7,"message":{"text":"x"}}"#);
        let table = Table::builtin();
        let found = table.find(&incoming, None).unwrap();
        let body = request_body(Shape::Conversation, &incoming, &found, None, "r1");
        assert_eq!(body, r#"{"user_id":null,"telegram_user_id":null,"message":"x","request_id":"r1"}"#);
    }
}
