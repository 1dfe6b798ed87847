//! The chats: who is in them, what was said, which buttons wait. Knows Telegram's JSON, no HTTP.
//! Bounded: beyond the settings' `history` the oldest messages, and the oldest chats, are forgotten.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::callbacks::Callbacks;
use super::message::Stored;

/// Answers to pressed buttons that a chat remembers.
const ANSWERS: usize = 100;

pub(crate) struct Chats {
    chats: HashMap<i64, Chat>,
    /// Chats in the order of their first message, and messages in the order they came.
    chat_order: VecDeque<i64>,
    message_order: VecDeque<(i64, i64)>,
    history: usize,
    /// Ids that the simulator was told do not exist.
    pub missing: HashSet<i64>,
    /// Users who blocked the bot,
    pub blocked: HashSet<i64>,
    /// and those who are no more.
    pub deactivated: HashSet<i64>,
    pub callbacks: Callbacks,
}

pub(crate) struct Chat {
    pub id: i64,
    /// `private`, `group`, `supergroup` or `channel`.
    pub kind: String,
    /// The person's first name, or the group's title.
    pub name: String,
    last_message_id: i64,
    pub messages: BTreeMap<i64, Stored>,
    /// The last chat action and when it was sent, in Unix milliseconds.
    pub action: Option<(String, i64)>,
    pub answers: VecDeque<ShownAnswer>,
}

/// What answerCallbackQuery showed to the person.
#[derive(Debug, Clone)]
pub(crate) struct ShownAnswer {
    pub callback_query_id: String,
    pub message_id: Option<i64>,
    pub text: Option<String>,
    pub show_alert: bool,
    pub url: Option<String>,
    pub at_ms: i64,
}

impl Chats {
    pub fn new(history: usize, callback_lifetime: Duration) -> Self {
        Self {
            chats: HashMap::new(),
            chat_order: VecDeque::new(),
            message_order: VecDeque::new(),
            history: history.max(1),
            missing: HashSet::new(),
            blocked: HashSet::new(),
            deactivated: HashSet::new(),
            callbacks: Callbacks::new(callback_lifetime),
        }
    }

    pub fn get(&self, chat_id: i64) -> Option<&Chat> {
        self.chats.get(&chat_id)
    }

    pub fn get_mut(&mut self, chat_id: i64) -> Option<&mut Chat> {
        self.chats.get_mut(&chat_id)
    }

    /// The chat, made on first sight: a simulator believes in every id it was not told is missing.
    pub fn open(&mut self, chat_id: i64) -> &mut Chat {
        if !self.chats.contains_key(&chat_id) {
            self.chat_order.push_back(chat_id);
            if self.chat_order.len() > self.history
                && let Some(oldest) = self.chat_order.pop_front()
            {
                self.chats.remove(&oldest);
            }
        }
        self.chats.entry(chat_id).or_insert_with(|| Chat::new(chat_id))
    }

    /// Adds a message with the chat's next id, or its own if the wire form names one; returns the id.
    pub fn add(&mut self, chat_id: i64, mut message: Stored) -> i64 {
        let chat = self.open(chat_id);
        let named = message.wire.get("message_id").and_then(Value::as_i64);
        let message_id = named.unwrap_or(chat.last_message_id + 1);
        chat.last_message_id = chat.last_message_id.max(message_id);
        message.set("message_id", Some(json!(message_id)));
        if message.from_bot {
            // A chat action ends when the bot's message arrives.
            chat.action = None;
        }
        chat.messages.insert(message_id, message);
        self.message_order.push_back((chat_id, message_id));
        if self.message_order.len() > self.history
            && let Some((chat_id, message_id)) = self.message_order.pop_front()
            && let Some(chat) = self.chats.get_mut(&chat_id)
        {
            chat.messages.remove(&message_id);
        }
        message_id
    }
}

impl Chat {
    fn new(id: i64) -> Self {
        let (kind, name) = match id {
            1.. => ("private", format!("User {id}")),
            // Supergroups and channels have ids that start with -100.
            ..=-1_000_000_000_000 => ("supergroup", format!("Group {id}")),
            _ => ("group", format!("Group {id}")),
        };
        Self {
            id,
            kind: kind.to_owned(),
            name,
            last_message_id: 0,
            messages: BTreeMap::new(),
            action: None,
            answers: VecDeque::new(),
        }
    }

    /// The chat as Telegram shows it inside a message.
    pub fn wire(&self) -> Value {
        let name = if self.kind == "private" { "first_name" } else { "title" };
        json!({"id": self.id, "type": self.kind, name: self.name})
    }

    /// The fields that every message of this chat starts with.
    pub fn header(&self, date: i64) -> Map<String, Value> {
        let mut wire = Map::new();
        wire.insert("chat".to_owned(), self.wire());
        wire.insert("date".to_owned(), json!(date));
        wire
    }

    pub fn show_action(&mut self, action: &str, at_ms: i64) {
        self.action = Some((action.to_owned(), at_ms));
    }

    pub fn show_answer(&mut self, answer: ShownAnswer) {
        self.answers.push_back(answer);
        if self.answers.len() > ANSWERS {
            self.answers.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Stored {
        let wire = Map::from_iter([("text".to_owned(), json!(text))]);
        Stored::new(wire, false, 0)
    }

    #[test]
    fn each_chat_counts_its_own_messages() {
        let mut chats = Chats::new(100, Duration::ZERO);
        assert_eq!(chats.add(7, text("a")), 1);
        assert_eq!(chats.add(7, text("b")), 2);
        assert_eq!(chats.add(8, text("c")), 1);
    }

    #[test]
    fn the_oldest_messages_and_chats_are_forgotten() {
        let mut chats = Chats::new(2, Duration::ZERO);
        for chat_id in 1..=3 {
            chats.add(chat_id, text("a"));
        }
        assert!(chats.get(1).is_none());
        chats.add(3, text("b"));
        chats.add(3, text("c"));
        let kept: Vec<_> = chats.get(3).unwrap().messages.keys().copied().collect();
        assert_eq!(kept, [2, 3]);
    }

    #[test]
    fn the_kind_of_a_chat_follows_from_its_id() {
        let mut chats = Chats::new(100, Duration::ZERO);
        assert_eq!(chats.open(7).kind, "private");
        assert_eq!(chats.open(-7).kind, "group");
        assert_eq!(chats.open(-1_001_234_567_890).kind, "supergroup");
    }
}
