//! From a service's answer to the calls of the Bot API that bring it into the chat. `answer` reads what the
//! service said, `calls` turns it into requests; nothing is sent here. What fails here is the service's
//! failure, and no error says a word of the message's text (contract 7).

mod answer;
mod buttons;
mod calls;
mod message;
mod method;
#[cfg(test)]
pub mod published;
#[cfg(test)]
pub mod schema;
mod split;
#[cfg(test)]
mod tests;
mod texts;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use answer::{Answer, Sticky};
pub use calls::calls;
#[cfg(any(test, fuzzing))]
pub use message::Message;
pub use message::printable;
#[cfg(any(test, fuzzing))]
pub use split::seen;
pub use texts::{answer_callback, apology, notice};

/// One request to the Bot API. Stored as it is (`plan`), so its two fields are a wire format.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub method: String,
    pub params: Map<String, Value>,
}

impl Call {
    pub fn new(method: &str) -> Self {
        Self { method: method.to_owned(), params: Map::new() }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.params.insert(name.to_owned(), value.into());
        self
    }
}

/// Shows the names of the parameters and none of their values.
impl fmt::Debug for Call {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{:?}", self.method, self.params.keys().collect::<Vec<_>>())
    }
}

/// Why an answer cannot be brought to the chat.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error("the service answered with status {0}")]
    Status(u16),
    #[error("the answer is empty")]
    Empty,
    #[error("the answer is a page of HTML, not JSON")]
    Html,
    #[error("the answer is not JSON: line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("the answer is neither a message, nor an array of them, nor an object with messages")]
    NotAnAnswer,
    #[error("message {0} is not an object with a type")]
    NotAMessage(usize),
    /// The name is the service's: shortened, and cleared of what could not be a name.
    #[error("message {index} has the unknown type {name}")]
    UnknownType { index: usize, name: String },
    #[error("message {index} of type {kind} has no {field} that can be used")]
    Missing { index: usize, kind: &'static str, field: &'static str },
    #[error("message {index} has buttons that are not rows of text with callback_data or url")]
    Buttons { index: usize },
    #[error("message {index} has a button with callback_data of {bytes} bytes: 1 to 64 are allowed")]
    CallbackData { index: usize, bytes: usize },
    #[error("the update has no chat to send {0} to")]
    NoChat(String),
    #[error("there is no message that {0} could be meant for")]
    NoMessage(String),
}
