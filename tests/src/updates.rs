//! Updates as Telegram writes them, with fresh ids and the present time unless a test says otherwise.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Unix seconds, the clock of Telegram's `date` fields.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_secs()).expect("far from the end of time")
}

/// A number that no other call in this test process returned.
pub(crate) fn fresh() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[derive(Clone, Debug)]
pub struct Update(Value);

impl Update {
    fn new(kind: &str, content: Value) -> Self {
        Self(json!({"update_id": 700_000_000 + fresh(), kind: content}))
    }

    /// Any other kind, or none of Telegram's.
    #[must_use]
    pub fn of_kind(kind: &str, content: Value) -> Self {
        Self::new(kind, content)
    }

    /// A text in the private chat with `user`.
    #[must_use]
    pub fn text(user: i64, text: &str) -> Self {
        Self::new("message", message(user, text))
    }

    /// A command in the private chat with `user`, with the entity that Telegram adds.
    #[must_use]
    pub fn command(user: i64, text: &str) -> Self {
        let length = text.split_whitespace().next().map_or(0, str::len);
        let update = Self::text(user, text);
        update.set("/message/entities", json!([{"type": "bot_command", "offset": 0, "length": length}]))
    }

    /// A button of message 555 in the private chat with `user`.
    #[must_use]
    pub fn callback(user: i64, data: &str) -> Self {
        let message = json!({"message_id": 555, "date": now() - 60, "chat": chat(user), "text": "Pick one",
                             "from": {"id": 1, "is_bot": true, "first_name": "T"}});
        Self::new(
            "callback_query",
            json!({"id": fresh().to_string(), "from": from(user), "data": data,
                                           "chat_instance": "1", "message": message}),
        )
    }

    /// A photo in the private chat with `user`, as a part of an album; its file is named after it.
    #[must_use]
    pub fn photo(user: i64, album: &str, file: &str) -> Self {
        let mut message = message(user, "");
        let sizes = [("small", 90), (file, 800)].map(|(id, width)| json!({"file_id": id, "width": width}));
        message.as_object_mut().expect("an object").remove("text");
        message["photo"] = json!(sizes);
        message["media_group_id"] = json!(album);
        Self::new("message", message)
    }

    #[must_use]
    pub fn edited(user: i64, text: &str) -> Self {
        Self::new("edited_message", message(user, text))
    }

    /// The user blocks (`kicked`) or unblocks (`member`) the bot.
    #[must_use]
    pub fn my_chat_member(user: i64, from_status: &str, to_status: &str) -> Self {
        let member =
            |status: &str| json!({"user": {"id": 1, "is_bot": true, "first_name": "T"}, "status": status});
        Self::new(
            "my_chat_member",
            json!({"chat": chat(user), "from": from(user), "date": now(),
            "old_chat_member": member(from_status), "new_chat_member": member(to_status)}),
        )
    }

    #[must_use]
    pub fn inline_query(user: i64, query: &str) -> Self {
        Self::new(
            "inline_query",
            json!({"id": fresh().to_string(), "from": from(user), "query": query, "offset": ""}),
        )
    }

    /// The message's text (messages only).
    #[must_use]
    pub fn saying(self, text: &str) -> Self {
        self.set("/message/text", json!(text))
    }

    /// With another update_id.
    #[must_use]
    pub fn id(self, update_id: i64) -> Self {
        self.set("/update_id", json!(update_id))
    }

    /// With another `date`, in unix seconds (messages only).
    #[must_use]
    pub fn date(self, date: i64) -> Self {
        self.set("/message/date", json!(date))
    }

    /// With `value` at a JSON pointer whose parent exists.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a JSON pointer starts with a slash");
        self.0.pointer_mut(parent).expect("the parent exists")[key] = value;
        self
    }

    #[must_use]
    pub fn update_id(&self) -> i64 {
        self.0["update_id"].as_i64().expect("every update here has one")
    }

    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }

    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }
}

fn message(user: i64, text: &str) -> Value {
    json!({"message_id": 1000 + fresh(), "date": now(), "chat": chat(user), "from": from(user), "text": text})
}

fn chat(user: i64) -> Value {
    json!({"id": user, "type": "private", "first_name": "Ada"})
}

fn from(user: i64) -> Value {
    json!({"id": user, "is_bot": false, "first_name": "Ada", "language_code": "en"})
}
