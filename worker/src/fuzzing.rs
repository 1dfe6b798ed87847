//! What must hold of whatever services answer and operators write: a service's answer on its way to calls
//! of the Bot API, and a routes file. One place for it, which the fuzz targets of `fuzz/` and the tests on
//! stable Rust both call. No part of the product: it is built for these two alone.
//!
//! A property that does not hold panics, as a fuzzer expects it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(test)]
#[path = "../../fuzz/stable.rs"]
mod stable;

use std::sync::LazyLock;

use crate::incoming::Incoming;
use crate::reply::{Answer, Call, Message, answer_callback, calls, seen};
use crate::routes::{Found, Table, Target};

/// One of each that makes a difference: a text, a command, a button in a chat, one of an inline message,
/// one with nothing in it.
static UPDATES: LazyLock<Vec<Incoming>> = LazyLock::new(|| {
    let read = |update: &str| Incoming::read(format!(r#"{{"update_id":7,{update}}}"#).as_bytes());
    let chat = r#""message_id":5,"chat":{"id":42,"type":"private"},"from":{"id":42}"#;
    vec![
        read(&format!(r#""message":{{{chat},"text":"hi there"}}"#)),
        read(&format!(
            r#""message":{{{chat},"text":"/weather Rome","entities":[{{"type":"bot_command","offset":0,"length":8}}]}}"#
        )),
        read(&format!(
            r#""callback_query":{{"id":"99","from":{{"id":42}},"data":"VOTE:42:x","message":{{{chat}}}}}"#
        )),
        read(r#""callback_query":{"id":"99","from":{"id":42},"data":"A","inline_message_id":"in"}"#),
        read(r#""poll":{"id":"1"}"#),
    ]
});

/// A service's answer: the first line says status and content type, the rest is the body.
pub fn check_answer(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (head, body) = data.split_at(end);
    let head = String::from_utf8_lossy(head);
    let (status, kind) = head.split_once(' ').unwrap_or(("200", ""));
    let kind = (!kind.is_empty()).then_some(kind);
    match Answer::parse(status.parse().unwrap_or(200), kind, body) {
        Err(error) => says_little(&error.to_string()),
        Ok(answer) => UPDATES.iter().for_each(|update| formats(&answer, update)),
    }
}

fn formats(answer: &Answer, update: &Incoming) {
    match calls(answer, update) {
        Err(error) => says_little(&error.to_string()),
        Ok(calls) => {
            calls.iter().for_each(can_be_kept);
            // What a method that the service named is sent is the service's own affair.
            if !answer.messages.iter().any(|message| matches!(message, Message::Method { .. })) {
                calls.iter().for_each(is_of_a_length);
                loses_nothing(&answer.messages, &calls);
            }
        }
    }
    let toast = answer_callback(update, answer.answer.as_ref());
    assert_eq!(toast.is_some(), update.callback.is_some());
    if let Some(call) = toast {
        assert!(length(&call, "text").is_none_or(|length| (1..=200).contains(&length)));
        can_be_kept(&call);
    }
}

/// What an error may say of an answer is no more than a name in it.
fn says_little(error: &str) {
    assert!(error.len() <= 200 && !error.contains('\n'), "{error}");
}

/// Telegram takes so much (facts T13), and nothing that is blank.
fn is_of_a_length(call: &Call) {
    assert!(length(call, "text").is_none_or(|length| (1..=4096).contains(&length)));
    assert!(length(call, "caption").is_none_or(|length| (1..=1024).contains(&length)));
}

fn length(call: &Call, param: &str) -> Option<usize> {
    let text = call.params.get(param)?.as_str().unwrap();
    assert!(!text.trim().is_empty(), "a blank {param}");
    Some(text.chars().count())
}

/// Texts are split, never cut: only space at the seams may go. Of one that is marked, what is seen is there in its order, and
/// beside it what closes marks at a seam and opens them again.
fn loses_nothing(messages: &[Message], calls: &[Call]) {
    let said = messages.iter().filter_map(|message| match message {
        Message::Text(writing) | Message::Edit { writing, .. } => Some(writing),
        Message::Media { caption, .. } => caption.as_ref(),
        _ => None,
    });
    let sent =
        calls.iter().filter_map(|call| call.params.get("text").or(call.params.get("caption"))?.as_str());
    let mut sent = sent.flat_map(str::chars).filter(|char| !char.is_whitespace());
    let mut is_marked = false;
    for writing in said {
        let seen = seen(&writing.text, writing.parse_mode.as_deref());
        let text = seen.as_deref().unwrap_or(&writing.text);
        for char in text.chars().filter(|char| !char.is_whitespace()) {
            let next =
                if is_marked || seen.is_some() { sent.find(|sent| *sent == char) } else { sent.next() };
            assert!(next == Some(char), "a text lost something on its way");
        }
        is_marked |= seen.is_some();
    }
    assert!(is_marked || sent.next().is_none(), "a text got something on its way");
}

/// A plan is stored as JSON and read again. The method's name becomes part of a URL.
fn can_be_kept(call: &Call) {
    assert!(
        (1..=64).contains(&call.method.len()) && call.method.bytes().all(|byte| byte.is_ascii_alphabetic())
    );
    let kept: Call = serde_json::from_slice(&serde_json::to_vec(call).unwrap()).unwrap();
    assert!(kept.method == call.method && kept.params.keys().eq(call.params.keys()));
}

/// A routes file: a table that answers every update alike each time, or errors that say where, each in one
/// line, none with what a variable holds.
pub fn check_routes(data: &[u8]) {
    const SECRET: &str = "hunter2";
    let Ok(text) = std::str::from_utf8(data) else { return };
    let env = |name: &str| match name {
        "HOST" => Some(format!("http://{SECRET}/")),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    match Table::parse(text, "routes.toml", &env) {
        Ok(table) => UPDATES.iter().for_each(|update| finds(&table, update)),
        Err(errors) => {
            assert!(!errors.is_empty() && errors.is_sorted_by_key(|error| error.line));
            for error in &errors {
                let (lines, told) = (text.split('\n').count(), error.to_string());
                assert!((1..=lines).contains(&error.line), "line {} of {lines}", error.line);
                assert!(!told.contains('\n'), "{told:?}");
                assert!(text.contains(SECRET) || !told.contains(SECRET), "{told:?}");
            }
        }
    }
}

fn finds(table: &Table, update: &Incoming) {
    for sticky in [None, Some("conversation"), Some("nobody")] {
        let found = table.find_with_sticky(update, Some("sample_bot"), sticky);
        assert_eq!(found, table.find_with_sticky(update, Some("sample_bot"), sticky));
        let Some(Found { route, target, action, .. }) = found else { continue };
        assert!(!route.is_empty());
        assert!(action.is_none() || update.callback.is_some());
        match target {
            Target::Service { service, .. } => {
                assert!(table.known_services().any(|known| known == service));
            }
            Target::Reply(text) => assert!(!text.trim().is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_service_answers_becomes_calls_that_can_be_sent_or_an_error() {
        stable::run("answer", check_answer);
    }

    #[test]
    fn whatever_a_routes_file_says_becomes_a_table_or_errors_with_their_lines() {
        stable::run("routes", check_routes);
    }
}
