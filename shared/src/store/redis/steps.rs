//! The steps of an update and of its bot: what each asks of Redis, and how its answer is read.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use redis::{AsyncCommands as _, FromRedisValue, ParsingError, Value};

use super::Store;
use super::call::{Call, Known};
use super::connection::Connection;
use super::keys::{self, Keys, parked};
use crate::store::{
    Beat, Begin, Begun, Beside, End, OPEN_SECONDS, REMEMBER_SECONDS, Run, StoreError, UpdateKey, bucket,
};

/// An album's verdict is kept this long: its parts arrive within seconds.
const ALBUM_SECONDS: u64 = 3600;

/// What never changes stands in the script: each argument costs the server a text of its own.
static BEGIN: LazyLock<Known> = LazyLock::new(|| {
    Known::new(format!(
        "local OPEN_SECONDS, BUCKET_SECONDS, ALBUM_SECONDS, HISTORY = \
         {OPEN_SECONDS}, {REMEMBER_SECONDS}, {ALBUM_SECONDS}, {}\n{}",
        bucket::HISTORY,
        include_str!("begin.lua")
    ))
});
static BEAT: LazyLock<Known> = LazyLock::new(|| Known::new(include_str!("beat.lua")));
static STEP: LazyLock<Known> = LazyLock::new(|| Known::new(include_str!("step.lua")));
/// Keeps the longer of two waits. By the server's clock, since the workers' may differ.
static PARK: LazyLock<Known> = LazyLock::new(|| {
    Known::new(
        "local longer = redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1])
         if longer then redis.call('SET', KEYS[1], 1, 'PX', ARGV[1]) end
         return longer and 1 or 0",
    )
});

impl Store {
    pub(in crate::store) async fn begin(&self, begin: &Begin<'_>) -> Result<Begun, StoreError> {
        let keys = Keys(begin.key);
        let charge = begin.charge.as_ref();
        let album = charge.and_then(|charge| charge.album);
        let mut named = vec![keys.update(), keys.session(), keys.bucket()];
        // Each costs the server something: few updates need an album's, and many no sticky service's.
        if begin.sticky_in.is_some() || album.is_some() {
            named.push(keys.sticky(begin.sticky_in.unwrap_or_default()));
        }
        named.extend(album.map(|album| keys.album(album)));
        let mut call = BEGIN.over(&named);
        let flags = [
            begin.suspect,
            begin.after_panic,
            charge.is_some(),
            album.is_some(),
            begin.sticky_in.is_some(),
            charge.is_some_and(|charge| charge.only_if_sticky),
            begin.album.is_some(),
        ];
        call.arg(begin.worker).arg(&flags.map(|flag| if flag { b'1' } else { b'0' })[..]);
        call.arg(begin.user.map(|user| user.to_string()).unwrap_or_default()).arg(begin.session_seconds);
        let (acted_ms, requests, window_ms) =
            charge.map_or((0, 1, 1), |charge| (charge.acted_ms, charge.requests, charge.window_ms));
        call.arg(acted_ms).arg(requests).arg(window_ms);
        call.arg(begin.album.map(numbers).unwrap_or_default());
        self.call(&call).await
    }

    pub(in crate::store) async fn plan(
        &self,
        key: &UpdateKey,
        worker: &str,
        plan: &Bytes,
        beside: Option<&Beside<'_>>,
    ) -> Result<(), StoreError> {
        let Beside { session, sticky, album } = beside.cloned().unwrap_or_default();
        let mut keys = vec![Keys(key).update()];
        // In the script's order, up to the last that is needed.
        let up_to_sticky = sticky.is_some() || !album.is_empty();
        if session.is_some() || up_to_sticky {
            keys.push(Keys(key).session());
        }
        if up_to_sticky {
            keys.push(Keys(key).sticky(sticky.as_ref().map_or(0, |sticky| sticky.chat)));
        }
        keys.extend(parts(key, album));
        let mut call = step(&keys, worker, "plan");
        call.arg(&plan[..]);
        let session = session.map_or(("", 0), |session| (session.user_id, session.seconds));
        call.arg(session.0).arg(session.1).arg(REMEMBER_SECONDS);
        if let Some(sticky) = sticky {
            call.arg(sticky.to.unwrap_or_default()).arg(sticky.seconds);
        }
        self.written(&call).await
    }

    pub(in crate::store) async fn sent(
        &self,
        key: &UpdateKey,
        worker: &str,
        count: u32,
    ) -> Result<(), StoreError> {
        let keys = own(key);
        let mut call = step(&keys, worker, "sent");
        call.arg(count);
        self.written(&call).await
    }

    pub(in crate::store) async fn parked(
        &self,
        key: &UpdateKey,
        worker: &str,
        until_ms: u64,
    ) -> Result<(), StoreError> {
        let keys = own(key);
        let mut call = step(&keys, worker, "parked");
        call.arg(until_ms);
        self.written(&call).await
    }

    pub(in crate::store) async fn park_bot(&self, bot: u64, wait: Duration) -> Result<(), StoreError> {
        let key = [parked(bot)];
        let mut call = PARK.over(&key);
        call.arg(wait.as_millis().max(1) as u64);
        self.call::<i64>(&call).await.map(|_| ())
    }

    pub(in crate::store) async fn beat(&self, bot: u64, replies: u64) -> Result<Beat, StoreError> {
        let keys = [parked(bot), keys::replies(bot)];
        let mut call = BEAT.over(&keys);
        call.arg(replies);
        let (left, replies): (i64, u64) = self.call(&call).await?;
        // Less than 0 where the bot is not parked.
        let parked = u64::try_from(left).ok().map(Duration::from_millis);
        Ok(Beat { parked, replies: Some(replies) })
    }

