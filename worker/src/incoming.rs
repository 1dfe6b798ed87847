//! An update as the worker understands it: who, where, what. Reading never fails (contract 9): what is
//! missing or of a wrong type is `None`, so it matches nothing and ends as "no route fits". Nothing is
//! decided here; routes, limits and replies read these fields and never the JSON again.

mod command;
mod content;
mod file;
mod raw;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde_json::value::RawValue;
use shared::json::{Json, Object};

pub use command::Command;
pub use content::Content;

/// The kinds of update that can be a new part of an album.
pub const ALBUM_KINDS: [&str; 3] = ["message", "channel_post", "business_message"];

#[derive(Clone, Default)]
pub struct Incoming {
    pub update_id: u64,
    /// The name of the first member beside `update_id`, such as `message`; empty where there is none.
    pub kind: String,
    /// The chat it happened in; for a callback, the chat of the message with the button.
    pub chat: Option<Chat>,
    pub user: Option<User>,
    /// Of the message itself, or of the callback's message.
    pub message_id: Option<i64>,
    /// The forum topic to answer in: without it a reply would land in the group's general topic.
    pub thread: Option<i64>,
    /// When the user acted, in seconds since the epoch. An edit has its own time. A callback has none: its
    /// message's date is when the button was offered, not when it was pressed.
    pub date: Option<u64>,
    /// A message's text, or what an inline query asks for.
    pub text: Option<Text>,
    pub caption: Option<Text>,
    pub content: Content,
    pub command: Option<Command>,
    pub callback: Option<Callback>,
    pub membership: Option<Membership>,
    /// Of an inline, shipping or pre-checkout query: the id that its answer must name.
    pub query_id: Option<String>,
    /// The media group that the message is one of.
    pub album: Option<String>,
    /// The whole update, as Telegram sent it.
    pub raw: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chat {
    pub id: i64,
    pub kind: ChatKind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChatKind {
    Private,
    /// Supergroups too: nobody who writes a routing table cares for the difference.
    Group,
    Channel,
    #[default]
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: i64,
    pub language_code: Option<String>,
}

/// A text twice: as the JSON string token that came, so that a lone surrogate is passed on unchanged
/// (contract 9), and unescaped, to be matched on.
#[derive(Clone)]
pub struct Text {
    pub raw: Box<RawValue>,
    pub plain: String,
}

#[derive(Clone)]
pub struct Callback {
    pub id: String,
    pub data: Option<Text>,
    /// Set where the button hangs on a message that was sent inline: such a callback has no chat.
    pub inline_message_id: Option<String>,
}

/// What a user did to the bot in their private chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    Blocked,
    Unblocked,
}

impl Text {
    /// The end of it from so many bytes of `plain` on, as a token of its own, where a Rust string can't hold what came.
    pub fn end(&self, from: usize) -> Option<Box<RawValue>> {
        let (before, end) = self.plain.split_at_checked(from)?;
        end.contains('\u{fffd}').then(|| raw::end(&self.raw, before.encode_utf16().count())).flatten()
    }
}

impl Incoming {
    /// What the pressed button says.
    pub fn pressed(&self) -> Option<&str> {
        self.callback.as_ref()?.data.as_ref().map(|data| data.plain.as_str())
    }

    pub fn read(body: &[u8]) -> Self {
        Self::from_bytes(Bytes::copy_from_slice(body))
    }

    /// Like `read`, for a caller that has the bytes to share.
    pub fn from_bytes(raw: Bytes) -> Self {
        let mut incoming = Self { raw: raw.clone(), ..Self::default() };
        let update = std::str::from_utf8(&raw).ok().and_then(|text| Object::parse(text).ok());
        if let Some(update) = update.flatten() {
            incoming.read_update(&update);
        }
        incoming
    }

    fn read_update(&mut self, update: &Object<'_>) {
        self.update_id = update.get("update_id").and_then(Json::u64).unwrap_or_default();
        let Some((kind, value)) = update.members().find(|(name, _)| *name != "update_id") else {
            return;
        };
        self.kind = kind.to_owned();
        let Some(body) = value.object() else { return };
        self.user = body.get("from").or_else(|| body.get("user")).and_then(User::read);
        match self.kind.as_str() {
            "callback_query" => self.read_callback(&body),
            "inline_query" | "shipping_query" | "pre_checkout_query" => {
                self.query_id = string(&body, "id");
                self.text = text(&body, "query");
            }
            _ => self.read_message(&body),
        }
        if self.kind == "my_chat_member" && self.chat_kind() == ChatKind::Private {
            self.membership = membership(&body);
        }
    }

