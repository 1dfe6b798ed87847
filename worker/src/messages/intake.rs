//! From a posted body to an envelope that the queue has on disk.

use std::time::Duration;

use shared::clock;
use shared::queue::{Envelope, PublishError, Publisher};
use shared::store::{REMEMBER_SECONDS, Store};
use tokio::time::timeout;
use uuid::Uuid;

use super::Refusal;
use super::body::{Body, To, bad};
use super::id::Ids;
use super::queued::{Queued, bulk_of};
use crate::events;
use crate::incoming::{Chat, ChatKind, Incoming};
use crate::reply;

/// The queue confirms in milliseconds; who waits longer is told to come again.
const CONFIRM: Duration = Duration::from_secs(5);

const STORE_AWAY: Refusal = Refusal::ComeAgain("the store is away");

pub struct Intake {
    bot: u64,
    store: Store,
    queue: Publisher,
    ids: Ids,
}

impl Intake {
    pub fn new(bot: u64, store: Store, queue: Publisher) -> Self {
        Self { bot, store, queue, ids: Ids::default() }
    }

    /// Returns the message's id when it is on disk. Under a `key` that was used before it is the earlier one's, and
    /// runs once: a repeat goes into the queue too, since nobody knows that the first one did, and is found to be one.
    pub async fn take(&self, body: &[u8], key: Option<&str>) -> Result<u64, Refusal> {
        let body = Body::read(body)?;
        let chat = self.chat(&body.to).await?;
        // Formatted now, so that nothing is queued which can't be sent.
        let there = Incoming { chat: Some(chat), thread: body.thread, ..Incoming::default() };
        let calls = reply::calls(&body.answer, &there).map_err(|error| bad(error.to_string()))?;
        if calls.is_empty() {
            return Err(bad("there is nothing to send in it"));
        }
        let queued = Queued::new(body.request_id, calls);
        let envelope = |id| queued.envelope(id, self.bot, chat.id, body.priority, clock::now_ms());
        let id = self.ids.next();
        let mut message = envelope(id).ok_or_else(|| bad("its params are nested too deep"))?;
        if let Some(key) = key {
            let first = self.first_under(key, id, &message).await?;
            if first != id {
                message = envelope(first).ok_or_else(|| bad("its params are nested too deep"))?;
            }
        }
        self.publish(&message).await?;
        events::message_taken(body.priority, message.update_id, body.request_id);
        Ok(message.update_id)
    }

    async fn chat(&self, to: &To) -> Result<Chat, Refusal> {
        let id = match to {
            To::Chat(id) => *id,
            To::User(name) => {
                let user = self.store.find_user(self.bot, name).await.map_err(|_| STORE_AWAY)?;
                user.ok_or(Refusal::UnknownUser)?
            }
        };
        let kind = if id > 0 { ChatKind::Private } else { ChatKind::Unknown };
        Ok(Chat { id, kind })
    }

    /// The id that this key was given to first. Without the store nobody knows, and a repeat would be sent twice.
    async fn first_under(&self, key: &str, id: u64, message: &Envelope) -> Result<u64, Refusal> {
        // All but the id, which is not the same in a repeat.
        let told = String::from_utf8_lossy(&message.body).replacen(&id.to_string(), "", 1);
        let print = Uuid::new_v5(&Uuid::NAMESPACE_OID, told.as_bytes());
        let ours = format!("{id} {print}");
        let known = self.store.message_once(self.bot, key, &ours, REMEMBER_SECONDS).await;
        let Some(known) = known.map_err(|_| STORE_AWAY)? else { return Ok(id) };
        match known.split_once(' ').and_then(|(first, known)| Some((first.parse().ok()?, known))) {
            Some((first, known)) if known == print.to_string() => Ok(first),
            _ => Err(Refusal::AnotherMessage),
        }
    }

    async fn publish(&self, message: &Envelope) -> Result<(), Refusal> {
        let publishing = async {
            match bulk_of(message) {
                Some(bulk) => self.queue.publish_bulk(message, bulk).await,
                None => self.queue.publish(message).await,
            }
        };
        let published = timeout(CONFIRM, publishing).await;
        published.unwrap_or(Err(PublishError::Blocked)).map_err(|error| {
            tracing::debug!(%error, "a message can't be queued");
            Refusal::ComeAgain("the queue takes nothing at the moment")
        })
    }
}
