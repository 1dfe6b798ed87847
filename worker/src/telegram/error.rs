//! What the Bot API's answers mean, as what to do next (facts T15, T16). Pure.

use std::time::Duration;

use serde::Deserialize;

/// Why a call did not do what it was to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Too many requests: not before this has passed.
    RetryAfter(Duration),
    /// The group has become a supergroup: the same to this chat.
    Migrated(i64),
    /// The entities can't be parsed: the same without `parse_mode`.
    BadEntities,
    /// The chat will not take anything: blocked, kicked, deactivated, gone. Nothing more goes there now.
    ChatClosed(String),
    /// This call will not succeed, another one to the same chat may.
    Refused(String),
    /// 401 or 404: the token, unless it was the method that is unknown.
    Token(u16),
    /// No answer, or 5xx. `ambiguous` is whether Telegram may have done it all the same (facts T17).
    Failed { why: String, ambiguous: bool },
}

/// The body of every answer of the Bot API.
#[derive(Debug, Deserialize)]
pub struct ApiAnswer {
    ok: bool,
    #[serde(default)]
    error_code: u16,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Option<Parameters>,
}

#[derive(Debug, Default, Deserialize)]
struct Parameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

/// 403 in all its words, and the 400s that mean as much, in lower case.
const CLOSED: [&str; 7] = [
    "chat not found",
    "user is deactivated",
    "bot was kicked",
    "bot is not a member",
    "group chat was deactivated",
    "not enough rights to send",
    "have no rights to send",
];

/// Reads an answer; `status` is HTTP's and `retry_after` its header, for a server that sends no body of
/// Telegram's kind.
pub fn read(status: u16, retry_after: Option<u64>, body: &[u8]) -> Result<(), CallError> {
    let Ok(answer) = serde_json::from_slice::<ApiAnswer>(body) else {
        return match status {
            429 => Err(CallError::RetryAfter(Duration::from_secs(retry_after.unwrap_or(1)))),
            401 | 404 => Err(CallError::Token(status)),
            _ => Err(CallError::Failed {
                why: format!("HTTP {status}, not an answer of the Bot API"),
                ambiguous: may_be_done(status),
            }),
        };
    };
    if answer.ok { Ok(()) } else { classify(status, retry_after, answer) }
}

/// Whether a call may have been carried out that was answered so, and not in the Bot API's words: a server that stands before
/// it says 502 or 504 where it has passed the call on and knows no answer, and a 200 that can't be read was cut off.
fn may_be_done(status: u16) -> bool {
    matches!(status, 200..=299 | 502 | 504)
}

fn classify(status: u16, header: Option<u64>, answer: ApiAnswer) -> Result<(), CallError> {
    let code = if answer.error_code == 0 { status } else { answer.error_code };
    let parameters = answer.parameters.unwrap_or_default();
    let said = answer.description.to_ascii_lowercase();
    let words = || words(code, &said);
    if let Some(chat) = parameters.migrate_to_chat_id {
        return Err(CallError::Migrated(chat));
    }
    Err(match code {
        429 => CallError::RetryAfter(Duration::from_secs(parameters.retry_after.or(header).unwrap_or(1))),
        401 | 404 => CallError::Token(code),
        400 if said.contains("message is not modified") => return Ok(()),
        400 if said.contains("can't parse entities") => CallError::BadEntities,
        403 => CallError::ChatClosed(words()),
        400 if CLOSED.iter().any(|closed| said.contains(closed)) => CallError::ChatClosed(words()),
        400..=499 => CallError::Refused(words()),
        _ => CallError::Failed { why: words(), ambiguous: false },
    })
}

/// What Telegram says when it refuses, as far as it is known. Its own words are not kept: they can quote
/// the message, with or without quotation marks.
const PHRASES: [&str; 24] = [
    "bot was blocked by the user",
    "bot was kicked",
    "bot is not a member",
    "bot can't initiate conversation with a user",
    "user is deactivated",
    "group chat was deactivated",
    "chat not found",
    "user not found",
    "not enough rights",
    "have no rights to send",
    "need administrator rights",
    "message to edit not found",
    "message to delete not found",
    "message to be replied not found",
    "message can't be edited",
    "message can't be deleted",
    "message text is empty",
    "message is too long",
    "message_too_long",
    "query is too old",
    "button_data_invalid",
    "wrong file identifier",
    "failed to get http url content",
    "topic_closed",
];

