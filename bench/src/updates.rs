//! The updates that all are sent: texts of half a KiB, as Telegram writes them, each with a mark that comes back in
//! its answer, so that the sink knows which were answered.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::message::find;
use crate::sink::MARKS;

pub const SECRET: &str = "BENCHSECRET-0123456789abcdef";
pub const SECRET_HEADER: &str = "X-Telegram-Bot-Api-Secret-Token";
pub const PATH: &str = "/webhook/telegram";

/// More than are sent in the few seconds of one measurement.
pub const MANY: u64 = 1_000_000;

const MARK: &[u8] = b"mark";

/// A run of updates over so many chats, with marks that no other run has.
#[derive(Clone, Debug)]
pub struct Updates {
    pub first: u64,
    chats: u64,
    date: i64,
}

impl Updates {
    /// Room for `count` of them, in turn over `chats` chats.
    pub fn new(count: u64, chats: u64) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let first = NEXT.fetch_add(count, Ordering::Relaxed);
        assert!(first + count <= MARKS, "a run of so many rounds needs more marks");
        Self { first, chats, date: harness::now() }
    }

    /// The chat of the update with this number, from 0 on.
    pub fn chat(&self, number: u64) -> u64 {
        5_000_000_000 + number % self.chats
    }

    pub fn body(&self, number: u64) -> String {
        let (mark, chat, date) = (self.first + number, self.chat(number), self.date);
        format!(
            "{{\"update_id\":{update_id},\"message\":{{\"message_id\":{message_id},\"from\":{{\"id\":{chat},\
             \"is_bot\":false,\"first_name\":\"Ada\",\"last_name\":\"Lovelace\",\"username\":\"ada_{chat}\",\
             \"language_code\":\"en\",\"is_premium\":true}},\"chat\":{{\"id\":{chat},\"first_name\":\"Ada\",\
             \"last_name\":\"Lovelace\",\"username\":\"ada_{chat}\",\"type\":\"private\"}},\"date\":{date},\
             \"text\":\"mark{mark}. Could you find me somebody who likes to talk about analytical engines, and who \
             has an hour on Thursday?\"}}}}",
            update_id = 700_000_000 + mark,
            message_id = 1000 + mark,
        )
    }

    /// A whole request.
    pub fn request(&self, number: u64, path: &str) -> Vec<u8> {
        let body = self.body(number);
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{SECRET_HEADER}: \
             {SECRET}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body.as_bytes());
        request
    }
}

/// The mark in an update, in what a service is asked, or in a message to a chat.
pub fn mark(text: &[u8]) -> Option<u64> {
    let digits = &text[find(text, MARK)? + MARK.len()..];
    let digits = digits.split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_json_of_half_a_kib_and_its_mark_is_found() {
        let updates = Updates::new(10, 3);
        let body = updates.body(4);
        let update: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(update["message"]["chat"]["id"], updates.chat(4));
        assert_eq!(mark(body.as_bytes()), Some(updates.first + 4));
        assert!((450..560).contains(&body.len()), "{}", body.len());
        assert!(Updates::new(1, 3).first >= updates.first + 10);
    }
}