    pub(in crate::store) async fn dying(
        &self,
        key: &UpdateKey,
        worker: &str,
        why: &Bytes,
    ) -> Result<(), StoreError> {
        let keys = own(key);
        let mut call = step(&keys, worker, "dying");
        call.arg(&why[..]);
        self.written(&call).await
    }

    pub(in crate::store) async fn finish(
        &self,
        key: &UpdateKey,
        worker: &str,
        end: End,
        album: &[u64],
    ) -> Result<(), StoreError> {
        let keys: Vec<String> = own(key).into_iter().chain(parts(key, album)).collect();
        let mut call = step(&keys, worker, "finish");
        call.arg(if end == End::Done { "done" } else { "dead" }).arg(REMEMBER_SECONDS);
        self.written(&call).await
    }

    pub(in crate::store) async fn release(&self, key: &UpdateKey, worker: &str) -> Result<(), StoreError> {
        self.written(&step(&own(key), worker, "release")).await
    }

    pub(in crate::store) async fn answer_begin(
        &self,
        key: &UpdateKey,
        worker: &str,
    ) -> Result<bool, StoreError> {
        let keys = own(key);
        let mut call = step(&keys, worker, "answer");
        // A cluster's library makes a call once more whose answer it lost: by its mark that is known as the same.
        call.arg(OPEN_SECONDS).arg(rand::random::<u64>());
        self.call::<i64>(&call).await.map(|first| first == 1)
    }

    pub(in crate::store) async fn answer_end(
        &self,
        key: &UpdateKey,
        worker: &str,
        given: bool,
    ) -> Result<(), StoreError> {
        let keys = own(key);
        let mut call = step(&keys, worker, "answered");
        call.arg(given);
        self.written(&call).await
    }

    pub(in crate::store) async fn notice_begin(
        &self,
        key: &UpdateKey,
        hold_ms: u64,
    ) -> Result<bool, StoreError> {
        let name = Keys(key).notice();
        let mut set = redis::cmd("SET");
        set.arg(&name).arg(1).arg("NX").arg("PX").arg(hold_ms.max(1));
        let set: Option<String> =
            self.guard(&name, async |mut connection| set.query_async(&mut connection).await).await?;
        Ok(set.is_some())
    }

    pub(in crate::store) async fn notice_sent(
        &self,
        key: &UpdateKey,
        window_ms: u64,
    ) -> Result<(), StoreError> {
        let name = Keys(key).notice();
        let set = async |mut connection: Connection| connection.pset_ex(&name, 1, window_ms.max(1)).await;
        self.guard(&name, set).await
    }

    async fn written(&self, call: &Call<'_>) -> Result<(), StoreError> {
        match self.call::<i64>(call).await? {
            0 => Err(StoreError::Fenced),
            _ => Ok(()),
        }
    }
}

/// The keys of most steps.
fn own(key: &UpdateKey) -> [String; 1] {
    [Keys(key).update()]
}

/// Those of an album's other parts, which have the same tag.
fn parts(key: &UpdateKey, album: &[u64]) -> impl Iterator<Item = String> {
    album.iter().map(|part| Keys(&key.of_part(*part)).update())
}

/// As they are kept with an update: "7 8 9".
fn numbers(album: &[u64]) -> String {
    album.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

fn step<'a>(keys: &'a [String], worker: &str, step: &str) -> Call<'a> {
    let mut call = STEP.over(keys);
    call.arg(worker).arg(step);
    call
}

/// What `begin.lua` returns.
impl FromRedisValue for Begun {
    fn from_redis_value(answer: Value) -> Result<Self, ParsingError> {
        let mut answer = Vec::<Value>::from_redis_value(answer)?.into_iter();
        let word: String = next(&mut answer)?;
        let attempts = next(&mut answer)?;
        let limited = match word.as_str() {
            "ended" => return Ok(Self::Ended),
            "suspect" => return Ok(Self::Suspect(attempts)),
            "run" => false,
            "limited" => true,
            word => return Err(format!("the first step has no answer {word:?}").into()),
        };
        let user_id = next(&mut answer)?;
        let (plan, sent): (Option<Vec<u8>>, _) = (next(&mut answer)?, next(&mut answer)?);
        let (dying, parked_until_ms): (Option<Vec<u8>>, _) = (next(&mut answer)?, next(&mut answer)?);
        let (sticky, album): (_, Option<String>) = (next(&mut answer)?, next(&mut answer)?);
        let (plan, dying) = (plan.map(Bytes::from), dying.map(Bytes::from));
        let parts = album.iter().flat_map(|album| album.split(' '));
        let album = parts.filter_map(|part| part.parse().ok()).collect();
        Ok(Self::Run(Run { attempts, user_id, sticky, limited, plan, sent, dying, parked_until_ms, album }))
    }
}

/// What is left out at the end is nothing.
fn next<T: FromRedisValue + Default>(answer: &mut std::vec::IntoIter<Value>) -> Result<T, ParsingError> {
    answer.next().map_or_else(|| Ok(T::default()), T::from_redis_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_none_of_the_scripts_is_an_error() {
        let run = |word: &str| Value::Array(vec![Value::SimpleString(word.to_owned()), Value::Int(1)]);
        for (word, is_limited) in [("run", false), ("limited", true)] {
            let begun = Begun::from_redis_value(run(word));
            assert!(
                matches!(begun, Ok(Begun::Run(Run { attempts: 1, limited, .. })) if limited == is_limited),
                "{word}"
            );
        }
        for answer in [Value::Nil, Value::Array(Vec::new()), run("runs")] {
            assert!(Begun::from_redis_value(answer.clone()).is_err(), "{answer:?}");
        }
    }
}
