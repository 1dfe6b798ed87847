//! A first look at a raw update: is it one, which is it, whose lane is it in. The bytes themselves travel
//! on untouched (facts T12), so this reads no more than the gateway needs before the queue.

use std::fmt;

use memchr::memchr2_iter;

use crate::json::{Json, Object};

/// Bodies over this many bytes are not read: Telegram's largest event is 512 KiB (facts T4).
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The deepest nesting that is taken (contract 9).
pub const MAX_DEPTH: usize = 128;

/// A kind's name is a word or two; it travels in a header, which must fit in a frame.
const MAX_KIND: usize = 64;

/// What the ingress learns of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek {
    /// 0 or more, fits 63 bits.
    pub update_id: u64,
    /// The name of the first member beside `update_id`, such as `message`; empty where there is none.
    pub kind: String,
    /// What keeps updates in order: the chat's id, else the user's (contract 9).
    pub lane: Option<i64>,
}

/// Why a body is no update. None of these prints any of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the body is over {MAX_BODY_BYTES} bytes")]
    TooLarge,
    #[error("the body is not UTF-8")]
    NotUtf8,
    #[error("the body begins with a byte-order mark")]
    ByteOrderMark,
    #[error("the body is nested deeper than {MAX_DEPTH}")]
    TooDeep,
    #[error("the body is not JSON: line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("the body is not a JSON object")]
    NotAnObject,
    #[error("update_id is missing, or not an integer from 0 to 2^63-1")]
    NoUpdateId,
    #[error("the update is another bot's")]
    AnotherBot,
}

/// Reads what the queue needs to know of an update. Costs no memory beyond a vector of its outermost members, and no stack.
pub fn peek(body: &[u8]) -> Result<Peek, Malformed> {
    let text = text_of(body)?;
    let not_json =
        |error: serde_json::Error| Malformed::NotJson { line: error.line(), column: error.column() };
    let update = Object::parse(text).map_err(not_json)?.ok_or(Malformed::NotAnObject)?;
    let update_id = update.get("update_id").and_then(Json::u64).filter(|id| *id <= i64::MAX as u64);
    let update_id = update_id.ok_or(Malformed::NoUpdateId)?;
    let (kind, lane) = match update.members().find(|(name, _)| *name != "update_id") {
        Some((name, content)) => (name.chars().take(MAX_KIND).collect(), lane(content)),
        None => (String::new(), None),
    };
    Ok(Peek { update_id, kind, lane })
}

/// The text of a body that is UTF-8, has no byte-order mark and is not too deep.
fn text_of(body: &[u8]) -> Result<&str, Malformed> {
    if body.len() > MAX_BODY_BYTES {
        return Err(Malformed::TooLarge);
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err(Malformed::ByteOrderMark);
    }
    let text = std::str::from_utf8(body).map_err(|_| Malformed::NotUtf8)?;
    // Nearly every update has not so many arrays and objects at all, and these are found many bytes at a time.
    let has_many = memchr2_iter(b'{', b'[', body).nth(MAX_DEPTH).is_some();
    if has_many && depth(body) > MAX_DEPTH { Err(Malformed::TooDeep) } else { Ok(text) }
}

