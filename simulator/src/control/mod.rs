//! The control side: what a person does in the chats, what a test wants to know, and how the simulator
//! is told to fail. `Control` has it as plain methods; `http` serves the same under `/control`.

pub(crate) mod http;
mod inject;
pub(crate) mod view;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::delivery::Delivery;
use crate::delivery::queue::Refused;
use crate::state::World;
use crate::state::calls::Call;
use crate::state::failures::Rule;
use view::ChatView;

/// What a person writes. Only the chat is needed; without a text, `extra` says what the message holds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewMessage {
    pub chat_id: i64,
    /// In a private chat the chat's own id.
    pub user_id: Option<i64>,
    pub text: Option<String>,
    /// Follows the bot's deep link with this payload, in place of a text (facts T13).
    pub start: Option<String>,
    pub first_name: Option<String>,
    pub language_code: Option<String>,
    /// `private`, `group`, `supergroup` or `channel`; if not said, it follows from the id.
    pub chat_type: Option<String>,
    /// Unix seconds; now, if not said. Expiry (facts T4) counts from now all the same.
    pub date: Option<i64>,
    /// Merged into the message as it is: a photo, a reply, entities of one's own.
    pub extra: Map<String, Value>,
}

/// A button that a person presses.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPress {
    pub chat_id: i64,
    #[serde(default)]
    pub user_id: Option<i64>,
    pub message_id: i64,
    pub data: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sent {
    pub update_id: i64,
    pub message_id: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pressed {
    pub update_id: i64,
    pub callback_query_id: String,
}

/// Who the bot is, and whether anybody listens.
#[derive(Debug, Clone, Serialize)]
pub struct Bot {
    pub id: i64,
    pub username: String,
    /// Whether a webhook is set.
    pub webhook: bool,
    pub last_error: Option<String>,
    pub pending: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    #[error("the update is not a JSON object")]
    NotAnObject,
    #[error("the pending store is full")]
    Full,
    #[error("the update is larger than 512 KiB")]
    TooLarge,
    #[error("a deep link's payload is 1 to 64 of A-Z, a-z, 0-9, _ and -")]
    Payload,
}

impl From<Refused> for ControlError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::TooLarge => Self::TooLarge,
        }
    }
}

/// The control side of one simulator. Clones share it; it works before, while and after the simulator runs.
#[derive(Clone)]
pub struct Control {
    world: Arc<World>,
}

impl Control {
    pub(crate) fn new(world: Arc<World>) -> Self {
        Self { world }
    }

    /// A person writes: a message in the chat and an update for the bot.
    pub fn message(&self, message: NewMessage) -> Result<Sent, ControlError> {
        inject::message(&self.world, message)
    }

    /// A person presses a button. The message need not be known: a bot's old messages have buttons too.
    pub fn press(&self, press: NewPress) -> Result<Pressed, ControlError> {
        inject::press(&self.world, press)
    }

    /// Any update, byte for byte. Without an `update_id` it gets one as its first field. Returns the id.
    pub fn update(&self, body: &str) -> Result<i64, ControlError> {
        inject::update(&self.world, body)
    }

    /// The user blocks the bot: sending to them fails, and the bot is told.
    pub fn block(&self, user_id: i64) -> Result<i64, ControlError> {
        inject::block(&self.world, user_id, true)
    }

    pub fn unblock(&self, user_id: i64) -> Result<i64, ControlError> {
        inject::block(&self.world, user_id, false)
    }

    /// From now on this chat does not exist, or exists again.
    pub fn missing(&self, chat_id: i64, missing: bool) {
        let mut chats = self.world.chats();
        match missing {
            true => chats.missing.insert(chat_id),
            false => chats.missing.remove(&chat_id),
        };
    }

    /// From now on this user's account is deleted, or it is back. The bot is not told.
    pub fn deactivate(&self, user_id: i64, deactivated: bool) {
        let mut chats = self.world.chats();
        match deactivated {
            true => chats.deactivated.insert(user_id),
            false => chats.deactivated.remove(&user_id),
        };
    }

    /// The Bot API calls numbered above `after`, oldest first. The last 200,000 are remembered, unless
    /// the settings say otherwise.
    pub fn calls(&self, after: u64) -> Vec<Call> {
        self.world.calls().after(after, usize::MAX)
    }

    /// The delivery attempts numbered above `after`, oldest first; remembered like the calls.
    pub fn deliveries(&self, after: u64) -> Vec<Delivery> {
        self.world.deliveries().after(after, usize::MAX)
    }

    /// The chat as the person in it sees it.
    pub fn chat(&self, chat_id: i64) -> ChatView {
        view::chat(&self.world, chat_id)
    }

    /// From now until its time is over every call that names this chat gets 429, with what is left of that time as
    /// `retry_after`; without a chat, every call but those to get updates. A duration of zero ends it.
    pub fn punish(&self, chat_id: Option<i64>, duration: Duration) {
        self.world.punishments().add(chat_id, duration, self.world.clock.now());
    }

    /// The simulator's clock leaps ahead: what waits for a time that is over by then, waits no more.
    pub fn advance(&self, by: Duration) {
        self.world.clock.advance(by);
    }

    /// Stops the simulator's clock, so that nothing but `advance` moves it, or lets it go on.
    pub fn stop_clock(&self, stop: bool) {
        self.world.clock.stop(stop);
    }

    /// The simulator's own time, in Unix milliseconds: the real one, and what `advance` added.
    pub fn now_ms(&self) -> i64 {
        self.world.clock.now_ms()
    }

    pub fn fail(&self, rule: Rule) {
        self.world.failures().add(rule);
    }

    /// Clears the rules, the punishments, the calls and the deliveries. Chats, updates and the webhook stay.
    pub fn reset(&self) {
        self.world.failures().clear();
        self.world.punishments().clear();
        self.world.calls().clear();
        self.world.deliveries().clear();
    }

    /// Updates that are not delivered yet.
    pub fn pending(&self) -> usize {
        self.world.queue().pending()
    }

    pub fn bot(&self) -> Bot {
        let pending = self.pending();
        let webhook = self.world.webhook();
        Bot {
            id: self.world.bot_id(),
            username: self.world.settings.bot_username.clone(),
            webhook: webhook.target.is_some(),
            last_error: webhook.last_error.as_ref().map(|(_, error)| error.clone()),
            pending,
        }
    }
}
