//! `reply_markup`: read, and checked as Telegram checks buttons (facts T13). Pure.

use serde_json::Value;

use super::errors::ApiError;
use super::params::Params;

/// What a button may do instead of calling back; one of them must be there.
const ACTIONS: [&str; 9] = [
    "url",
    "callback_game",
    "pay",
    "switch_inline_query",
    "switch_inline_query_chosen_chat",
    "switch_inline_query_current_chat",
    "login_url",
    "web_app",
    "copy_text",
];

/// The whole markup, if it is fit to be sent.
pub(super) fn read(params: &Params) -> Result<Option<Value>, ApiError> {
    let refused = ApiError::bad_request;
    let markup = params.json("reply_markup");
    let markup = markup.map_err(|()| refused("can't parse reply keyboard markup JSON object"))?;
    let Some(markup) = markup else { return Ok(None) };
    if !markup.is_object() {
        return Err(refused("object expected as reply markup"));
    }
    let Some(rows) = markup.get("inline_keyboard").and_then(Value::as_array) else {
        return Ok(Some(markup));
    };
    for row in rows {
        let Some(row) = row.as_array() else {
            return Err(refused(
                "field \"inline_keyboard\" of the InlineKeyboardMarkup must be an Array of Arrays",
            ));
        };
        row.iter().try_for_each(check_button)?;
    }
    Ok(Some(markup))
}

/// The part that a Message shows: an inline keyboard, if there is a button on it.
pub(super) fn shown(markup: Option<Value>) -> Option<Value> {
    markup.filter(|markup| markup["inline_keyboard"].as_array().is_some_and(|rows| !rows.is_empty()))
}

fn check_button(button: &Value) -> Result<(), ApiError> {
    let refused =
        |text: &str| Err(ApiError::bad_request(format!("can't parse inline keyboard button: {text}")));
    if !button.is_object() {
        return refused("InlineKeyboardButton must be an Object");
    }
    let Some(text) = button["text"].as_str() else {
        return refused("Can't find field \"text\"");
    };
    if text.trim().is_empty() {
        return Err(ApiError::bad_request("text buttons must be non-empty"));
    }
    if let Some(url) = button["url"].as_str().filter(|url| !url.is_empty()) {
        return match url.split_once(':') {
            Some(("http" | "https" | "tg", rest)) if rest.starts_with("//") && rest.len() > 2 => Ok(()),
            _ => Err(ApiError::bad_request(format!(
                "inline keyboard button URL '{url}' is invalid: Wrong HTTP URL"
            ))),
        };
    }
    match button.get("callback_data") {
        Some(Value::String(data)) if (1..=64).contains(&data.len()) => Ok(()),
        Some(_) => Err(ApiError::bad_request("BUTTON_DATA_INVALID")),
        None if ACTIONS.iter().any(|action| button.get(action).is_some()) => Ok(()),
        None => refused("Text buttons are unallowed in the inline keyboard"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn callback_data_is_one_to_64_bytes() {
        let button = |data: &str| check_button(&json!({"text": "a", "callback_data": data}));
        assert!(button("x").is_ok() && button(&"é".repeat(32)).is_ok());
        for data in ["", &"é".repeat(33)] {
            assert_eq!(button(data).unwrap_err().description, "Bad Request: BUTTON_DATA_INVALID");
        }
    }

    #[test]
    fn a_button_needs_a_text_and_something_to_do() {
        assert!(check_button(&json!({"text": "a", "url": "https://x.y"})).is_ok());
        assert!(check_button(&json!({"text": "a", "switch_inline_query": ""})).is_ok());
        for button in [json!({"text": "a"}), json!({"callback_data": "x"}), json!({"text": "a", "url": "x"})]
        {
            assert!(check_button(&button).is_err(), "{button}");
        }
    }
}
