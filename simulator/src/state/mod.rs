//! All that the simulator remembers, in one `World` that its rooms share: the bot, its webhook, the
//! chats, the pending updates, what was called and delivered, and the rules for failing on cue.
//! Each part has a lock of its own. Where two are held, chats come before the queue, and the queue before the rest.

pub(crate) mod callbacks;
pub(crate) mod calls;
pub(crate) mod chats;
pub(crate) mod clock;
pub(crate) mod failures;
pub(crate) mod journal;
pub(crate) mod limits;
pub(crate) mod message;
pub(crate) mod polling;
pub(crate) mod punishments;
pub(crate) mod webhook;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast};

use crate::delivery::Delivery;
use crate::delivery::queue::{Queue, random_update_id};
use crate::settings::{Settings, bot_id};
use calls::Call;
use chats::Chats;
use clock::Clock;
use failures::Failures;
use journal::Journal;
use limits::Limits;
use polling::Polling;
use punishments::Punishments;
use webhook::Webhook;

/// A page that falls this many changes behind is told to read everything again.
const CHANGES: usize = 1024;
/// The bot's id until a token names it.
const UNNAMED_BOT: i64 = 1_000_000;

/// What the bot says about itself: by what it is, the language, and the scope.
pub(crate) type Profile = HashMap<(&'static str, String, String), Value>;

pub(crate) struct World {
    pub settings: Settings,
    pub clock: Clock,
    bot_id: AtomicI64,
    chats: Mutex<Chats>,
    webhook: Mutex<Webhook>,
    failures: Mutex<Failures>,
    limits: Mutex<Limits>,
    punishments: Mutex<Punishments>,
    polling: Mutex<Polling>,
    profile: Mutex<Profile>,
    calls: Mutex<Journal<Call>>,
    deliveries: Mutex<Journal<Delivery>>,
    queue: Mutex<Queue>,
    /// Something new may be ready for the sender,
    pub wake: Notify,
    /// and for a getUpdates that waits.
    pub arrived: Notify,
    /// The id of each chat that changed, for the page.
    pub changes: broadcast::Sender<i64>,
}

impl World {
    pub fn new(settings: Settings) -> Self {
        let first_update_id = settings.first_update_id.unwrap_or_else(random_update_id);
        let named = settings.tokens.iter().find_map(|token| bot_id(token));
        Self {
            bot_id: AtomicI64::new(named.unwrap_or(UNNAMED_BOT)),
            chats: Mutex::new(Chats::new(settings.history, settings.callback_lifetime)),
            webhook: Mutex::default(),
            failures: Mutex::default(),
            limits: Mutex::default(),
            punishments: Mutex::default(),
            polling: Mutex::default(),
            profile: Mutex::default(),
            calls: Mutex::new(Journal::new(settings.journal)),
            deliveries: Mutex::new(Journal::new(settings.journal)),
            queue: Mutex::new(Queue::new(first_update_id)),
            wake: Notify::new(),
            arrived: Notify::new(),
            changes: broadcast::Sender::new(CHANGES),
            clock: Clock::default(),
            settings,
        }
    }

    pub fn chats(&self) -> MutexGuard<'_, Chats> {
        lock(&self.chats)
    }

    pub fn webhook(&self) -> MutexGuard<'_, Webhook> {
        lock(&self.webhook)
    }

    pub fn failures(&self) -> MutexGuard<'_, Failures> {
        lock(&self.failures)
    }

    pub fn limits(&self) -> MutexGuard<'_, Limits> {
        lock(&self.limits)
    }

    pub fn punishments(&self) -> MutexGuard<'_, Punishments> {
        lock(&self.punishments)
    }

    pub fn polling(&self) -> MutexGuard<'_, Polling> {
        lock(&self.polling)
    }

    pub fn profile(&self) -> MutexGuard<'_, Profile> {
        lock(&self.profile)
    }

    pub fn calls(&self) -> MutexGuard<'_, Journal<Call>> {
        lock(&self.calls)
    }

    pub fn deliveries(&self) -> MutexGuard<'_, Journal<Delivery>> {
        lock(&self.deliveries)
    }

    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    pub fn bot_id(&self) -> i64 {
        self.bot_id.load(Ordering::Relaxed)
    }

    /// The bot is whoever's token was used last: a simulator serves one bot.
    pub fn name_bot(&self, bot_id: i64) {
        self.bot_id.store(bot_id, Ordering::Relaxed);
    }

    /// The bot as the `from` of its messages.
    pub fn bot(&self) -> Value {
        let username = &self.settings.bot_username;
        json!({"id": self.bot_id(), "is_bot": true, "first_name": username, "username": username})
    }

    /// Something was added to the queue, or the webhook was set.
    pub fn queue_changed(&self) {
        self.wake.notify_one();
        self.arrived.notify_waiters();
    }

    /// The webhook of this generation is no more; the updates stay.
    pub fn close_webhook(&self, generation: u64) {
        let mut webhook = self.webhook();
        if webhook.target.as_ref().is_some_and(|now| now.generation == generation) {
            webhook.delete();
        }
        drop(webhook);
        self.queue_changed();
    }

    pub fn changed(&self, chat_id: i64) {
        // An error says that no page is open.
        self.changes.send(chat_id).ok();
    }
}

/// A lock that outlives a panic of another holder: what is remembered here is never half written in a
/// way that a test's simulator could not live with.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
