//! Looks after the connection: asks Redis how it is, and finds the master or the cluster again when it has gone.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{ConnectionAddr, RedisError};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::connection::{Connected, Connector};
use super::{Inner, Store};

/// How often Redis is asked how it is: just over the breaker's second, so that each asking is a real one.
const LOOK_EVERY: Duration = Duration::from_millis(1100);

/// After so many askings in vain the connection is made anew.
const GIVE_UP: u32 = 3;

/// The sentinels are asked at every so many looks though the master answers: one that was cut off from them does not
/// know that it is none any more.
const ASK_SENTINELS: u64 = 5;

/// What is known between two looks.
#[derive(Default)]
struct Upkeep {
    looks: u64,
    /// Askings in vain since the last answer, or since the connection was made.
    failures: u32,
    /// Whom the sentinels named.
    master: Option<ConnectionAddr>,
}

/// Asks every second, so that `/ready` knows without an update's having asked. A connection that fails again and again
/// is thrown away: the manager keeps one whose peer has vanished, or that was refused once, for as long as the kernel
/// does, and the library does not hear of a cluster's fail-over where the old master hangs.
pub(super) async fn look_after(store: Weak<Inner>, at_once: Arc<Notify>) {
    let mut upkeep = Upkeep::default();
    while let Some(inner) = store.upgrade() {
        upkeep.look(&Store(inner)).await;
        let next = Instant::now() + LOOK_EVERY;
        // A call that failed may be the first that hears of a fail-over. However many fail, it is looked in time.
        while tokio::time::timeout_at(next, at_once.notified()).await.is_ok() {
            let Some(inner) = store.upgrade() else { return };
            upkeep.find(&Store(inner)).await;
        }
    }
}

impl Upkeep {
    async fn look(&mut self, store: &Store) {
        let breakers = &store.0.breakers;
        let asks = self.looks.is_multiple_of(ASK_SENTINELS) || !breakers.away().is_empty();
        if store.connection().is_none() || self.failures >= GIVE_UP || (self.sentinels(store) && asks) {
            self.find(store).await;
        }
        let next = (self.looks % store.0.pings.len() as u64) as usize;
        let away = breakers.away();
        let asked = if away.is_empty() { vec![next] } else { away };
        let answers = join_all(asked.into_iter().map(|part| store.ping_part(part))).await;
        self.failures = if answers.iter().all(Result::is_ok) { 0 } else { self.failures + 1 };
        self.looks += 1;
    }

    fn sentinels(&self, store: &Store) -> bool {
        matches!(store.0.connector, Connector::Sentinels(_))
    }

    /// Makes a connection, and keeps it unless it leads to where the present one does and that works.
    async fn find(&mut self, store: &Store) {
        let had = store.connection().is_some();
        match store.0.connector.connect().await {
            Ok(Connected { connection, master }) => {
                let same = had && master.is_some() && master == self.master;
                if !same || self.failures >= GIVE_UP {
                    store.set_connection(Some(connection));
                    (self.master, self.failures) = (master, 0);
                }
            }
            Err(error) => self.in_vain(store, &error),
        }
    }

    /// A connection some of whose parts still answer is kept.
    fn in_vain(&self, store: &Store, error: &RedisError) {
        let all_away = store.0.breakers.away().len() == store.0.pings.len();
        match &store.0.connector {
            // The library would ask for the dead cluster's slots in a loop without a pause.
            Connector::Cluster(_) if all_away => store.set_connection(None),
            _ => {}
        }
        if store.connection().is_none() {
            store.0.failed(0, error);
        }
    }
}