/// How deep arrays and objects nest. Counted in one pass, before any parser sees the bytes; on text that
/// is not JSON the figure means nothing, and the parser then says so.
fn depth(body: &[u8]) -> usize {
    let (mut now, mut most, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' if !quoted => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// The ordering key inside an update's content, whatever its kind: so an unknown kind has one too.
/// A callback keeps its chat in its message; a poll answer given in a chat's name has a `voter_chat`.
fn lane(content: Json<'_>) -> Option<i64> {
    let id = |holder: Option<Json<'_>>| holder?.get("id")?.i64();
    // Nearly all have a chat, and what lies behind it need not be looked at.
    id(content.get("chat")).or_else(|| {
        let content = content.object()?;
        id(content.get("message").and_then(|message| message.get("chat")))
            .or_else(|| id(content.get("voter_chat")))
            .or_else(|| id(content.get("from")))
            .or_else(|| id(content.get("user")))
    })
}

impl fmt::Display for Peek {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "update {} ({})", self.update_id, self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ok(body: &str) -> Peek {
        peek(body.as_bytes()).unwrap()
    }

    #[test]
    fn the_lane_is_the_chat_and_else_the_user() {
        let lane_of = |content: &str| ok(&format!(r#"{{"update_id":1,"x":{content}}}"#)).lane;
        assert_eq!(lane_of(r#"{"chat":{"id":-5},"from":{"id":7}}"#), Some(-5));
        assert_eq!(lane_of(r#"{"from":{"id":7},"message":{"chat":{"id":-5}}}"#), Some(-5));
        assert_eq!(lane_of(r#"{"voter_chat":{"id":-9},"user":{"id":7}}"#), Some(-9));
        assert_eq!(lane_of(r#"{"from":{"id":7},"query":"q"}"#), Some(7));
        assert_eq!(lane_of(r#"{"user":{"id":7}}"#), Some(7));
        assert_eq!(lane_of(r#"{"id":"poll"}"#), None);
        assert_eq!(lane_of(r#"{"chat":{"id":"five"},"from":7}"#), None);
        assert_eq!(lane_of("17"), None);
        assert_eq!(
            lane_of(r#"{"chat":5,"chat":{"id":6},"from":{"id":7},"from":{"id":8}}"#),
            Some(7),
            "the first counts"
        );
    }

    #[test]
    fn the_kind_is_the_first_other_key() {
        assert_eq!(ok(r#"{"message":{},"update_id":3}"#).kind, "message");
        assert_eq!(ok(r#"{"update_id":3,"brand_new":1,"message":{}}"#).kind, "brand_new");
        assert_eq!(ok(r#"{"update_id":3}"#).kind, "");
    }

    #[test]
    fn an_update_id_is_an_integer_of_63_bits() {
        for bad in ["-1", "1.0", "1e3", "\"1\"", "null", "9223372036854775808", "[]", "true"] {
            let body = format!(r#"{{"update_id":{bad}}}"#);
            assert_eq!(peek(body.as_bytes()), Err(Malformed::NoUpdateId), "{bad}");
        }
        assert_eq!(ok(r#"{"update_id":9223372036854775807}"#).update_id, i64::MAX as u64);
        assert_eq!(ok(r#"{"update_id":0}"#).update_id, 0);
        assert_eq!(peek(b"{}"), Err(Malformed::NoUpdateId));
    }

    #[test]
    fn what_is_no_update_says_why() {
        assert_eq!(peek(b"[1]"), Err(Malformed::NotAnObject));
        assert_eq!(peek(b"\xef\xbb\xbf{}"), Err(Malformed::ByteOrderMark));
        assert_eq!(peek(b"{\"update_id\":1,\"a\":\"\xff\"}"), Err(Malformed::NotUtf8));
        assert!(matches!(peek(b""), Err(Malformed::NotJson { .. })));
        assert!(matches!(peek(b"{\"update_id\":1"), Err(Malformed::NotJson { .. })));
        assert!(matches!(peek(b"{\"update_id\":1} x"), Err(Malformed::NotJson { .. })));
    }

    #[test]
    fn nesting_of_128_is_taken_and_of_129_refused() {
        let nested = |depth: usize| {
            let inner = depth - 1;
            format!(r#"{{"update_id":1,"message":{}{}}}"#, "[".repeat(inner), "]".repeat(inner))
        };
        assert_eq!(ok(&nested(128)).update_id, 1);
        assert_eq!(peek(nested(129).as_bytes()), Err(Malformed::TooDeep));
        let quoted = format!(r#"{{"update_id":1,"message":"\"{}"}}"#, "[".repeat(1000));
        assert_eq!(ok(&quoted).update_id, 1);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = peek(&body);
        }

        #[test]
        fn no_json_like_text_makes_it_panic(body in r#"[\[\]{}":,\\0-9a-z_ ]{0,200}"#) {
            let _ = peek(body.as_bytes());
        }
    }
}
