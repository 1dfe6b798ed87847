//! The store on Redis: the only room that knows the redis crate.
//!
//! Each step is one script over keys with one hash tag, so one round trip, atomic, and fit for Redis
//! Cluster (facts D5). A call has 250 ms; after one that failed or took longer, Redis is treated as away
//! for a second (contract 9), so that an update never waits twice on a dead one.

mod breaker;
mod look;
mod messages;

use std::future::Future;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    AsyncCommands as _, FromRedisValue, IntoConnectionInfo as _, RedisError, Script, ScriptInvocation,
};

use self::breaker::Breaker;
pub use self::look::{Seen, look};
use super::{
    Beat, Begin, Begun, Beside, End, OPEN_SECONDS, REMEMBER_SECONDS, Run, StoreError, UpdateKey, bucket,
};
use crate::events;
use crate::readiness::Readiness;
use crate::settings::{SettingError, Values, whole};

/// A call takes no longer than this (contract 9).
const CALL: Duration = Duration::from_millis(250);

/// How often Redis is asked how it is: just over the breaker's second, so that each asking is a real one.
const LOOK_EVERY: Duration = Duration::from_millis(1100);

/// After so many askings in vain the connection is made anew.
const GIVE_UP: u32 = 3;

/// What `ping` writes.
const PING: &str = "tgw:ping";
const PING_SECONDS: u64 = 60;

/// An album's verdict is kept this long: its parts arrive within seconds.
const ALBUM_SECONDS: u64 = 3600;

static BEGIN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("begin.lua")));
/// Keeps the longer of two waits. By the server's clock, since the workers' may differ.
static PARK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local longer = redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1])
         if longer then redis.call('SET', KEYS[1], 1, 'PX', ARGV[1]) end
         return longer and 1 or 0",
    )
});
static BEAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("beat.lua")));
static STEP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("step.lua")));

/// Redis, over one connection that is made again after each loss. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    client: redis::Client,
    connection: Mutex<ConnectionManager>,
    breaker: Breaker,
    readiness: Readiness,
}

/// Where Redis is.
#[derive(Clone)]
pub struct Settings(redis::ConnectionInfo);

impl Settings {
    /// `REDIS_URL`, else `REDIS_HOST` and `REDIS_PORT`.
    pub fn read(values: &Values) -> Result<Self, SettingError> {
        if values.is_given("REDIS_URL") {
            let expected = "an address such as redis://:password@host:6379/0, or rediss:// for TLS";
            return values.parse("REDIS_URL", expected, |text| text.into_connection_info().ok()).map(Self);
        }
        let port = whole(values, "REDIS_PORT", 1..=65535)? as u16;
        let expected = "a host's name or address";
        values.parse("REDIS_HOST", expected, |host| (host, port).into_connection_info().ok()).map(Self)
    }
}

impl Store {
    /// Begins to connect, and to look after the connection; a Redis that is away now is no error.
    pub fn open(settings: Settings, readiness: Readiness) -> Result<Self, RedisError> {
        let client = redis::Client::open(settings.0)?;
        let connection = Mutex::new(connect(&client)?);
        readiness.set("store", "connecting", true);
        events::begin_store();
        let inner = Arc::new(Inner { client, connection, breaker: Breaker::default(), readiness });
        tokio::spawn(look_after(Arc::downgrade(&inner)));
        Ok(Self(inner))
    }

    fn connection(&self) -> ConnectionManager {
        self.0.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) async fn begin(&self, begin: &Begin<'_>) -> Result<Begun, StoreError> {
        let keys = Keys(begin.key);
        let charge = begin.charge.as_ref();
        let mut call = BEGIN.key(keys.update());
        call.key(keys.session()).key(keys.bucket()).key(keys.album(charge.and_then(|charge| charge.album)));
        call.key(keys.sticky(begin.sticky_in.unwrap_or_default()));
        call.arg(begin.worker).arg(OPEN_SECONDS).arg(begin.suspect).arg(begin.after_panic);
        call.arg(begin.user.map(|user| user.to_string()).unwrap_or_default()).arg(begin.session_seconds);
        match charge {
            Some(it) => call.arg(1).arg(it.acted_ms).arg(it.requests).arg(it.window_ms),
            None => call.arg(0).arg(0).arg(1).arg(1),
        };
        call.arg(REMEMBER_SECONDS)
            .arg(ALBUM_SECONDS)
            .arg(charge.is_some_and(|charge| charge.album.is_some()));
        call.arg(bucket::HISTORY);
        call.arg(begin.sticky_in.is_some()).arg(charge.is_some_and(|charge| charge.only_if_sticky));
        call.arg(begin.album.is_some()).arg(begin.album.map(numbers).unwrap_or_default());
        self.call(&call).await.map(begun)
    }

