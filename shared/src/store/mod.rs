//! The door to shared state: what is known of an update (seen, attempts, its plan), of a user (session,
//! rate limit), and who is handling it. Two rooms lie behind it, Redis and the embedded store.
//!
//! Every write of an update is conditional on its claim: a worker that was frozen and has lost the update
//! to another gets `Fenced` and must stop. A claim that is simply not there (the store lost its memory)
//! fences nobody.

pub mod bucket;
pub mod embedded;
pub mod redis;

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

/// An ended update is remembered this long: 25 h, since Telegram may repeat one for 24 h (facts T4, T8).
pub const REMEMBER_SECONDS: u64 = 90_000;

/// What is known of an update that has not ended is kept this long (48 h): twice the life of a message.
pub const OPEN_SECONDS: u64 = 172_800;

/// Who has an internal id is known for so long after they were last seen under it (30 days), or for as long as a
/// session lives, where that is longer: services write to people who have been away.
pub const ADDRESS_SECONDS: u64 = 2_592_000;

/// A new connection stands within this, also by way of sentinels or to a whole cluster.
const SOON: Duration = Duration::from_secs(3);
const PING_AGAIN: Duration = Duration::from_millis(50);

/// Which update. All that is kept of it lies under one hash tag, so that a script runs on Redis Cluster (facts D5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateKey {
    pub bot: u64,
    pub update_id: u64,
    /// 0, or the number of the replay: each replay is a run of its own.
    pub replay: u32,
    /// The user, else the chat, else 0: what the hash tag is made of.
    pub owner: i64,
}

/// What `begin` is asked.
#[derive(Clone, Debug)]
pub struct Begin<'a> {
    pub key: &'a UpdateKey,
    /// Who handles it: one name per worker process.
    pub worker: &'a str,
    /// The user whose session is looked up and renewed, if the update has one.
    pub user: Option<i64>,
    pub session_seconds: u64,
    /// What the rate limit charges; none where this update is not charged.
    pub charge: Option<Charge<'a>>,
    /// The chat of a user's free text, which a sticky service may take; none for any other update.
    pub sticky_in: Option<i64>,
    /// Whether an update that was begun before may be begun now. Without it such a one is told
    /// (`Begun::Suspect`) and not counted, so that the worker can choose its company first.
    pub suspect: bool,
    /// A panic in this process counts as an attempt even though the claim is still this worker's.
    pub after_panic: bool,
    /// The update_ids of the other parts of its album, of the same owner and replay, that are to be handled with
    /// it; none where it is handled by itself.
    pub album: Option<&'a [u64]>,
}

/// One update's charge on its user's bucket.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// When the user acted, ms since the epoch (contract 3.3).
    pub acted_ms: u64,
    /// An album is charged once: by this, the id of its media group.
    pub album: Option<&'a str>,
    /// The bucket's size, 1 or more.
    pub requests: u32,
    /// The time in which an empty bucket fills, ms, 1 or more.
    pub window_ms: u64,
    /// No route takes the update, so it is charged only where a sticky service does.
    pub only_if_sticky: bool,
}

/// What `begin` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It ended before, as done or as dead: only the ack is missing.
    Ended,
    /// It was begun so many times before and has not ended; nothing was counted.
    Suspect(u32),
    Run(Run),
}

/// An update's run, as the store knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// This attempt's number, from 1.
    pub attempts: u32,
    /// The user's internal id; `user_<id>` where no service has set another; none without a user.
    pub user_id: Option<String>,
    /// The service that the user's free texts in this chat go to for now.
    pub sticky: Option<String>,
    /// The rate limit said no. Decided once per update, however often it is delivered.
    pub limited: bool,
    /// The answer that an earlier attempt stored, and how many of its messages went out.
    pub plan: Option<Bytes>,
    pub sent: u32,
    /// A letter for it was begun: it is to be buried (again), never handled.
    pub dying: Option<Bytes>,
    /// Telegram wants nothing of it before then, ms since the epoch; 0 where it never said so.
    pub parked_until_ms: u64,
    /// Of an album, the other parts that the first attempt had beside it. A service may have answered for these, and
    /// remember it under the update's key, so a part that came later is none of them.
    pub album: Vec<u64>,
}

