//! The embedded store: what Redis keeps for many workers, in the redb file of the one process there is.
//!
//! Every call is one write of the database, so that it is atomic and durable as a script on Redis is, and
//! many calls share a commit. What is decided lies in `begin` and `update`; `shelf` makes things expire.

mod begin;
mod key;
mod messages;
mod shelf;
mod update;

use super::{Begin, Begun, Beside, End, StoreError, UpdateKey};
use crate::clock;
use crate::database::DatabaseError;
use crate::one_file::{Database, Open};
use bytes::Bytes;
use shelf::Shelf;

pub(crate) use shelf::Tables;

/// The store in a database's file. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    database: Database,
}

impl Store {
    /// Needs nothing to be there; tables are made by the first write.
    pub fn open(database: &Database) -> Self {
        Self { database: database.clone() }
    }

    pub async fn begin(&self, begin: &Begin<'_>) -> Result<Begun, StoreError> {
        let begin = begin::Owned::of(begin);
        self.write(move |shelf| Ok(Ok(begin.run(shelf)?))).await
    }

    pub async fn plan(
        &self,
        key: &UpdateKey,
        worker: &str,
        plan: &Bytes,
        beside: Option<&Beside<'_>>,
    ) -> Result<(), StoreError> {
        let (key, worker, plan) = (key.clone(), worker.to_owned(), plan.clone());
        let session = beside.and_then(|beside| beside.session.as_ref());
        let session = session.map(|it| (it.user, it.user_id.to_owned(), it.seconds));
        let sticky = beside.and_then(|beside| beside.sticky.as_ref());
        let sticky = sticky.map(|it| (key::sticky(&key, it.chat), it.to.map(str::to_owned), it.seconds));
        let album = beside.map(|beside| beside.album.to_vec()).unwrap_or_default();
        self.write(move |shelf| {
            let planned = update::plan(shelf, &key, &worker, &plan)?;
            if planned.is_err() {
                return Ok(planned);
            }
            if let Some((user, user_id, seconds)) = &session {
                begin::keep_session(shelf, key.bot, *user, user_id, *seconds)?;
            }
            match &sticky {
                Some((at, Some(service), seconds)) => {
                    shelf.put(at, service.as_bytes(), seconds.saturating_mul(1000))?;
                }
                Some((at, None, _)) => shelf.remove(at)?,
                None => {}
            }
            update::end_parts(shelf, &key, End::Done, &album)?;
            Ok(planned)
        })
        .await
    }

    pub async fn sent(&self, key: &UpdateKey, worker: &str, count: u32) -> Result<(), StoreError> {
        let (key, worker) = (key.clone(), worker.to_owned());
        self.write(move |shelf| update::sent(shelf, &key, &worker, count)).await
    }

    pub async fn parked(&self, key: &UpdateKey, worker: &str, until_ms: u64) -> Result<(), StoreError> {
        let (key, worker) = (key.clone(), worker.to_owned());
        self.write(move |shelf| update::parked(shelf, &key, &worker, until_ms)).await
    }

    pub async fn dying(&self, key: &UpdateKey, worker: &str, why: &Bytes) -> Result<(), StoreError> {
        let (key, worker, why) = (key.clone(), worker.to_owned(), why.clone());
        self.write(move |shelf| update::dying(shelf, &key, &worker, &why)).await
    }

    pub async fn finish(
        &self,
        key: &UpdateKey,
        worker: &str,
        end: End,
        album: &[u64],
    ) -> Result<(), StoreError> {
        let (key, worker, album) = (key.clone(), worker.to_owned(), album.to_vec());
        self.write(move |shelf| update::finish(shelf, &key, &worker, end, &album)).await
    }

    pub async fn release(&self, key: &UpdateKey, worker: &str) -> Result<(), StoreError> {
        let (key, worker) = (key.clone(), worker.to_owned());
        self.write(move |shelf| update::release(shelf, &key, &worker)).await
    }

    pub async fn answer_begin(&self, key: &UpdateKey, worker: &str) -> Result<bool, StoreError> {
        let (key, worker) = (key.clone(), worker.to_owned());
        self.write(move |shelf| Ok(Ok(update::answer_begin(shelf, &key, &worker)?))).await
    }

    pub async fn answer_end(&self, key: &UpdateKey, worker: &str, given: bool) -> Result<(), StoreError> {
        let (key, worker) = (key.clone(), worker.to_owned());
        self.write(move |shelf| Ok(Ok(update::answer_end(shelf, &key, &worker, given)?))).await
    }

    pub async fn notice_begin(&self, key: &UpdateKey, hold_ms: u64) -> Result<bool, StoreError> {
        let notice = key::notice(key);
        self.write(move |shelf| {
            let free = shelf.get(&notice)?.is_none();
            if free {
                shelf.put(&notice, &[], hold_ms)?;
            }
            Ok(Ok(free))
        })
        .await
    }

    pub async fn notice_sent(&self, key: &UpdateKey, window_ms: u64) -> Result<(), StoreError> {
        let notice = key::notice(key);
        self.write(move |shelf| Ok(Ok(shelf.put(&notice, &[], window_ms)?))).await
    }

    pub async fn ping(&self) -> Result<(), StoreError> {
        self.database.read(|_| Ok(())).await.map_err(away)
    }

    /// One step on the shelf. The inner error is the step's answer, and stores what it stored.
    async fn write<T: Send + 'static>(
        &self,
        step: impl Fn(&mut Shelf<'_, '_>) -> Result<Result<T, StoreError>, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let step = move |tables: &mut Open<'_>| step(&mut tables.store.shelf(clock::now_ms())?);
        self.database.write(step).await.map_err(away)?
    }
}

/// Whatever keeps the file from answering, the worker goes on without it (I9).
fn away(error: DatabaseError) -> StoreError {
    tracing::debug!(%error, "the store does not answer");
    StoreError::Away
}