    pub(super) async fn plan(
        &self,
        key: &UpdateKey,
        worker: &str,
        plan: &Bytes,
        beside: Option<&Beside<'_>>,
    ) -> Result<(), StoreError> {
        let Beside { session, sticky, album } = beside.cloned().unwrap_or_default();
        let mut call = step(key, worker, "plan");
        call.key(Keys(key).sticky(sticky.as_ref().map_or(0, |sticky| sticky.chat)));
        with_parts(&mut call, key, album);
        call.arg(&plan[..]);
        let session = session.map_or(("", 0), |session| (session.user_id, session.seconds));
        call.arg(session.0).arg(session.1).arg(REMEMBER_SECONDS);
        if let Some(sticky) = sticky {
            call.arg(sticky.to.unwrap_or_default()).arg(sticky.seconds);
        }
        self.written(&call).await
    }

    pub(super) async fn sent(&self, key: &UpdateKey, worker: &str, count: u32) -> Result<(), StoreError> {
        let mut call = step(key, worker, "sent");
        call.arg(count);
        self.written(&call).await
    }

    pub(super) async fn parked(
        &self,
        key: &UpdateKey,
        worker: &str,
        until_ms: u64,
    ) -> Result<(), StoreError> {
        let mut call = step(key, worker, "parked");
        call.arg(until_ms);
        self.written(&call).await
    }

    pub(super) async fn park_bot(&self, bot: u64, wait: Duration) -> Result<(), StoreError> {
        let mut call = PARK.key(parked(bot));
        call.arg(wait.as_millis().max(1) as u64);
        self.call::<i64>(&call).await.map(|_| ())
    }

    pub(super) async fn beat(&self, bot: u64, replies: u64) -> Result<Beat, StoreError> {
        let mut call = BEAT.key(parked(bot));
        call.key(format!("tgw:{{{bot}}}:replies")).arg(replies);
        let (left, replies): (i64, u64) = self.call(&call).await?;
        // Less than 0 where the bot is not parked.
        let parked = u64::try_from(left).ok().map(Duration::from_millis);
        Ok(Beat { parked, replies: Some(replies) })
    }

    pub(super) async fn dying(&self, key: &UpdateKey, worker: &str, why: &Bytes) -> Result<(), StoreError> {
        let mut call = step(key, worker, "dying");
        call.arg(&why[..]);
        self.written(&call).await
    }

    pub(super) async fn finish(
        &self,
        key: &UpdateKey,
        worker: &str,
        end: End,
        album: &[u64],
    ) -> Result<(), StoreError> {
        let mut call = step(key, worker, "finish");
        with_parts(&mut call, key, album);
        call.arg(if end == End::Done { "done" } else { "dead" }).arg(REMEMBER_SECONDS);
        self.written(&call).await
    }

    pub(super) async fn release(&self, key: &UpdateKey, worker: &str) -> Result<(), StoreError> {
        self.written(&step(key, worker, "release")).await
    }

    pub(super) async fn answer_once(&self, key: &UpdateKey) -> Result<bool, StoreError> {
        let mut call = step(key, "", "answer");
        call.arg(OPEN_SECONDS);
        self.call::<i64>(&call).await.map(|first| first == 1)
    }

    pub(super) async fn notice_begin(&self, key: &UpdateKey, hold_ms: u64) -> Result<bool, StoreError> {
        let name = Keys(key).notice();
        let mut connection = self.connection();
        let mut set = redis::cmd("SET");
        set.arg(name).arg(1).arg("NX").arg("PX").arg(hold_ms.max(1));
        self.guard(async move { set.query_async::<Option<String>>(&mut connection).await })
            .await
            .map(|set| set.is_some())
    }

    pub(super) async fn notice_sent(&self, key: &UpdateKey, window_ms: u64) -> Result<(), StoreError> {
        let name = Keys(key).notice();
        let mut connection = self.connection();
        self.guard(async move { connection.pset_ex(name, 1, window_ms.max(1)).await }).await
    }