/// How an update ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Done,
    Dead,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Down, hanging or failing over: go on without it (I9).
    #[error("the store is away")]
    Away,
    /// Another worker has claimed the update since: stop, send nothing more, ack nothing.
    #[error("the update is another worker's now")]
    Fenced,
}

/// The store. Cheap to clone.
#[derive(Clone)]
pub enum Store {
    Redis(redis::Store),
    Embedded(embedded::Store),
}

macro_rules! both {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            Self::Redis($store) => $call.await,
            Self::Embedded($store) => $call.await,
        }
    };
}

impl UpdateKey {
    /// The key of another part of the same album.
    fn of_part(&self, update_id: u64) -> Self {
        Self { update_id, ..self.clone() }
    }
}

impl Store {
    /// Counts an attempt, claims the update, and tells what is known of it and of its user: one round trip.
    ///
    /// An attempt is counted where the claim was another worker's or nobody's, and after a panic: a lost
    /// connection or a hand-over within one process is no attempt.
    pub async fn begin(&self, begin: &Begin<'_>) -> Result<Begun, StoreError> {
        both!(self, store => store.begin(begin))
    }

    /// Keeps the answer until it is sent, and with it, in one write, what the service said of its user, and that the
    /// other parts of its album have ended.
    pub async fn plan(
        &self,
        key: &UpdateKey,
        worker: &str,
        plan: &Bytes,
        beside: Option<&Beside<'_>>,
    ) -> Result<(), StoreError> {
        both!(self, store => store.plan(key, worker, plan, beside))
    }

    /// The first `count` messages of the plan went out.
    pub async fn sent(&self, key: &UpdateKey, worker: &str, count: u32) -> Result<(), StoreError> {
        both!(self, store => store.sent(key, worker, count))
    }

    /// Telegram wants nothing more of the update before `until_ms`, since the epoch.
    pub async fn parked(&self, key: &UpdateKey, worker: &str, until_ms: u64) -> Result<(), StoreError> {
        both!(self, store => store.parked(key, worker, until_ms))
    }

    /// Telegram wants nothing of the bot for so long, whichever worker asks. A shorter wait shortens none.
    pub async fn park_bot(&self, bot: u64, wait: Duration) -> Result<(), StoreError> {
        match self {
            Self::Redis(store) => store.park_bot(bot, wait).await,
            // There is no other worker.
            Self::Embedded(_) => Ok(()),
        }
    }

    /// Tells how many replies this worker has sent since it told it last, and is told what concerns the whole bot.
    pub async fn beat(&self, bot: u64, replies: u64) -> Result<Beat, StoreError> {
        match self {
            Self::Redis(store) => store.beat(bot, replies).await,
            Self::Embedded(_) => Ok(Beat::default()),
        }
    }

    /// The update is about to be buried, for a reason that the caller wrote into `why`.
    pub async fn dying(&self, key: &UpdateKey, worker: &str, why: &Bytes) -> Result<(), StoreError> {
        both!(self, store => store.dying(key, worker, why))
    }

    /// The update has ended, and so have the other parts of its album, where they have not before: all that was kept
    /// of them is forgotten but this.
    pub async fn finish(
        &self,
        key: &UpdateKey,
        worker: &str,
        end: End,
        album: &[u64],
    ) -> Result<(), StoreError> {
        both!(self, store => store.finish(key, worker, end, album))
    }

    /// Handling was broken off for no fault of the update (a hand-over, a lost connection): the attempt
    /// that `begin` counted is taken back, and the claim is dropped.
    pub async fn release(&self, key: &UpdateKey, worker: &str) -> Result<(), StoreError> {
        both!(self, store => store.release(key, worker))
    }

    /// Takes the right to answer this update's callback. False where it was answered or has ended, and while this very
    /// worker has the right. Another worker's is taken over: it has lost the update since, and nobody knows whether its
    /// answer was given.
    pub async fn answer_begin(&self, key: &UpdateKey, worker: &str) -> Result<bool, StoreError> {
        both!(self, store => store.answer_begin(key, worker))
    }

    /// What came of that: the callback has been answered for good, or the right is given back.
    pub async fn answer_end(&self, key: &UpdateKey, worker: &str, given: bool) -> Result<(), StoreError> {
        both!(self, store => store.answer_end(key, worker, given))
    }

    /// Takes the right to tell a user that they are too fast, for `hold_ms`: true for the first to ask.
    pub async fn notice_begin(&self, key: &UpdateKey, hold_ms: u64) -> Result<bool, StoreError> {
        both!(self, store => store.notice_begin(key, hold_ms))
    }

