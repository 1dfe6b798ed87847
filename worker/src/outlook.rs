//! What one worker of all tells, since each would tell the same: what waits at Telegram, and how many dead letters there
//! are. It is the one that has partition 0. Seen by metrics only; nothing here decides anything.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use shared::queue::Consumer;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::events;
use crate::telegram::Telegram;

/// Whose worker tells.
const PARTITION: u16 = 0;

/// How often Telegram is asked (facts T11): its numbers change slowly, and a look is a call of the Bot API.
const ASK: Duration = Duration::from_secs(60);

/// How often the metrics are told how many letters there are.
const TELL: Duration = Duration::from_secs(1);

/// Tells for as long as the partition is ours, each time anew.
pub async fn tell(telegram: Telegram, consumer: Consumer, mut held: watch::Receiver<BTreeSet<u16>>) {
    let ours = |held: &BTreeSet<u16>| held.contains(&PARTITION);
    while held.wait_for(ours).await.is_ok() {
        tokio::select! {
            _ = held.wait_for(|held| !ours(held)) => {}
            never = pending(&telegram) => match never {},
            never = letters(&consumer) => match never {},
        }
        // Another worker knows better from now on.
        events::pending(None);
        events::letters_waiting(None);
    }
}

async fn pending(telegram: &Telegram) -> Infallible {
    loop {
        events::pending(telegram.pending().await.as_ref());
        sleep(ASK).await;
    }
}

async fn letters(consumer: &Consumer) -> Infallible {
    loop {
        events::letters_waiting(consumer.letters_waiting());
        sleep(TELL).await;
    }
}
