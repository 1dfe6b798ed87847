//! One Bot API call as the journal keeps it. The token is never part of it (facts T19).

use serde::Serialize;
use serde_json::{Map, Value};

#[derive(Debug, Clone, Serialize)]
pub struct Call {
    pub seq: u64,
    /// When it arrived, in Unix milliseconds.
    pub at_ms: i64,
    pub method: String,
    /// The chat it concerns; for answerCallbackQuery the one whose button was pressed.
    pub chat_id: Option<i64>,
    pub params: Map<String, Value>,
    /// None while it is in hand, 0 when the connection ended without an answer.
    pub status: Option<u16>,
    pub duration_ms: Option<i64>,
    /// The error's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Of the message that it made or changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<i64>,
}
