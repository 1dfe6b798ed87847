//! A message as the chat keeps it: Telegram's own JSON, and what only the person's side knows.

use serde_json::{Map, Value};

#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// The Message object as the Bot API shows it.
    pub wire: Map<String, Value>,
    pub from_bot: bool,
    pub at_ms: i64,
    pub edited_at_ms: Option<i64>,
    /// The URL or file_id that the bot gave; the wire form holds only a made-up file_id.
    pub media: Option<String>,
}

impl Stored {
    pub fn new(wire: Map<String, Value>, from_bot: bool, at_ms: i64) -> Self {
        Self { wire, from_bot, at_ms, edited_at_ms: None, media: None }
    }

    pub fn text(&self) -> Option<&str> {
        let text = self.wire.get("text").or_else(|| self.wire.get("caption"));
        text.and_then(Value::as_str)
    }

    /// What makes two versions of a message the same to editMessageText and its kin.
    pub fn content(&self) -> [Option<&Value>; 10] {
        let own = ["text", "entities", "caption", "caption_entities", "reply_markup"];
        let media = ["photo", "video", "audio", "document", "animation"];
        std::array::from_fn(|index| self.wire.get(if index < 5 { own[index] } else { media[index - 5] }))
    }

    /// Sets the field, or removes it.
    pub fn set(&mut self, field: &str, value: Option<Value>) {
        match value {
            Some(value) => self.wire.insert(field.to_owned(), value),
            None => self.wire.remove(field),
        };
    }
}
