//! The methods that send something other than text: photos, files, places, dice. A file is a URL or a
//! file_id; what is behind it is never fetched.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value, json};

use super::{Answer, ApiError, Params, formatted, send};
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
    let mut fields = Map::new();
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
        "poll" => poll(params)?,
        file => return send_file(world, params, file, fields),
    };
    fields.insert(kind.to_owned(), content);
    send::put(world, params, fields, None)
}

fn send_file(world: &World, params: &Params, kind: &'static str, mut fields: Map<String, Value>) -> Answer {
    let source = required(params, kind, &format!("there is no {kind} in the request"))?;
    let mut file = file(&source);
    match kind {
        "photo" => {
            file["width"] = json!(800);
            file["height"] = json!(600);
            file = json!([file]);
        }
        "document" => {
            let name = source.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("file");
            file["file_name"] = json!(name);
        }
        "sticker" => (),
        _ => file["duration"] = json!(params.integer("duration").unwrap_or(1)),
    }
    fields.insert(kind.to_owned(), file);
    let caption = formatted(params, "caption")?;
    if !caption.text.is_empty() {
        fields.insert("caption".to_owned(), json!(caption.text));
    }
    if !caption.entities.is_empty() {
        fields.insert("caption_entities".to_owned(), json!(caption.entities));
    }
    send::put(world, params, fields, Some(source))
}

/// A file_id is kept; a URL gets one, the same each time.
fn file(source: &str) -> Value {
    let is_url = source.contains("://");
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    let unique = format!("{:016x}", hasher.finish());
    let file_id = if is_url { format!("file_{unique}") } else { source.to_owned() };
    json!({"file_id": file_id, "file_unique_id": unique, "file_size": 1024})
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

fn poll(params: &Params) -> Result<Value, ApiError> {
    let question = required(params, "question", "poll question must be non-empty")?;
    let options = params.json("options").ok().flatten();
    let options = options.as_ref().and_then(Value::as_array).filter(|options| !options.is_empty());
    let options = options.ok_or_else(|| ApiError::bad_request("poll must have at least 1 option"))?;
    let option = |option: &Value| json!({"text": option.get("text").unwrap_or(option), "voter_count": 0});
    let options: Vec<Value> = options.iter().map(option).collect();
    let id = rand::random::<u32>().to_string();
    Ok(json!({"id": id, "question": question, "options": options, "total_voter_count": 0,
        "is_closed": false, "is_anonymous": true, "type": "regular", "allows_multiple_answers": false}))
}

fn required(params: &Params, name: &str, complaint: &str) -> Result<String, ApiError> {
    let text = params.text(name).filter(|text| !text.is_empty());
    text.ok_or_else(|| ApiError::bad_request(complaint))
}