    /// A write: a PING is answered by a replica too, and by one that was the master a moment ago.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let mut connection = self.connection();
        self.guard(async move { connection.set_ex(PING, 1, PING_SECONDS).await }).await
    }

    async fn written(&self, call: &ScriptInvocation<'_>) -> Result<(), StoreError> {
        match self.call::<i64>(call).await? {
            0 => Err(StoreError::Fenced),
            _ => Ok(()),
        }
    }

    async fn call<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        let mut connection = self.connection();
        self.guard(async { call.invoke_async(&mut connection).await }).await
    }

    /// Makes one call, within its time and unless the breaker is open.
    async fn guard<T>(&self, call: impl Future<Output = Result<T, RedisError>>) -> Result<T, StoreError> {
        if self.0.breaker.is_open() {
            return Err(StoreError::Away);
        }
        let result = match tokio::time::timeout(CALL, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                // A server that answers and says no (a replica, one that loads its data or has lost its
                // master) may not be the one that the address leads to by now. The connection stands, so
                // nobody else would make a new one.
                if !error.is_io_error() && !self.0.breaker.is_open() {
                    self.connect_anew();
                }
                Err(error.to_string())
            }
            Err(_) => Err(format!("no answer within {CALL:?}")),
        };
        match result {
            Ok(value) => {
                // One call may be late on a busy machine: while others are answered, Redis is not away.
                self.0.breaker.close();
                self.says("up");
                Ok(value)
            }
            Err(error) => {
                self.0.breaker.open();
                events::store_away(&error);
                self.says("away");
                Err(StoreError::Away)
            }
        }
    }

    fn connect_anew(&self) {
        if let Ok(fresh) = connect(&self.0.client) {
            *self.0.connection.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }

    /// A worker without Redis is ready all the same, and says so (contract 2).
    fn says(&self, state: &'static str) {
        if self.0.breaker.changed(state == "up") {
            self.0.readiness.set("store", state, true);
            events::store_changed(state == "up");
        }
    }
}

fn connect(client: &redis::Client) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(Some(CALL))
        .set_connection_timeout(Some(CALL))
        .set_number_of_retries(0);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

/// Asks every second how Redis is, so that `/ready` knows without an update's having asked. A connection
/// that fails again and again is thrown away: the manager keeps one whose peer has vanished, or that was
/// refused once, for as long as the kernel does.
async fn look_after(store: Weak<Inner>) {
    let mut failures = 0;
    while let Some(inner) = store.upgrade() {
        let store = Store(inner);
        failures = if store.ping().await.is_ok() { 0 } else { failures + 1 };
        if failures >= GIVE_UP {
            store.connect_anew();
            failures = 0;
        }
        drop(store);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn step<'a>(key: &UpdateKey, worker: &str, step: &str) -> ScriptInvocation<'a> {
    let keys = Keys(key);
    let mut call = STEP.key(keys.update());
    call.key(keys.session()).arg(worker).arg(step);
    call
}

/// Adds the keys of an album's other parts.
fn with_parts(call: &mut ScriptInvocation<'_>, key: &UpdateKey, album: &[u64]) {
    for part in album {
        call.key(Keys(&key.of_part(*part)).update());
    }
}

/// As they are kept with an update: "7 8 9".
fn numbers(album: &[u64]) -> String {
    album.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

fn parked(bot: u64) -> String {
    format!("tgw:{{{bot}}}:parked")
}

/// The names of an update's keys, all under the hash tag `{bot:owner}`.
struct Keys<'a>(&'a UpdateKey);

impl Keys<'_> {
    fn name(&self, rest: &str) -> String {
        format!("tgw:{{{}:{}}}:{rest}", self.0.bot, self.0.owner)
    }

    fn update(&self) -> String {
        self.name(&format!("update:{}:{}", self.0.update_id, self.0.replay))
    }

    fn session(&self) -> String {
        self.name("session")
    }

    fn bucket(&self) -> String {
        self.name("bucket")
    }

    fn album(&self, album: Option<&str>) -> String {
        self.name(&format!("album:{}", album.unwrap_or_default()))
    }

    fn sticky(&self, chat: i64) -> String {
        self.name(&format!("sticky:{chat}"))
    }

    fn notice(&self) -> String {
        self.name("notice")
    }
}

/// What `begin.lua` returns: a word, then attempts, user_id, limited, plan, sent, dying, parked until, sticky and album.
type BeginAnswer = (
    String,
    u32,
    Option<String>,
    bool,
    Option<Vec<u8>>,
    u32,
    Option<Vec<u8>>,
    u64,
    Option<String>,
    Option<String>,
);

fn begun(
    (word, attempts, user_id, limited, plan, sent, dying, parked_until_ms, sticky, album): BeginAnswer,
) -> Begun {
    match word.as_str() {
        "ended" => Begun::Ended,
        "suspect" => Begun::Suspect(attempts),
        _ => {
            let (plan, dying) = (plan.map(Bytes::from), dying.map(Bytes::from));
            let parts = album.iter().flat_map(|album| album.split(' '));
            let album = parts.filter_map(|part| part.parse().ok()).collect();
            Begun::Run(Run { attempts, user_id, sticky, limited, plan, sent, dying, parked_until_ms, album })
        }
    }
}
