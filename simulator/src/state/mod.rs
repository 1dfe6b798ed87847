//! All that the simulator remembers, in one `World` that its rooms share: the bot, its webhook, the
//! chats, the pending updates, what was called and delivered, and the rules for failing on cue.
//! Each part has a lock of its own. Where two are held, chats come before the queue.

pub(crate) mod callbacks;
pub(crate) mod calls;
pub(crate) mod chats;
pub(crate) mod failures;
pub(crate) mod journal;
pub(crate) mod limits;
pub(crate) mod message;
pub(crate) mod punishments;
pub(crate) mod webhook;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast};

use crate::delivery::Delivery;
use crate::delivery::queue::Queue;
use crate::settings::{Settings, bot_id};
use calls::Call;
use chats::Chats;
use failures::Failures;
use journal::Journal;
use limits::Limits;
use punishments::Punishments;
use webhook::Webhook;

/// A page that falls this many changes behind is told to read everything again.
const CHANGES: usize = 1024;
/// The bot's id until a token names it.
const UNNAMED_BOT: i64 = 1_000_000;

pub(crate) struct World {
    pub settings: Settings,
    bot_id: AtomicI64,
    chats: Mutex<Chats>,
    webhook: Mutex<Webhook>,
    failures: Mutex<Failures>,
    limits: Mutex<Limits>,
    punishments: Mutex<Punishments>,
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
        let first_update_id =
            settings.first_update_id.unwrap_or_else(|| rand::random_range(1..1_000_000_000));
        let named = settings.tokens.iter().find_map(|token| bot_id(token));
        Self {
            bot_id: AtomicI64::new(named.unwrap_or(UNNAMED_BOT)),
            chats: Mutex::new(Chats::new(settings.history, settings.callback_lifetime)),
            webhook: Mutex::default(),
            failures: Mutex::default(),
            limits: Mutex::default(),
            punishments: Mutex::default(),
            calls: Mutex::new(Journal::new(settings.journal)),
            deliveries: Mutex::new(Journal::new(settings.journal)),
            queue: Mutex::new(Queue::new(first_update_id)),
            wake: Notify::new(),
            arrived: Notify::new(),
            changes: broadcast::Sender::new(CHANGES),
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

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

/// Telegram's dates: whole seconds since 1970.
pub(crate) fn now_seconds() -> i64 {
    now_ms() / 1000
}
