//! The methods that send something other than text: photos, files, places, dice.

use serde_json::{Map, Value, json};

use super::{Answer, ApiError, Params, files, poll, send};
use crate::state::World;

/// The field of the message, which is also the parameter that carries a file.
pub(super) fn kind(method: &str) -> Option<&'static str> {
    Some(match method {
        "sendPhoto" => "photo",
        "sendDocument" => "document",
        "sendVoice" => "voice",
        "sendAudio" => "audio",
        "sendVideo" => "video",
        "sendVideoNote" => "video_note",
        "sendAnimation" => "animation",
        "sendSticker" => "sticker",
        "sendLocation" => "location",
        "sendVenue" => "venue",
        "sendContact" => "contact",
        "sendDice" => "dice",
        "sendPoll" => "poll",
        _ => return None,
    })
}

pub(super) fn send(world: &World, params: &Params, kind: &'static str) -> Answer {
    let content = match kind {
        "location" => location(params)?,
        "venue" => venue(params)?,
        "contact" => json!({
            "phone_number": required(params, "phone_number", "phone number is empty")?,
            "first_name": required(params, "first_name", "first name is empty")?,
        }),
        "dice" => {
            let emoji = params.text("emoji").unwrap_or_else(|| "🎲".to_owned());
            json!({"emoji": emoji, "value": rand::random_range(1..=6)})
        }
        "poll" => poll::poll(params)?,
        file => return send_file(world, params, file),
    };
    send::put(world, params, Map::from_iter([(kind.to_owned(), content)]), None)
}

fn send_file(world: &World, params: &Params, kind: &'static str) -> Answer {
    let missing = || ApiError::bad_request(format!("there is no {} in the request", kind.replace('_', " ")));
    let file = files::given(params, kind)?.ok_or_else(missing)?;
    send::put(world, params, files::message(params, kind, &file)?, Some(file.source))
}

fn location(params: &Params) -> Result<Value, ApiError> {
    let coordinate = |name: &str, most: f64| {
        let value = params.number(name).filter(|value| value.abs() <= most);
        value.ok_or_else(|| ApiError::bad_request(format!("{name} is empty")))
    };
    Ok(json!({"latitude": coordinate("latitude", 90.0)?, "longitude": coordinate("longitude", 180.0)?}))
}

fn venue(params: &Params) -> Result<Value, ApiError> {
    Ok(json!({
        "location": location(params)?,
        "title": required(params, "title", "title is empty")?,
        "address": required(params, "address", "address is empty")?,
    }))
}

fn required(params: &Params, name: &str, complaint: &str) -> Result<String, ApiError> {
    let text = params.text(name).filter(|text| !text.is_empty());
    text.ok_or_else(|| ApiError::bad_request(complaint))
}
