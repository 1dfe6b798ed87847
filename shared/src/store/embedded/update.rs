//! What is kept of an update that has not ended, and the writes that are conditional on its claim.

use bytes::Bytes;
use redb::Error;
use serde::{Deserialize, Serialize};

use super::key;
use super::shelf::Shelf;
use super::{End, StoreError, UpdateKey};
use crate::store::{OPEN_SECONDS, REMEMBER_SECONDS};

/// An update that has not ended. Fields may be added, with a default; none may change its meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Open {
    pub(super) attempts: u32,
    /// The worker that handles it.
    pub(super) claim: Option<String>,
    /// The rate limit's verdict, once there is one.
    pub(super) limited: Option<bool>,
    pub(super) sent: u32,
    /// Its callback was answered.
    pub(super) answered: bool,
    /// The worker that is answering it, or died with that.
    pub(super) answering: Option<String>,
    /// Telegram wants nothing of it before then.
    pub(super) parked_until_ms: u64,
    /// Of an album, the other parts that the first attempt had beside it.
    pub(super) album: Option<Vec<u64>>,
}

impl Open {
    pub(super) fn load(shelf: &Shelf<'_, '_>, key: &UpdateKey) -> Result<Self, Error> {
        let stored = shelf.get(&key::open(key))?;
        Ok(stored.and_then(|stored| serde_json::from_slice(&stored).ok()).unwrap_or_default())
    }

    pub(super) fn keep(&self, shelf: &mut Shelf<'_, '_>, key: &UpdateKey) -> Result<(), Error> {
        shelf.put(&key::open(key), &to_json(self)?, OPEN_SECONDS * 1000)
    }
}

/// The outer error is the file's, the inner one the step's answer.
pub(super) type Step<T> = Result<Result<T, StoreError>, Error>;

pub(super) fn to_json(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Io(error.into()))
}

pub(super) fn end_of(shelf: &Shelf<'_, '_>, key: &UpdateKey) -> Result<Option<End>, Error> {
    let end = shelf.get(&key::ended(key))?;
    Ok(end.map(|end| if end == b"dead" { End::Dead } else { End::Done }))
}

/// The update, unless another worker has it or has ended it. No claim at all fences nobody.
fn unfenced(shelf: &Shelf<'_, '_>, key: &UpdateKey, worker: &str) -> Step<Open> {
    if end_of(shelf, key)?.is_some() {
        return Ok(Err(StoreError::Fenced));
    }
    let open = Open::load(shelf, key)?;
    let fenced = open.claim.as_deref().is_some_and(|claim| claim != worker);
    Ok(if fenced { Err(StoreError::Fenced) } else { Ok(open) })
}

/// The first plan stays: messages of it may have gone out already.
pub(super) fn plan(shelf: &mut Shelf<'_, '_>, key: &UpdateKey, worker: &str, plan: &Bytes) -> Step<()> {
    let Ok(_) = unfenced(shelf, key, worker)? else {
        return Ok(Err(StoreError::Fenced));
    };
    if shelf.get(&key::plan(key))?.is_none() {
        shelf.put(&key::plan(key), plan, OPEN_SECONDS * 1000)?;
    }
    Ok(Ok(()))
}

pub(super) fn sent(shelf: &mut Shelf<'_, '_>, key: &UpdateKey, worker: &str, count: u32) -> Step<()> {
    let Ok(mut open) = unfenced(shelf, key, worker)? else {
        return Ok(Err(StoreError::Fenced));
    };
    open.sent = count;
    open.keep(shelf, key)?;
    Ok(Ok(()))
}

pub(super) fn parked(shelf: &mut Shelf<'_, '_>, key: &UpdateKey, worker: &str, until_ms: u64) -> Step<()> {
    let Ok(mut open) = unfenced(shelf, key, worker)? else {
        return Ok(Err(StoreError::Fenced));
    };
    open.parked_until_ms = until_ms;
    open.keep(shelf, key)?;
    Ok(Ok(()))
}

pub(super) fn dying(shelf: &mut Shelf<'_, '_>, key: &UpdateKey, worker: &str, why: &Bytes) -> Step<()> {
    let Ok(_) = unfenced(shelf, key, worker)? else {
        return Ok(Err(StoreError::Fenced));
    };
    shelf.put(&key::dying(key), why, OPEN_SECONDS * 1000)?;
    Ok(Ok(()))
}

pub(super) fn finish(
    shelf: &mut Shelf<'_, '_>,
    key: &UpdateKey,
    worker: &str,
    end: End,
    album: &[u64],
) -> Step<()> {
    if let Some(known) = end_of(shelf, key)? {
        return Ok(if known == end { Ok(()) } else { Err(StoreError::Fenced) });
    }
    let Ok(_) = unfenced(shelf, key, worker)? else {
        return Ok(Err(StoreError::Fenced));
    };
    ended(shelf, key, end)?;
    end_parts(shelf, key, end, album)?;
    Ok(Ok(()))
}

/// The other parts of an album end with it; one that has ended stays as it is.
pub(super) fn end_parts(
    shelf: &mut Shelf<'_, '_>,
    key: &UpdateKey,
    end: End,
    album: &[u64],
) -> Result<(), Error> {
    for part in album.iter().map(|part| key.of_part(*part)) {
        if end_of(shelf, &part)?.is_none() {
            ended(shelf, &part, end)?;
        }
    }
    Ok(())
}

/// Of an update that has ended only this is kept.
fn ended(shelf: &mut Shelf<'_, '_>, key: &UpdateKey, end: End) -> Result<(), Error> {
    for forgotten in [key::open(key), key::plan(key), key::dying(key)] {
        shelf.remove(&forgotten)?;
    }
    let end: &[u8] = if end == End::Dead { b"dead" } else { b"done" };
    shelf.put(&key::ended(key), end, REMEMBER_SECONDS * 1000)
}

pub(super) fn release(shelf: &mut Shelf<'_, '_>, key: &UpdateKey, worker: &str) -> Step<()> {
    if end_of(shelf, key)?.is_some() {
        return Ok(Ok(()));
    }
    let Ok(mut open) = unfenced(shelf, key, worker)? else {
        return Ok(Err(StoreError::Fenced));
    };
    if open.claim.take().is_some() {
        open.attempts = open.attempts.saturating_sub(1);
        open.keep(shelf, key)?;
    }
    Ok(Ok(()))
}

pub(super) fn answer_begin(shelf: &mut Shelf<'_, '_>, key: &UpdateKey, worker: &str) -> Result<bool, Error> {
    if end_of(shelf, key)?.is_some() {
        return Ok(false);
    }
    let mut open = Open::load(shelf, key)?;
    if open.answered || open.answering.as_deref() == Some(worker) {
        return Ok(false);
    }
    open.answering = Some(worker.to_owned());
    open.keep(shelf, key)?;
    Ok(true)
}

pub(super) fn answer_end(
    shelf: &mut Shelf<'_, '_>,
    key: &UpdateKey,
    worker: &str,
    given: bool,
) -> Result<(), Error> {
    if end_of(shelf, key)?.is_some() {
        return Ok(());
    }
    let mut open = Open::load(shelf, key)?;
    if open.answering.as_deref() == Some(worker) {
        (open.answering, open.answered) = (None, given);
        open.keep(shelf, key)?;
    }
    Ok(())
}