    /// Reads whatever of a message there is: most other kinds share its `chat` and `date`.
    fn read_message(&mut self, body: &Object<'_>) {
        self.read_place(body);
        let edited = body.get("edit_date").filter(|_| self.kind.starts_with("edited_"));
        self.date = edited.or_else(|| body.get("date")).and_then(Json::u64);
        // What nobody can be answered on is not read as something that somebody said.
        if self.chat.is_none() {
            return;
        }
        self.text = text(body, "text");
        self.caption = text(body, "caption");
        self.content = Content::of(body);
        self.album = string(body, "media_group_id");
        self.command = match (&self.text, &self.caption) {
            (Some(text), _) => Command::read(text, body.get("entities")),
            (None, Some(caption)) => Command::read(caption, body.get("caption_entities")),
            (None, None) => None,
        };
    }

    fn read_callback(&mut self, body: &Object<'_>) {
        if let Some(message) = body.get("message").and_then(Json::object) {
            self.read_place(&message);
        }
        self.callback = string(body, "id").map(|id| Callback {
            id,
            data: text(body, "data"),
            inline_message_id: string(body, "inline_message_id"),
        });
    }

    /// The chat, the message and the topic in it.
    fn read_place(&mut self, message: &Object<'_>) {
        self.chat = message.get("chat").and_then(Chat::read);
        self.message_id = message.get("message_id").and_then(Json::i64);
        let in_topic = message.get("is_topic_message").and_then(Json::bool) == Some(true);
        self.thread = message.get("message_thread_id").filter(|_| in_topic).and_then(Json::i64);
    }

    /// The user's `language_code`, an IETF tag, if Telegram tells it.
    pub fn language(&self) -> Option<&str> {
        self.user.as_ref()?.language_code.as_deref()
    }

    pub fn chat_kind(&self) -> ChatKind {
        self.chat.map(|chat| chat.kind).unwrap_or_default()
    }

    /// Whether a user says something in a chat: what a sticky service may take, unless it is a command that
    /// the table knows (contract 4).
    pub fn is_free_text(&self) -> bool {
        self.kind == "message" && self.text.is_some() && self.user.is_some() && self.chat.is_some()
    }

    /// The media group that it is a new part of: an edited part is no album's.
    pub fn album_part(&self) -> Option<&str> {
        self.album.as_deref().filter(|_| ALBUM_KINDS.contains(&self.kind.as_str()))
    }

    /// Whether the rate limit charges it, if a route takes it: what a user writes or presses, but neither
    /// edits nor service events such as a pinned message (contract 3.3).
    pub fn is_charged_kind(&self) -> bool {
        match self.kind.as_str() {
            "message" | "business_message" => self.content.is_written(),
            "callback_query" => true,
            _ => false,
        }
    }

    /// Whether an apology can be a message: somebody wrote or pressed something in a chat and waits there.
    /// Who blocked the bot, or what a channel posts, waits for nothing.
    pub fn has_chat_to_apologize(&self) -> bool {
        self.chat.is_some() && matches!(self.kind.as_str(), "message" | "edited_message" | "callback_query")
    }
}

impl Chat {
    fn read(chat: Json<'_>) -> Option<Self> {
        let kind = match chat.get("type").and_then(Json::string).as_deref() {
            Some("private") => ChatKind::Private,
            Some("group" | "supergroup") => ChatKind::Group,
            Some("channel") => ChatKind::Channel,
            _ => ChatKind::Unknown,
        };
        Some(Self { id: chat.get("id")?.i64()?, kind })
    }
}

impl User {
    fn read(user: Json<'_>) -> Option<Self> {
        let language_code = user.get("language_code").and_then(Json::string).map(Cow::into_owned);
        Some(Self { id: user.get("id")?.i64()?, language_code })
    }
}

/// Shows which update it is and nothing that a user wrote, should it ever stand in a log (contract 7).
impl fmt::Debug for Incoming {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("Incoming");
        out.field("update_id", &self.update_id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

fn string(holder: &Object<'_>, field: &str) -> Option<String> {
    Some(holder.get(field)?.string()?.into_owned())
}

fn text(holder: &Object<'_>, field: &str) -> Option<Text> {
    let json = holder.get(field)?;
    let plain = json.string()?.into_owned();
    Some(Text { plain, raw: RawValue::from_string(json.text().to_owned()).ok()? })
}

/// Blocking and unblocking show as a change of the bot's own status in the private chat.
fn membership(body: &Object<'_>) -> Option<Membership> {
    let status = |field: &str| body.get(field)?.get("status")?.string();
    match (status("old_chat_member").as_deref(), status("new_chat_member").as_deref()?) {
        (_, "kicked" | "left") => Some(Membership::Blocked),
        (Some("kicked" | "left"), "member") => Some(Membership::Unblocked),
        _ => None,
    }
}
