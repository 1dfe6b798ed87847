//! `buttons`: rows of `{"text","callback_data"}` or `{"text","url"}` (contract 4). Checked here, because
//! Telegram would refuse the whole message for one bad button.

use serde_json::{Value, json};
use shared::json::Json;

use super::AnswerError;
use super::answer::string;

/// Telegram's own limit for callback_data (facts T13).
const MOST_BYTES: usize = 64;

/// The rows of an inline keyboard; none where there are no buttons. A flat list is one row.
pub(super) fn read(index: usize, buttons: Option<Json<'_>>) -> Result<Option<Value>, AnswerError> {
    let Some(buttons) = buttons.filter(|buttons| buttons.text() != "null") else {
        return Ok(None);
    };
    let mut elements = buttons.array().ok_or(AnswerError::Buttons { index })?;
    let flat = elements.first().is_some_and(|first| first.is_object());
    let rows = if flat { vec![std::mem::take(&mut elements)] } else { read_rows(index, &elements)? };
    let mut keyboard = Vec::new();
    for row in rows.iter().filter(|row| !row.is_empty()) {
        let buttons: Result<Vec<Value>, AnswerError> = row.iter().map(|json| button(index, *json)).collect();
        keyboard.push(Value::Array(buttons?));
    }
    Ok((!keyboard.is_empty()).then_some(Value::Array(keyboard)))
}

fn read_rows<'a>(index: usize, rows: &[Json<'a>]) -> Result<Vec<Vec<Json<'a>>>, AnswerError> {
    rows.iter().map(|row| row.array().ok_or(AnswerError::Buttons { index })).collect()
}

fn button(index: usize, json: Json<'_>) -> Result<Value, AnswerError> {
    let wrong = AnswerError::Buttons { index };
    let button = json.object().ok_or(wrong.clone())?;
    let text = string(&button, "text").filter(|text| !text.trim().is_empty()).ok_or(wrong.clone())?;
    if let Some(data) = string(&button, "callback_data") {
        if !(1..=MOST_BYTES).contains(&data.len()) {
            return Err(AnswerError::CallbackData { index, bytes: data.len() });
        }
        return Ok(json!({"text": text, "callback_data": data}));
    }
    let url = string(&button, "url").filter(|url| !url.is_empty()).ok_or(wrong)?;
    Ok(json!({"text": text, "url": url}))
}