    /// The notice went out just now: the next one may follow after `window_ms`.
    pub async fn notice_sent(&self, key: &UpdateKey, window_ms: u64) -> Result<(), StoreError> {
        both!(self, store => store.notice_sent(key, window_ms))
    }

    /// Keeps whose an internal id is.
    pub async fn keep_address(&self, address: &Address<'_>) -> Result<(), StoreError> {
        both!(self, store => store.keep_address(address))
    }

    /// The Telegram user with that internal id. `user_<n>`, if no service gave it to anybody, is whom the gateway
    /// calls so; but not one whom a service has given another name, since it may then have names of that form.
    pub async fn find_user(&self, bot: u64, user_id: &str) -> Result<Option<i64>, StoreError> {
        if let Some(user) = both!(self, store => store.address(bot, user_id))? {
            return Ok(Some(user));
        }
        let Some(user) = user_of(user_id) else { return Ok(None) };
        let session = both!(self, store => store.session(bot, user))?;
        Ok(Some(user).filter(|_| session.is_none_or(|session| session == user_id)))
    }

    /// Keeps under a service's key, for `seconds`, which message it was given to; what was kept before stays, and is
    /// told.
    pub async fn message_once(
        &self,
        bot: u64,
        key: &str,
        message: &str,
        seconds: u64,
    ) -> Result<Option<String>, StoreError> {
        both!(self, store => store.message_once(bot, key, message, seconds))
    }

    /// Whether it answers within a few seconds, as one needs that has just begun to connect.
    pub async fn answers_soon(&self) -> bool {
        let answers = async {
            while self.ping().await.is_err() {
                tokio::time::sleep(PING_AGAIN).await;
            }
        };
        tokio::time::timeout(SOON, answers).await.is_ok()
    }

    /// Whether the store answers, for `/ready`.
    pub async fn ping(&self) -> Result<(), StoreError> {
        both!(self, store => store.ping())
    }
}

/// What concerns the whole bot, whichever worker sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// For how long the bot is still parked.
    pub parked: Option<Duration>,
    /// Replies that all workers have told of for about a second; none where there is no other worker.
    pub replies: Option<u64>,
}

/// What is written beside a plan: what a service said of its user, and what else it has answered.
#[derive(Clone, Debug, Default)]
pub struct Beside<'a> {
    pub session: Option<Session<'a>>,
    pub sticky: Option<Sticky<'a>>,
    /// The other parts of the update's album that the plan answers too: with it they have ended, as done.
    pub album: &'a [u64],
}

/// Where the free texts of the update's user in one chat go from now on. It lies under the update's owner, so
/// only an update that has a user may set one.
#[derive(Clone, Debug)]
pub struct Sticky<'a> {
    pub chat: i64,
    /// None: by the table again.
    pub to: Option<&'a str>,
    /// For so long, 1 or more. Free texts do not renew it.
    pub seconds: u64,
}

/// Whose an internal id is.
#[derive(Clone, Debug)]
pub struct Address<'a> {
    pub bot: u64,
    pub user_id: &'a str,
    pub user: i64,
    /// Kept for so long.
    pub seconds: u64,
    /// A service has just given this user that name, so nobody else has it any more. Without it the user is known to have
    /// had it, which takes it from nobody.
    pub given: bool,
}

/// A user's session to set.
#[derive(Clone, Debug)]
pub struct Session<'a> {
    pub user: i64,
    pub user_id: &'a str,
    pub seconds: u64,
}

/// The user whom the gateway itself calls so, until a service gives them another name.
fn user_of(user_id: &str) -> Option<i64> {
    let digits = user_id.strip_prefix("user_").filter(|digits| !digits.starts_with(['0', '+']))?;
    digits.parse().ok().filter(|user| *user > 0)
}

/// A name of somebody else's, of any length and with any characters, as part of a key.
fn named(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_gateway_itself_writes_is_a_name_of_its_own() {
        assert_eq!(user_of("user_42"), Some(42));
        for other in [
            "42",
            "user_",
            "user_042",
            "user_+42",
            "user_-42",
            "user_0",
            "user_4 2",
            "user_99999999999999999999",
        ] {
            assert_eq!(user_of(other), None, "{other}");
        }
    }
}