/// The code, and the phrase that Telegram used if it is a known one.
fn words(code: u16, said: &str) -> String {
    match PHRASES.iter().find(|phrase| said.contains(**phrase)) {
        Some(phrase) => format!("{code}: {phrase}"),
        None => code.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: u16, description: &str) -> Result<(), CallError> {
        let body = serde_json::json!({"ok": false, "error_code": code, "description": description});
        read(code, None, body.to_string().as_bytes())
    }

    #[test]
    fn what_is_no_answer_of_the_bot_api_may_hide_that_it_was_done() {
        for (status, body, expected) in [
            (504, "<html>Gateway Time-out</html>", true),
            (502, "", true),
            (200, r#"{"ok":true,"result":{"message_id":5,"te"#, true),
            (500, "<html>", false),
            (503, "", false),
            (400, "?", false),
        ] {
            let told = read(status, None, body.as_bytes());
            let Err(CallError::Failed { ambiguous, .. }) = told else { panic!("{status}: {told:?}") };
            assert_eq!(ambiguous, expected, "{status}");
        }
    }

    #[test]
    fn an_error_is_named_by_what_to_do_next() {
        let closed = |result| matches!(result, Err(CallError::ChatClosed(_)));
        assert_eq!(told(400, "Bad Request: message is not modified: specified new …"), Ok(()));
        assert_eq!(told(400, "Bad Request: can't parse entities: …"), Err(CallError::BadEntities));
        assert!(closed(told(403, "Forbidden: bot was blocked by the user")));
        assert!(closed(told(403, "Forbidden: user is deactivated")));
        assert!(closed(told(400, "Bad Request: chat not found")));
        assert!(matches!(told(400, "Bad Request: message to edit not found"), Err(CallError::Refused(_))));
        assert!(matches!(
            told(400, "Bad Request: query is too old and response …"),
            Err(CallError::Refused(_))
        ));
        assert_eq!(told(401, "Unauthorized"), Err(CallError::Token(401)));
        assert_eq!(told(404, "Not Found"), Err(CallError::Token(404)));
        assert!(matches!(told(502, "Bad Gateway"), Err(CallError::Failed { ambiguous: false, .. })));
    }

    #[test]
    fn a_429_says_how_long_in_its_body_or_in_its_header() {
        let wait = |seconds| Err(CallError::RetryAfter(Duration::from_secs(seconds)));
        let body = br#"{"ok":false,"error_code":429,"description":"x","parameters":{"retry_after":7}}"#;
        assert_eq!(read(429, Some(3), body), wait(7));
        assert_eq!(read(429, Some(3), b"<html>"), wait(3));
        assert_eq!(told(429, "Too Many Requests"), wait(1));
    }

    #[test]
    fn a_migrated_group_names_its_new_chat() {
        let body =
            br#"{"ok":false,"error_code":400,"description":"x","parameters":{"migrate_to_chat_id":-100}}"#;
        assert_eq!(read(400, None, body), Err(CallError::Migrated(-100)));
    }

    #[test]
    fn no_word_of_a_message_is_kept() {
        for said in [
            "unsupported tag \"my secret\"",
            "URL 'my secret' is invalid",
            "my secret",
            "chat not found my secret",
        ] {
            for code in [400, 403, 500] {
                let error = format!("{:?}", told(code, said));
                assert!(!error.contains("secret"), "{error}");
            }
        }
        assert_eq!(
            told(403, "Forbidden: bot was blocked by the user").unwrap_err(),
            CallError::ChatClosed("403: bot was blocked by the user".to_owned())
        );
    }

    #[test]
    fn an_answer_that_is_not_telegrams_is_a_failure() {
        assert!(matches!(read(200, None, b"<html>"), Err(CallError::Failed { .. })));
        assert!(matches!(read(502, None, b""), Err(CallError::Failed { .. })));
    }
}
