//! A chat as the person in it sees it: no ids of files, no deleted messages, buttons as they are shown.

use serde::Serialize;
use serde_json::Value;

use crate::state::World;
use crate::state::chats::{Chat, ShownAnswer};
use crate::state::message::Stored;

/// A chat action shows for so long (facts T13).
const ACTION_MS: i64 = 5000;

#[derive(Debug, Clone, Serialize)]
pub struct ChatView {
    pub id: i64,
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    pub blocked: bool,
    /// The chat action that shows now, such as `typing`.
    pub action: Option<String>,
    /// In order; deleted ones are absent.
    pub messages: Vec<MessageView>,
    /// What answerCallbackQuery showed, oldest first; the last 100.
    pub answers: Vec<Answer>,
}

#[derive(Debug, Clone, Serialize)]
pub struct MessageView {
    pub message_id: i64,
    /// `bot` or `user`.
    pub from: &'static str,
    pub from_name: Option<String>,
    /// `text`, `photo`, `document` and so on.
    pub kind: String,
    /// The text or the caption.
    pub text: String,
    pub entities: Vec<Value>,
    /// Rows of buttons, as the bot gave them.
    pub buttons: Vec<Vec<Value>>,
    /// The URL or file_id of what is not text.
    pub media: Option<String>,
    /// What a message without text holds: a location, a contact, a die.
    pub content: Option<Value>,
    pub edited: bool,
    pub reply_to: Option<i64>,
    pub date: i64,
    pub at_ms: i64,
    pub edited_at_ms: Option<i64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    pub callback_query_id: String,
    pub message_id: Option<i64>,
    pub text: Option<String>,
    pub show_alert: bool,
    pub url: Option<String>,
    pub at_ms: i64,
}

/// A chat that nobody used yet is empty.
pub(super) fn chat(world: &World, chat_id: i64) -> ChatView {
    let now_ms = world.clock.now_ms();
    let mut chats = world.chats();
    let blocked = chats.blocked.contains(&chat_id);
    let chat = chats.open(chat_id);
    ChatView {
        id: chat.id,
        kind: chat.kind.clone(),
        name: chat.name.clone(),
        blocked,
        action: action(chat, now_ms),
        messages: chat.messages.iter().map(|(id, message)| view(*id, message)).collect(),
        answers: chat.answers.iter().map(answer).collect(),
    }
}

fn action(chat: &Chat, now_ms: i64) -> Option<String> {
    let (action, at_ms) = chat.action.as_ref()?;
    (now_ms - at_ms < ACTION_MS).then(|| action.clone())
}

fn view(message_id: i64, message: &Stored) -> MessageView {
    let wire = &message.wire;
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let rows = list(wire.get("reply_markup").and_then(|markup| markup.get("inline_keyboard")));
    let entities = list(wire.get("entities").or_else(|| wire.get("caption_entities")));
    let kind = kind(message);
    MessageView {
        message_id,
        from: if message.from_bot { "bot" } else { "user" },
        from_name: wire.get("from").and_then(|from| from["first_name"].as_str()).map(str::to_owned),
        text: message.text().unwrap_or_default().to_owned(),
        entities,
        buttons: rows.iter().map(|row| list(Some(row))).collect(),
        media: message.media.clone(),
        content: wire.get(&kind).filter(|_| kind != "text").cloned(),
        kind,
        edited: message.edited_at_ms.is_some(),
        reply_to: wire.get("reply_to_message").and_then(|replied| replied["message_id"].as_i64()),
        date: wire.get("date").and_then(Value::as_i64).unwrap_or(0),
        at_ms: message.at_ms,
        edited_at_ms: message.edited_at_ms,
    }
}

/// The field that says what the message is: the first that is not about its circumstances.
fn kind(message: &Stored) -> String {
    const KINDS: [&str; 14] = [
        "text",
        "photo",
        "document",
        "voice",
        "audio",
        "video",
        "video_note",
        "animation",
        "sticker",
        "venue",
        "location",
        "contact",
        "dice",
        "poll",
    ];
    let kind = KINDS.into_iter().find(|kind| message.wire.contains_key(*kind));
    kind.unwrap_or("other").to_owned()
}

fn answer(shown: &ShownAnswer) -> Answer {
    Answer {
        callback_query_id: shown.callback_query_id.clone(),
        message_id: shown.message_id,
        text: shown.text.clone(),
        show_alert: shown.show_alert,
        url: shown.url.clone(),
        at_ms: shown.at_ms,
    }
}
