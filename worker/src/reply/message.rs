//! One message of an answer, by its `type` (contract 4). Only what is said is checked here; whether there is
//! a chat for it is asked when it becomes a call.

use serde_json::{Map, Value};
use shared::json::{Json, Object};

use super::AnswerError;
use super::answer::string;
use super::buttons;

#[derive(Clone, PartialEq)]
pub enum Message {
    Text(Writing),
    Edit { writing: Writing, message_id: Option<i64> },
    Delete { message_id: Option<i64> },
    Media { kind: MediaKind, media: String, caption: Option<Writing>, style: Style },
    Location { latitude: f64, longitude: f64, style: Style },
    Method { method: String, params: Map<String, Value> },
    None,
}

/// A text and how it is to look.
#[derive(Clone, Default, PartialEq)]
pub struct Writing {
    pub text: String,
    pub parse_mode: Option<String>,
    pub style: Style,
}

/// What every message that is sent may carry.
#[derive(Clone, Default, PartialEq)]
pub struct Style {
    /// Rows as the Bot API wants them.
    pub buttons: Option<Value>,
    pub silent: bool,
    pub reply_to: Option<ReplyTo>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyTo {
    /// `true`: the message that is answered.
    This,
    Message(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    Photo,
    Document,
    Voice,
}

impl MediaKind {
    /// The type, which is the parameter's name as well.
    pub fn name(self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Document => "document",
            Self::Voice => "voice",
        }
    }

    pub fn method(self) -> &'static str {
        match self {
            Self::Photo => "sendPhoto",
            Self::Document => "sendDocument",
            Self::Voice => "sendVoice",
        }
    }
}

impl Message {
    /// A text without anything.
    pub fn plain(text: &str) -> Self {
        Self::Text(Writing { text: text.to_owned(), ..Writing::default() })
    }

    pub(super) fn read(index: usize, json: Json<'_>) -> Result<Self, AnswerError> {
        let message = json.object().ok_or(AnswerError::NotAMessage(index))?;
        let kind = string(&message, "type").ok_or(AnswerError::NotAMessage(index))?;
        match kind.as_str() {
            "text" => Ok(Self::Text(Writing::read(index, "text", &message)?)),
            "edit" => Ok(Self::Edit {
                writing: Writing::read(index, "edit", &message)?,
                message_id: message_id(&message),
            }),
            "delete" => Ok(Self::Delete { message_id: message_id(&message) }),
            "photo" => read_media(index, MediaKind::Photo, &message),
            "document" => read_media(index, MediaKind::Document, &message),
            "voice" => read_media(index, MediaKind::Voice, &message),
            "location" => read_location(index, &message),
            "method" => read_method(index, &message),
            "none" => Ok(Self::None),
            unknown => Err(AnswerError::UnknownType { index, name: printable(unknown) }),
        }
    }
}

impl Message {
    /// Whether it answers the callback that is being handled; one that names another is sent as it is.
    pub(super) fn answers_callback(&self) -> bool {
        match self {
            Self::Method { method, params } => {
                method.eq_ignore_ascii_case("answerCallbackQuery")
                    && !params.contains_key("callback_query_id")
            }
            _ => false,
        }
    }
}

impl Writing {
    fn read(index: usize, kind: &'static str, message: &Object<'_>) -> Result<Self, AnswerError> {
        let text = not_blank(string(message, "content"));
        let text = text.ok_or(AnswerError::Missing { index, kind, field: "content" })?;
        Ok(Self { text, parse_mode: string(message, "parse_mode"), style: Style::read(index, message)? })
    }
}

impl Style {
    fn read(index: usize, message: &Object<'_>) -> Result<Self, AnswerError> {
        let reply_to = message.get("reply_to");
        Ok(Self {
            buttons: buttons::read(index, message.get("buttons"))?,
            silent: message.get("silent").and_then(Json::bool).unwrap_or_default(),
            reply_to: match reply_to.and_then(Json::i64) {
                Some(id) => Some(ReplyTo::Message(id)),
                None => reply_to.and_then(Json::bool).filter(|this| *this).map(|_| ReplyTo::This),
            },
        })
    }
}

/// The medium is a URL or a file_id, in the field of the type's own name (`"photo"`), in `url`, `file_id` or
/// `media`; or in `content`, if in none of them. A `content` beside the medium is its caption.
fn read_media(index: usize, kind: MediaKind, message: &Object<'_>) -> Result<Message, AnswerError> {
    let field = |name: &str| not_blank(string(message, name));
    let named = [kind.name(), "url", "file_id", "media"].into_iter().find_map(field);
    let caption = field("caption").or_else(|| field("content").filter(|_| named.is_some()));
    let media = named.or_else(|| field("content"));
    let media = media.ok_or(AnswerError::Missing { index, kind: kind.name(), field: "url or file_id" })?;
    let style = Style::read(index, message)?;
    let parse_mode = string(message, "parse_mode");
    let caption = caption.map(|text| Writing { text, parse_mode, style: style.clone() });
    Ok(Message::Media { kind, media, caption, style })
}

/// `latitude` and `longitude`, in the message or in its `location`.
fn read_location(index: usize, message: &Object<'_>) -> Result<Message, AnswerError> {
    let inner = message.get("location").and_then(Json::object);
    let degrees = |field: &'static str, most: f64| {
        let json = message.get(field).or_else(|| inner.as_ref()?.get(field));
        let number = json.and_then(|json| json.text().parse::<f64>().ok());
        number.filter(|degrees| degrees.abs() <= most).ok_or(AnswerError::Missing {
            index,
            kind: "location",
            field,
        })
    };
    let (latitude, longitude) = (degrees("latitude", 90.0)?, degrees("longitude", 180.0)?);
    Ok(Message::Location { latitude, longitude, style: Style::read(index, message)? })
}

/// The method's name becomes part of a URL, so it may hold nothing but letters.
fn read_method(index: usize, message: &Object<'_>) -> Result<Message, AnswerError> {
    let missing = |field| AnswerError::Missing { index, kind: "method", field };
    let is_name =
        |name: &String| (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphabetic());
    let method = string(message, "method").filter(is_name).ok_or(missing("method"))?;
    let params = match message.get("params").map(|params| params.text()) {
        None | Some("null") => Map::new(),
        Some(params) => serde_json::from_str(params).map_err(|_| missing("params"))?,
    };
    Ok(Message::Method { method, params })
}

fn message_id(message: &Object<'_>) -> Option<i64> {
    message.get("message_id").and_then(Json::i64)
}

fn not_blank(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// A name fit for a log: a service that mixed its fields up may have put a user's text there.
pub fn printable(name: &str) -> String {
    let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '-';
    if !name.is_empty() && name.len() <= 32 && name.chars().all(is_name) {
        return name.to_owned();
    }
    "(not a name)".to_owned()
}
