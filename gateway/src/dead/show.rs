//! A letter whole. What people wrote, their names and what was to be sent to them is masked unless asked for.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use shared::program::Failure;
use shared::queue::Letter;

use super::entry::Entry;
use crate::output::{Output, say};

#[derive(Clone, Copy)]
pub struct How {
    pub output: Output,
    /// Whether texts and names are shown.
    pub text: bool,
}

/// Words of Telegram's and ours, never a person's: all other strings are masked.
const PLAIN: [&str; 13] = [
    "type",
    "status",
    "language_code",
    "kind",
    "method",
    "parse_mode",
    "mime_type",
    "chat_type",
    "data",
    "id",
    "callback_query_id",
    "chat_instance",
    "v",
];

pub fn print(letters: &[(Arc<Entry>, Letter)], how: How) -> Result<(), Failure> {
    let shown: Vec<Value> = letters.iter().map(|(entry, letter)| shown(entry, letter, how.text)).collect();
    if how.output == Output::Json {
        return say(&Value::from(shown).to_string());
    }
    let pretty = shown.iter().map(|letter| serde_json::to_string_pretty(letter).unwrap_or_default());
    pretty.into_iter().try_for_each(|letter| say(&letter))
}

fn shown(entry: &Entry, letter: &Letter, text: bool) -> Value {
    let mut shown = match serde_json::to_value(entry.view()) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    shown.insert("update".to_owned(), content(&letter.body, text));
    if let Some(rest) = &letter.rest {
        shown.insert("rest".to_owned(), content(rest, text));
    }
    if entry.places.len() > 1 {
        shown.insert("copies".to_owned(), json!(entry.places.len()));
    }
    Value::Object(shown)
}

fn content(bytes: &[u8], text: bool) -> Value {
    match serde_json::from_slice(bytes) {
        Ok(value) if text => value,
        Ok(value) => masked("", value),
        Err(_) if text => json!(String::from_utf8_lossy(bytes)),
        Err(_) => json!(format!("({} bytes that are no JSON)", bytes.len())),
    }
}

fn masked(name: &str, value: Value) -> Value {
    match value {
        Value::String(text) if PLAIN.contains(&name) => Value::String(text),
        Value::String(text) => json!(format!("({} characters)", text.chars().count())),
        Value::Array(items) => items.into_iter().map(|item| masked(name, item)).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name.clone(), masked(&name, value))).collect()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_wrote_is_masked_and_what_telegram_says_is_not() {
        let update = json!({"update_id": 7, "message": {"text": "hé", "from": {"first_name": "Ann"}, "chat": {"type": "private"}}});
        let seen = json!({"update_id": 7, "message": {"text": "(2 characters)", "from": {"first_name": "(3 characters)"}, "chat": {"type": "private"}}});
        assert_eq!(content(update.to_string().as_bytes(), false), seen);
        assert_eq!(content(update.to_string().as_bytes(), true), update);
        assert_eq!(content(b"secret", false), json!("(6 bytes that are no JSON)"));
    }
}
