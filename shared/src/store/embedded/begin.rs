//! The first step of an update: seen before, suspect or mine, whose session, too fast or not.

use redb::Error;

use super::key;
use super::shelf::Shelf;
use super::update::{Open, end_of, to_json};
use super::{Begin, Begun, UpdateKey};
use crate::store::bucket::Bucket;
use crate::store::{Charge, REMEMBER_SECONDS, Run};

/// A media group's verdict is good for this long: its parts come within seconds of each other.
const ALBUM_MS: u64 = 3_600_000;

/// Telegram may deliver for 24 h what a user did (facts T4), so for so long, and an hour more, a bucket
/// has to know its late-comers' place.
const BUCKET_MS: u64 = REMEMBER_SECONDS * 1000;

/// A `Begin` that can go to the writer's thread.
pub(super) struct Owned {
    key: UpdateKey,
    worker: String,
    user: Option<i64>,
    session_seconds: u64,
    charge: Option<(OwnedCharge, Option<String>)>,
    sticky_in: Option<i64>,
    suspect: bool,
    after_panic: bool,
    album: Option<Vec<u64>>,
}

#[derive(Clone, Copy)]
struct OwnedCharge {
    acted_ms: u64,
    requests: u32,
    window_ms: u64,
    only_if_sticky: bool,
}

impl Owned {
    pub(super) fn of(begin: &Begin<'_>) -> Self {
        let charge = |it: Charge<'_>| {
            let Charge { acted_ms, album, requests, window_ms, only_if_sticky } = it;
            (OwnedCharge { acted_ms, requests, window_ms, only_if_sticky }, album.map(str::to_owned))
        };
        Self {
            key: begin.key.clone(),
            worker: begin.worker.to_owned(),
            user: begin.user,
            session_seconds: begin.session_seconds,
            charge: begin.charge.map(charge),
            sticky_in: begin.sticky_in,
            suspect: begin.suspect,
            after_panic: begin.after_panic,
            album: begin.album.map(<[u64]>::to_vec),
        }
    }

    pub(super) fn run(&self, shelf: &mut Shelf<'_, '_>) -> Result<Begun, Error> {
        shelf.purge()?;
        if end_of(shelf, &self.key)?.is_some() {
            return Ok(Begun::Ended);
        }
        let mut open = Open::load(shelf, &self.key)?;
        let begun_before = open.attempts > 0;
        let is_ours = open.claim.as_deref() == Some(self.worker.as_str());
        if open.attempts > 0 && !is_ours && !self.suspect {
            return Ok(Begun::Suspect(open.attempts));
        }
        if !is_ours || self.after_panic {
            open.attempts = open.attempts.saturating_add(1);
            open.claim = Some(self.worker.clone());
        }
        // The parts of the first attempt stay: a service may have answered for these.
        if open.album.is_none() && !begun_before {
            open.album.clone_from(&self.album);
        }
        let sticky = self.sticky(shelf)?;
        let limited = self.limited(shelf, &mut open, sticky.is_some())?;
        open.keep(shelf, &self.key)?;
        Ok(Begun::Run(Run {
            attempts: open.attempts,
            user_id: self.session(shelf)?,
            sticky,
            limited,
            plan: shelf.get(&key::plan(&self.key))?.map(Into::into),
            sent: open.sent,
            dying: shelf.get(&key::dying(&self.key))?.map(Into::into),
            parked_until_ms: open.parked_until_ms,
            album: open.album.unwrap_or_default(),
        }))
    }

    /// The user's session, renewed; begun with a name of our own where there is none.
    fn session(&self, shelf: &mut Shelf<'_, '_>) -> Result<Option<String>, Error> {
        let Some(user) = self.user else { return Ok(None) };
        let known = shelf.get(&key::session(self.key.bot, user))?;
        let user_id = known.and_then(|known| String::from_utf8(known).ok());
        let user_id = user_id.unwrap_or_else(|| format!("user_{user}"));
        keep_session(shelf, self.key.bot, user, &user_id, self.session_seconds)?;
        Ok(Some(user_id))
    }

    fn sticky(&self, shelf: &Shelf<'_, '_>) -> Result<Option<String>, Error> {
        let Some(chat) = self.sticky_in else { return Ok(None) };
        let service = shelf.get(&key::sticky(&self.key, chat))?;
        Ok(service.and_then(|service| String::from_utf8(service).ok()))
    }

    /// Whether the rate limit says no: decided once for the update, and once for its album.
    fn limited(&self, shelf: &mut Shelf<'_, '_>, open: &mut Open, is_sticky: bool) -> Result<bool, Error> {
        if let Some(limited) = open.limited {
            return Ok(limited);
        }
        let limited = match &self.charge {
            Some((charge, album)) if is_sticky || !charge.only_if_sticky => {
                self.verdict(shelf, *charge, album.as_deref())?
            }
            _ => false,
        };
        open.limited = Some(limited);
        Ok(limited)
    }

    fn verdict(
        &self,
        shelf: &mut Shelf<'_, '_>,
        charge: OwnedCharge,
        album: Option<&str>,
    ) -> Result<bool, Error> {
        let Some(album) = album else {
            return self.charge(shelf, charge);
        };
        let album = key::album(&self.key, album);
        if let Some(verdict) = shelf.get(&album)? {
            return Ok(verdict == b"limited");
        }
        let limited = self.charge(shelf, charge)?;
        shelf.put(&album, if limited { b"limited" } else { b"passed" }, ALBUM_MS)?;
        Ok(limited)
    }

    fn charge(&self, shelf: &mut Shelf<'_, '_>, charge: OwnedCharge) -> Result<bool, Error> {
        let at = key::bucket(&self.key);
        let OwnedCharge { acted_ms, requests, window_ms, .. } = charge;
        let known = shelf.get(&at)?.and_then(|bucket| serde_json::from_slice(&bucket).ok());
        let mut bucket: Bucket = known.unwrap_or_else(|| Bucket::full(requests));
        let passed = bucket.charge(i64::try_from(acted_ms).unwrap_or(i64::MAX), requests, window_ms);
        shelf.put(&at, &to_json(&bucket)?, BUCKET_MS)?;
        Ok(!passed)
    }
}

pub(super) fn keep_session(
    shelf: &mut Shelf<'_, '_>,
    bot: u64,
    user: i64,
    user_id: &str,
    seconds: u64,
) -> Result<(), Error> {
    shelf.put(&key::session(bot, user), user_id.as_bytes(), seconds.saturating_mul(1000))
}
