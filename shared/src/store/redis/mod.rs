//! The store on Redis: the only room that knows the redis crate.
//!
//! Each step is one script over keys with one hash tag, so one round trip, atomic, and fit for Redis
//! Cluster (facts D5). A call has 250 ms; after one that failed or took longer, Redis is treated as away
//! for a second (contract 9), so that an update never waits twice on a dead one.

mod breaker;
mod call;
mod connection;
mod keys;
mod look;
mod messages;
mod settings;
mod steps;
mod upkeep;

use std::fmt::Display;
use std::io::{self, ErrorKind::TimedOut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{AsyncCommands as _, FromRedisValue, RedisError};
use tokio::sync::Notify;

use self::breaker::Breakers;
use self::call::Call;
use self::connection::{Connection, Connector};
pub use self::look::{Looked, Seen, look};
pub use self::settings::Settings;
use super::StoreError;
use crate::events;
use crate::readiness::Readiness;

/// A call takes no longer than this (contract 9).
const CALL: Duration = Duration::from_millis(250);

/// What a ping writes is kept this long.
const PING_SECONDS: u64 = 60;

/// Redis, over a connection that is made again after each loss. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    connector: Connector,
    /// None until the master, or the cluster, has been found.
    connection: Mutex<Option<Connection>>,
    breakers: Breakers,
    /// A key in each part, by which it is asked how it is.
    pings: Vec<String>,
    /// Something failed that a look at once may mend.
    look: Arc<Notify>,
    readiness: Readiness,
}

impl Store {
    /// Begins to connect, and to look after the connection; a Redis that is away now is no error.
    pub fn open(settings: Settings, readiness: Readiness) -> Result<Self, RedisError> {
        let connector = Connector::new(settings)?;
        let parts = if matches!(connector, Connector::Cluster(_)) { keys::PARTS } else { 1 };
        readiness.set("store", "connecting", true);
        events::begin_store();
        let inner = Arc::new(Inner {
            connection: Mutex::new(connector.at_once()?),
            connector,
            breakers: Breakers::new(parts),
            pings: keys::pings(parts),
            look: Arc::default(),
            readiness,
        });
        tokio::spawn(upkeep::look_after(Arc::downgrade(&inner), inner.look.clone()));
        Ok(Self(inner))
    }

    fn connection(&self) -> Option<Connection> {
        self.0.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_connection(&self, connection: Option<Connection>) {
        *self.0.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    /// A write, to each part: a PING is answered by a replica too, and by one that was the master a moment ago.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let pings = (0..self.0.pings.len()).map(|part| self.ping_part(part));
        join_all(pings).await.into_iter().collect()
    }

    async fn ping_part(&self, part: usize) -> Result<(), StoreError> {
        let key = &self.0.pings[part];
        self.guard(key, async |mut connection| connection.set_ex(key, 1, PING_SECONDS).await).await
    }

    async fn call<T: FromRedisValue>(&self, call: &Call<'_>) -> Result<T, StoreError> {
        self.guard(call.key, async |mut connection| call.make(&mut connection).await).await
    }

    /// Makes one call, within its time and unless the breaker is open where its key lies.
    async fn guard<T>(
        &self,
        key: &str,
        call: impl AsyncFnOnce(Connection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        let part = self.0.breakers.part_of(key);
        if self.0.breakers.is_open(part) {
            return Err(StoreError::Away);
        }
        let Some(connection) = self.connection() else { return Err(StoreError::Away) };
        let late = |_| Err(io::Error::new(TimedOut, format!("no answer within {CALL:?}")).into());
        match tokio::time::timeout(CALL, call(connection)).await.unwrap_or_else(late) {
            Ok(value) => {
                // One call may be late on a busy machine: while others are answered, Redis is not away.
                if self.0.breakers.answered(part) {
                    self.0.says(None);
                }
                return Ok(value);
            }
            Err(error) if is_of_the_key(&error) => events::store_failed(&error),
            Err(error) => {
                self.mend(part, &error);
                self.0.failed(part, &error);
            }
        }
        Err(StoreError::Away)
    }

    /// Where the sentinels may name another master by now, they are asked. A server that answers and says no (a replica, one that loads its data or has lost its master) may not be the
    /// one that the address leads to by now, or that the sentinels call the master. The connection stands, so nobody
    /// else would make a new one. What a cluster's servers say is for the library, which follows them.
    fn mend(&self, part: usize, error: &RedisError) {
        match &self.0.connector {
            Connector::One(_) if !error.is_io_error() && !self.0.breakers.is_open(part) => {
                if let Ok(fresh) = self.0.connector.at_once() {
                    self.set_connection(fresh);
                }
            }
            Connector::Sentinels(_) => self.0.look.notify_one(),
            Connector::One(_) | Connector::Cluster(_) => {}
        }
    }
}

/// The server answers, and can't do it with this key: its slot is being moved, or something else lies under its name.
fn is_of_the_key(error: &RedisError) -> bool {
    const CODES: [&str; 5] = ["TRYAGAIN", "ASK", "MOVED", "CROSSSLOT", "WRONGTYPE"];
    error.code().is_some_and(|code| CODES.contains(&code))
}

impl Inner {
    fn failed(&self, part: usize, error: &dyn Display) {
        events::store_failed(error);
        if self.breakers.failed(part) {
            self.says(Some(error));
        }
    }

    /// A worker without Redis is ready all the same, and says so (contract 2).
    fn says(&self, away: Option<&dyn Display>) {
        self.readiness.set("store", if away.is_none() { "up" } else { "away" }, true);
        events::store_changed(away);
    }
}
