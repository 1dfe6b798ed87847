//! What a service may answer (contract 4), as types: the published schema is made of them. The worker itself reads
//! answers by hand (`answer`, `message`), since it forgives more than it promises and passes on what no Rust string
//! holds; the tests in `schema` hold the two together.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// One message, an array of them, or an object with messages. Unknown fields are ignored.
#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(title = "What a service answers")]
#[serde(untagged)]
pub enum ServiceAnswer {
    Messages(Vec<Message>),
    Several(Several),
    One(Box<One>),
}

/// Messages, in the order in which they are sent.
#[derive(Deserialize, Serialize, JsonSchema)]
pub struct Several {
    pub messages: Vec<Message>,
    #[serde(flatten)]
    pub beside: Beside,
}

/// One message.
#[derive(Deserialize, Serialize, JsonSchema)]
pub struct One {
    #[serde(flatten)]
    pub message: Message,
    #[serde(flatten)]
    pub beside: Beside,
}

/// What may stand beside the messages.
#[derive(Deserialize, Serialize, JsonSchema)]
pub struct Beside {
    /// The user's internal id from now on.
    #[schemars(length(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// What the user sees on the button that was pressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Toast>,
    /// This user's free texts in this chat go there for so long, after commands, before text patterns; null ends it.
    #[serde(default, deserialize_with = "also_null", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Sticky>")]
    pub sticky: Option<Option<Sticky>>,
}

/// Null is something else than nothing.
fn also_null<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Option<Sticky>>, D::Error> {
    Option::deserialize(reader).map(Some)
}

/// A toast, or an alert to click away.
#[derive(Deserialize, Serialize, JsonSchema)]
pub struct Toast {
    #[schemars(length(max = 200))]
    pub text: Option<String>,
    pub show_alert: Option<bool>,
}

/// Where free texts go.
#[derive(Deserialize, Serialize, JsonSchema)]
pub struct Sticky {
    /// One that the routing table knows.
    pub service: String,
    /// Free texts do not renew it. At most a year; 0 ends it.
    pub seconds: u64,
}

/// What is done in the chat.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Message {
    /// sendMessage. Over 4096 characters it is split at a paragraph, line, sentence or word.
    Text(Text),
    /// editMessageText on the message whose button was pressed, or on `message_id`; outside a callback, a new message.
    Edit(Edit),
    /// deleteMessage, of the message whose button was pressed, of `message_id`, or of the one that is answered.
    Delete(Delete),
    /// sendPhoto.
    Photo(Photo),
    /// sendDocument.
    Document(Document),
    /// sendVoice.
    Voice(Voice),
    /// sendLocation.
    Location(Location),
    /// Any method of the Bot API. chat_id, callback_query_id, inline_query_id or pre_checkout_query_id is filled in where
    /// the method takes it.
    Method(Method),
    /// Nothing.
    None,
}

#[derive(Deserialize, Serialize, JsonSchema)]
pub struct Text {
    #[schemars(length(min = 1))]
    pub content: String,
    /// As the Bot API has it: HTML, MarkdownV2 or Markdown.
    pub parse_mode: Option<String>,
    #[serde(flatten)]
    pub style: Style,
}

#[derive(Deserialize, Serialize, JsonSchema)]
pub struct Edit {
    #[schemars(length(min = 1))]
    pub content: String,
    pub message_id: Option<i64>,
    /// As the Bot API has it: HTML, MarkdownV2 or Markdown.
    pub parse_mode: Option<String>,
    #[serde(flatten)]
    pub style: Style,
}

#[derive(Deserialize, Serialize, JsonSchema)]
pub struct Delete {
    pub message_id: Option<i64>,
}

/// By URL or file_id, in `photo`, `url`, `file_id` or `media`; or, if in none of them, in `content`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(extend("anyOf" = [
    {"required": ["photo"]}, {"required": ["url"]}, {"required": ["file_id"]}, {"required": ["media"]}, {"required": ["content"]},
]))]
pub struct Photo {
    pub photo: Option<String>,
    #[serde(flatten)]
    pub medium: Medium,
}

/// By URL or file_id, in `document`, `url`, `file_id` or `media`; or, if in none of them, in `content`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(extend("anyOf" = [
    {"required": ["document"]}, {"required": ["url"]}, {"required": ["file_id"]}, {"required": ["media"]}, {"required": ["content"]},
]))]
pub struct Document {
    pub document: Option<String>,
    #[serde(flatten)]
    pub medium: Medium,
}

/// By URL or file_id, in `voice`, `url`, `file_id` or `media`; or, if in none of them, in `content`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(extend("anyOf" = [
    {"required": ["voice"]}, {"required": ["url"]}, {"required": ["file_id"]}, {"required": ["media"]}, {"required": ["content"]},
]))]
pub struct Voice {
    pub voice: Option<String>,
    #[serde(flatten)]
    pub medium: Medium,
}

#[derive(Deserialize, Serialize, JsonSchema)]
pub struct Medium {
    pub url: Option<String>,
    pub file_id: Option<String>,
    pub media: Option<String>,
    /// The medium, or beside one its caption.
    pub content: Option<String>,
    /// Over 1024 characters the rest follows as texts.
    pub caption: Option<String>,
    /// Of the caption.
    pub parse_mode: Option<String>,
    #[serde(flatten)]
    pub style: Style,
}

#[derive(Deserialize, Serialize, JsonSchema)]
pub struct Location {
    #[schemars(range(min = -90, max = 90))]
    pub latitude: f64,
    #[schemars(range(min = -180, max = 180))]
    pub longitude: f64,
    #[serde(flatten)]
    pub style: Style,
}

#[derive(Deserialize, Serialize, JsonSchema)]
pub struct Method {
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z]+$"))]
    pub method: String,
    pub params: Option<Map<String, Value>>,
}

/// What every message that is sent may carry.
#[derive(Deserialize, Serialize, JsonSchema)]
pub struct Style {
    pub buttons: Option<Buttons>,
    /// Without a sound.
    pub silent: Option<bool>,
    pub reply_to: Option<ReplyTo>,
}

/// Rows of buttons; a flat list is one row.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Buttons {
    Rows(Vec<Vec<Button>>),
    Row(Vec<Button>),
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(extend("anyOf" = [{"required": ["callback_data"]}, {"required": ["url"]}]))]
pub struct Button {
    #[schemars(length(min = 1))]
    pub text: String,
    /// 1 to 64 bytes.
    #[schemars(length(min = 1, max = 64))]
    pub callback_data: Option<String>,
    #[schemars(length(min = 1))]
    pub url: Option<String>,
}

/// A message's id; true: the message that is answered.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ReplyTo {
    Message(i64),
    This(bool),
}
