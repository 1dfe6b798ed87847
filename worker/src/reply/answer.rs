//! A service's answer, read leniently: unknown fields are ignored, what stands beside the messages and is of
//! a wrong type is not there. The messages themselves must be what they say they are.

use serde_json::{Map, Value};
use shared::json::{Json, Object};

use super::AnswerError;
use super::message::Message;

#[derive(Clone, Default, PartialEq)]
pub struct Answer {
    pub messages: Vec<Message>,
    /// Sets the session.
    pub user_id: Option<String>,
    /// Answers the callback.
    pub answer: Option<Toast>,
    pub sticky: Option<Sticky>,
}

/// What a user sees on pressing a button: a toast, or an alert to click away.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Toast {
    pub text: Option<String>,
    pub show_alert: bool,
    /// What else answerCallbackQuery takes, from a service that named the method.
    pub more: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// `null`: free texts go by the table again.
    End,
    To {
        service: String,
        seconds: u64,
    },
}

/// A year, which is for good.
const LONGEST_STICKY: u64 = 31_536_000;

impl Answer {
    /// Reads a service's answer. A status other than 2xx is a failure whatever the body says.
    pub fn parse(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<Self, AnswerError> {
        if !(200..300).contains(&status) {
            return Err(AnswerError::Status(status));
        }
        let body = body.trim_ascii();
        if body.is_empty() {
            return Err(AnswerError::Empty);
        }
        let is_html =
            body.starts_with(b"<") || content_type.is_some_and(|kind| kind.starts_with("text/html"));
        let json = read_json(body).map_err(|error| if is_html { AnswerError::Html } else { error })?;
        if let Some(messages) = json.array() {
            return Ok(Self { messages: read_messages(&messages)?, ..Self::default() });
        }
        let object = json.object().ok_or(AnswerError::NotAnAnswer)?;
        let answer = Self {
            messages: Vec::new(),
            user_id: string(&object, "user_id").filter(|id| !id.is_empty()),
            answer: object.get("answer").and_then(Json::object).map(|toast| Toast::read(&toast)),
            sticky: object.get("sticky").and_then(Sticky::read),
        };
        let messages = match object.get("messages") {
            Some(messages) => read_messages(&messages.array().ok_or(AnswerError::NotAnAnswer)?)?,
            None if object.has("type") => vec![Message::read(0, json)?],
            None if answer.says_something() => Vec::new(),
            None => return Err(AnswerError::NotAnAnswer),
        };
        Ok(Self { messages, ..answer }.with_callback_answer_apart())
    }

    /// The fixed reply of a route.
    pub fn fixed(text: &str) -> Self {
        Self { messages: vec![Message::plain(text)], ..Self::default() }
    }

    fn says_something(&self) -> bool {
        self.user_id.is_some() || self.answer.is_some() || self.sticky.is_some()
    }

    /// An answerCallbackQuery among the messages is the callback's answer all the same, and is taken out of
    /// them: sent in its turn it would come after the empty one that stops the spinner, and be refused.
    fn with_callback_answer_apart(mut self) -> Self {
        let (answers, messages) = self.messages.into_iter().partition(Message::answers_callback);
        self.messages = messages;
        if self.answer.is_none() {
            self.answer = answers.into_iter().find_map(|message: Message| match message {
                Message::Method { params, .. } => Some(Toast::of_params(params)),
                _ => None,
            });
        }
        self
    }
}

fn read_json(body: &[u8]) -> Result<Json<'_>, AnswerError> {
    let not_utf8 = AnswerError::NotJson { line: 0, column: 0 };
    let text = std::str::from_utf8(body).map_err(|_| not_utf8)?;
    Json::parse(text).map_err(|error| AnswerError::NotJson { line: error.line(), column: error.column() })
}

fn read_messages(messages: &[Json<'_>]) -> Result<Vec<Message>, AnswerError> {
    messages.iter().enumerate().map(|(index, message)| Message::read(index, *message)).collect()
}

impl Toast {
    fn read(toast: &Object<'_>) -> Self {
        let show_alert = toast.get("show_alert").and_then(Json::bool).unwrap_or_default();
        Self { text: string(toast, "text"), show_alert, more: Map::new() }
    }

    fn of_params(mut params: Map<String, Value>) -> Self {
        let text = params.remove("text").and_then(|text| text.as_str().map(str::to_owned));
        let show_alert = params.remove("show_alert").and_then(|show| show.as_bool()).unwrap_or_default();
        Self { text, show_alert, more: params }
    }
}

impl Sticky {
    fn read(json: Json<'_>) -> Option<Self> {
        if json.text() == "null" {
            return Some(Self::End);
        }
        let sticky = json.object()?;
        let seconds = sticky.get("seconds")?.u64()?;
        let service = string(&sticky, "service")?;
        // For no time at all is the end of it.
        Some(if seconds == 0 {
            Self::End
        } else {
            Self::To { service, seconds: seconds.min(LONGEST_STICKY) }
        })
    }
}

pub(super) fn string(holder: &Object<'_>, field: &str) -> Option<String> {
    Some(holder.get(field)?.string()?.into_owned())
}
