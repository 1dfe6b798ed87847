//! What one worker was told to wait for, for the others: that a chat is parked, where they take its update over; and
//! that the whole bot is, at once.

use std::convert::Infallible;
use std::time::Duration;

use shared::clock;
use shared::store::{Beat, Store, UpdateKey};
use tokio::time::{Instant, sleep};

use super::Telegram;
use super::replies::Alone;
use crate::events;

/// How often a worker looks whether another one has parked the bot: until then it makes calls that are refused. And how
/// often it tells how many replies it has sent.
const LOOK: Duration = Duration::from_millis(250);

/// The update that a call belongs to, at the store.
#[derive(Clone, Copy)]
pub struct Note<'a> {
    pub store: &'a Store,
    pub key: &'a UpdateKey,
    /// This process's name in claims.
    pub worker: &'a str,
}

impl Note<'_> {
    /// The update's next call is not to be made before `wait` has passed. Without the store nobody else knows, and
    /// who takes the update over is told by Telegram.
    pub async fn parked(&self, wait: Duration) {
        let until = clock::now_ms().saturating_add(wait.as_millis() as u64);
        if let Err(error) = self.store.parked(self.key, self.worker, until).await {
            tracing::debug!(%error, "that a chat is parked is not noted");
        }
    }
}

/// Tells the other workers when this one parks the bot, and parks it when another one does; and counts the replies of all.
pub async fn share_parks(telegram: Telegram, store: Store) -> Infallible {
    let mut parks = telegram.parks();
    let bot = telegram.bot();
    let mut alone = Alone::default();
    loop {
        tokio::select! {
            Ok(()) = parks.changed() => {
                let wait = *parks.borrow_and_update();
                if let Err(error) = store.park_bot(bot, wait).await {
                    tracing::debug!(%error, "that the bot is parked is not told to the others");
                }
            }
            () = sleep(LOOK) => {
                let replies = telegram.replies().take();
                let by_itself = alone.beat(replies);
                let Beat { parked, replies } = store.beat(bot, replies).await.unwrap_or_default();
                if let Some(wait) = parked {
                    telegram.pace().park_bot(Instant::now() + wait);
                }
                telegram.replies().known(replies.unwrap_or(by_itself));
            }
        }
        events::chats_parked(telegram.pace().parked(Instant::now()));
    }
}
