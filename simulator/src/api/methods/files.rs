//! What the Bot API shows of a file. It is a URL, a file_id or an upload; what is in it is never looked at, so sizes are
//! those that the call names, or made up.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value, json};

use super::{ApiError, Params, formatted};

/// A file as a call gives it.
pub(super) struct Given {
    /// The URL or file_id; an upload's name.
    pub source: String,
    uploaded: Option<usize>,
}

/// None: there is no file there. An `attach://` leads to another part of the form.
pub(super) fn given(params: &Params, field: &str) -> Result<Option<Given>, ApiError> {
    let text = params.text(field).filter(|text| !text.is_empty());
    let part = text.as_deref().and_then(|text| text.strip_prefix("attach://"));
    match params.upload(part.unwrap_or(field)) {
        Some(file) if file.size == 0 => Err(ApiError::bad_request("file must be non-empty")),
        Some(file) => Ok(Some(Given { source: file.name.clone(), uploaded: Some(file.size) })),
        None if part.is_some() => Ok(None),
        None => Ok(text.map(|source| Given { source, uploaded: None })),
    }
}

/// The fields of a message that holds this file: the file, and its caption.
pub(super) fn message(params: &Params, kind: &str, file: &Given) -> Result<Map<String, Value>, ApiError> {
    let mut fields = Map::from_iter([(kind.to_owned(), shown(params, kind, file))]);
    if kind == "animation" {
        // As Telegram does, for those who know no animations.
        fields.insert("document".to_owned(), identity(file));
    }
    let caption = formatted(params, "caption")?;
    if !caption.text.is_empty() {
        fields.insert("caption".to_owned(), json!(caption.text));
    }
    if !caption.entities.is_empty() {
        fields.insert("caption_entities".to_owned(), json!(caption.entities));
    }
    Ok(fields)
}

fn shown(params: &Params, kind: &str, file: &Given) -> Value {
    let number = |name: &str, usual: i64| json!(params.integer(name).unwrap_or(usual));
    let ends = |end: &str| file.source.to_ascii_lowercase().ends_with(end);
    let own = match kind {
        "photo" => json!({"width": 800, "height": 600}),
        "document" => {
            let name = file.source.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("file");
            json!({"file_name": name})
        }
        "sticker" => json!({"type": "regular", "width": 512, "height": 512,
            "is_animated": ends(".tgs"), "is_video": ends(".webm")}),
        "video" | "animation" => json!({"width": number("width", 640), "height": number("height", 360),
            "duration": number("duration", 1)}),
        "video_note" => json!({"length": number("length", 240), "duration": number("duration", 1)}),
        _ => json!({"duration": number("duration", 1)}),
    };
    let mut shown = identity(file);
    if let (Value::Object(shown), Value::Object(own)) = (&mut shown, own) {
        shown.extend(own);
        for name in ["title", "performer"].into_iter().filter(|_| kind == "audio") {
            shown.extend(params.text(name).map(|text| (name.to_owned(), json!(text))));
        }
    }
    if kind == "photo" { json!([shown]) } else { shown }
}

/// A file_id is kept; a URL or an upload gets one, the same each time.
fn identity(file: &Given) -> Value {
    let is_new = file.uploaded.is_some() || file.source.contains("://");
    let mut hasher = DefaultHasher::new();
    (&file.source, file.uploaded).hash(&mut hasher);
    let unique = format!("{:016x}", hasher.finish());
    let file_id = if is_new { format!("file_{unique}") } else { file.source.clone() };
    json!({"file_id": file_id, "file_unique_id": unique, "file_size": file.uploaded.unwrap_or(1024)})
}

/// An InputMedia, as albums and editMessageMedia take it: its type, the file, and the parameters beside it.
pub(super) fn input_media(
    params: &Params,
    media: Value,
    for_album: bool,
) -> Result<(String, Given, Params), ApiError> {
    let refused = |text: &str| ApiError::bad_request(format!("can't parse InputMedia: {text}"));
    let Value::Object(fields) = media else {
        return Err(refused("expected an Object"));
    };
    let params = params.with(fields);
    let kind = params.text("type").ok_or_else(|| refused("Can't find field \"type\""))?;
    let file = given(&params, "media")?.ok_or_else(|| refused("media not found"))?;
    match kind.as_str() {
        "animation" if for_album => Err(refused("type \"animation\" can't be used in sendMediaGroup")),
        "photo" | "video" | "audio" | "document" | "animation" => Ok((kind, file, params)),
        _ => Err(refused(&format!("type \"{kind}\" is unsupported"))),
    }
}
