//! What a service is sent (contract 4), as types: the bodies on the wire are made of them, and so is the published
//! schema. Which fields, in which order, and which may be null, stands here and nowhere else.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
#[cfg(test)]
use serde_json::{Map, Value};

/// The body of `POST <service url>`. Which of the shapes it is follows from the route: the service's own, or the
/// route's `body`.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(title = "What the gateway sends to a service"))]
#[serde(untagged)]
pub enum ServiceRequest<'a> {
    Conversation(Conversation<'a>),
    Matching(Matching<'a>),
    UserProfile(UserProfile<'a>),
    Notification(Notification<'a>),
    Own(Own<'a>),
}

/// What somebody wrote, in a conversation.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, transform = always_there))]
pub struct Conversation<'a> {
    /// The session's internal id; null while the store is away, and where Telegram names no user.
    pub user_id: Option<&'a str>,
    /// Null where Telegram names no user.
    pub telegram_user_id: Option<i64>,
    /// The text, else the caption; null where a route sends something without either.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub message: Option<&'a RawValue>,
    /// Also the Idempotency-Key. A repeat of any kind carries the same one.
    pub request_id: &'a str,
    /// The whole update, as Telegram sent it; only if the route says `update = true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Map<String, Value>"))]
    pub update: Option<&'a RawValue>,
    /// The parts of an album, in their order; only if the route says `album = true`, and only of an album.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Vec<AlbumPart<'_>>"))]
    pub album: Option<Vec<AlbumPart<'a>>>,
    /// Of an album in place of `update`: the whole updates, as Telegram sent them, in the same order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Vec<Map<String, Value>>"))]
    pub updates: Option<Vec<&'a RawValue>>,
}

/// A button that was pressed on somebody.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, transform = always_there))]
pub struct Matching<'a> {
    /// The session's internal id; null while the store is away, and where Telegram names no user.
    pub user_id: Option<&'a str>,
    /// The callback's prefix, such as CONNECT; the command where a command's route has this shape.
    pub action: Option<&'a str>,
    /// What follows the prefix and its colon.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub target_user_id: Option<Tail<'a>>,
    /// Also the Idempotency-Key. A repeat of any kind carries the same one.
    pub request_id: &'a str,
    /// The whole update, as Telegram sent it; only if the route says `update = true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Map<String, Value>"))]
    pub update: Option<&'a RawValue>,
}

/// A command about the user's own profile.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, transform = always_there))]
pub struct UserProfile<'a> {
    /// Null where Telegram names no user.
    pub telegram_user_id: Option<i64>,
    /// In lower case, with the slash, without @thebot.
    pub command: Option<&'a str>,
    /// Also the Idempotency-Key. A repeat of any kind carries the same one.
    pub request_id: &'a str,
    /// What follows the command, trimmed; left out where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String", length(min = 1)))]
    pub args: Option<Tail<'a>>,
    /// The whole update, as Telegram sent it; only if the route says `update = true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Map<String, Value>"))]
    pub update: Option<&'a RawValue>,
}

/// Something that happened to a user's private chat.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, transform = always_there))]
pub struct Notification<'a> {
    /// The session's internal id; null while the store is away, and where Telegram names no user.
    pub user_id: Option<&'a str>,
    /// Null where Telegram names no user.
    pub telegram_user_id: Option<i64>,
    /// What the user did to the bot. Only such updates take a route of this shape, so there is always one.
    #[cfg_attr(test, schemars(with = "Event"))]
    pub event: Option<Event>,
    /// Also the Idempotency-Key. A repeat of any kind carries the same one.
    pub request_id: &'a str,
    /// The whole update, as Telegram sent it; only if the route says `update = true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Map<String, Value>"))]
    pub update: Option<&'a RawValue>,
}

/// For a service of one's own: what there is, and of the rest what applies.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, transform = always_there))]
pub struct Own<'a> {
    /// The session's internal id; null while the store is away, and where Telegram names no user.
    pub user_id: Option<&'a str>,
    /// Null where Telegram names no user.
    pub telegram_user_id: Option<i64>,
    /// Null where the update has no chat.
    pub chat_id: Option<i64>,
    /// The update's kind, such as message or callback_query.
    pub kind: &'a str,
    /// Also the Idempotency-Key. A repeat of any kind carries the same one.
    pub request_id: &'a str,
    /// The text, else the caption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub message: Option<&'a RawValue>,
    /// In lower case, with the slash, without @thebot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub command: Option<&'a str>,
    /// What follows the command, trimmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String", length(min = 1)))]
    pub args: Option<Tail<'a>>,
    /// The pressed button's prefix, as the route names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub action: Option<&'a str>,
    /// What follows the prefix and its colon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub param: Option<Tail<'a>>,
    /// The whole update, as Telegram sent it; only if the route says `update = true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Map<String, Value>"))]
    pub update: Option<&'a RawValue>,
    /// The parts of an album, in their order; only if the route says `album = true`, and only of an album.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Vec<AlbumPart<'_>>"))]
    pub album: Option<Vec<AlbumPart<'a>>>,
    /// Of an album in place of `update`: the whole updates, as Telegram sent them, in the same order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Vec<Map<String, Value>>"))]
    pub updates: Option<Vec<&'a RawValue>>,
}

/// One part of an album: with the names that an answer has for it.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct AlbumPart<'a> {
    /// What it is, as a route's `content` names it: photo, video, document or audio.
    #[serde(rename = "type")]
    pub content: &'a str,
    /// Of a photo, its largest size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub file_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub caption: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "i64"))]
    pub message_id: Option<i64>,
}

/// What follows a command or a prefix, as it came where a Rust string could not hold it.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Tail<'a> {
    Raw(&'a RawValue),
    Text(&'a str),
}

#[derive(Clone, Copy, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Event {
    Blocked,
    Unblocked,
}

/// What may be null is there all the same.
#[cfg(test)]
fn always_there(schema: &mut schemars::Schema) {
    let properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let nullable = properties.iter().filter(|(_, rule)| rule.get("type").is_some_and(Value::is_array));
    let names: Vec<Value> = nullable.map(|(name, _)| name.clone().into()).collect();
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.extend(names);
        required.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
}
