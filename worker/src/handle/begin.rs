//! Steps 1 to 3 of contract 3, in one round trip: seen before, session, rate limit; and the attempt.

use std::time::Duration;

use shared::store::{self, Begin, Charge, Run, StoreError};

use tokio::time::sleep;

use super::{Attempt, Handler};
use crate::company::{Company, Place};
use crate::events;
use crate::messages;
use crate::routes::Found;

/// Longer than the store is treated as away after one failure (contract 9).
const ASK_AGAIN: Duration = Duration::from_millis(1100);

pub(super) enum Begun<'h> {
    Run {
        run: Run,
        /// The store could not be asked: no session, no limit, no memory.
        store_away: bool,
        /// Held while the update is handled: see `company`.
        place: Place<'h>,
    },
    Ended,
    /// It is another worker's, or not to be handled beside what is in hand: all of it goes back.
    Fenced,
    /// The worker stops, and this one still waited for its turn.
    Halted,
}

impl Handler {
    /// `found` is the route that takes the update: what none takes is not charged, but for a free text that
    /// a sticky service takes.
    pub(super) async fn begin(&self, attempt: &Attempt<'_>, found: Option<&Found<'_>>) -> Begun<'_> {
        if self.recent.contains(attempt.key) {
            return Begun::Ended;
        }
        let album = attempt.album_ids();
        let as_album = found.is_some_and(Found::takes_albums) && attempt.incoming.album_part().is_some();
        let question = self.question(attempt, found.is_some());
        let mut begin = Begin { album: as_album.then_some(album.as_slice()), ..question };
        let mut company = Company::Any;
        let mut patient = attempt.came_back;
        // Comes to an end: a suspect is told once, a store is waited for once, and without the store the company only shrinks.
        loop {
            let entering = attempt.halt.run_until_cancelled(self.room.enter(company));
            let Some(place) = entering.await else { return Begun::Halted };
            match self.store.begin(&begin).await {
                Ok(store::Begun::Run(run)) => return Begun::Run { run, store_away: false, place },
                Ok(store::Begun::Ended) => return Begun::Ended,
                // One that was told to stop meanwhile, by the end before it, asks for nothing more.
                Ok(store::Begun::Suspect(tries)) if !begin.suspect && !attempt.abort.is_cancelled() => {
                    events::suspect(attempt.request_id, tries);
                    begin.suspect = true;
                    company = Company::after_tries(tries);
                }
                // A second one is never said: it was told that this may be one.
                Err(StoreError::Fenced) | Ok(store::Begun::Suspect(_)) => return Begun::Fenced,
                // It may have been done in part, and only the store knows: a store that stays away no longer
                // than the breaker makes it seem is waited for.
                Err(StoreError::Away) if patient => {
                    drop(place);
                    patient = false;
                    let waiting = attempt.halt.run_until_cancelled(sleep(ASK_AGAIN));
                    let Some(()) = waiting.await else { return Begun::Halted };
                }
                Err(StoreError::Away) if Company::after_returns(attempt.returns) < company => {
                    company = Company::after_returns(attempt.returns);
                }
                // Were it to take the worker down now, all that is in hand would be blamed with it.
                Err(StoreError::Away)
                    if Company::has_to_be_by_itself(attempt.returns) && !attempt.by_itself =>
                {
                    return Begun::Fenced;
                }
                Err(StoreError::Away) => {
                    let run = Run { attempts: attempt.returns.saturating_add(1), ..Run::default() };
                    return Begun::Run { run, store_away: true, place };
                }
            }
        }
    }

    /// Whether a sticky service takes it, if one is set.
    fn is_for_sticky(&self, attempt: &Attempt<'_>) -> bool {
        let token = self.telegram.token().borrow();
        attempt.routing.table.is_for_sticky(attempt.incoming, token.username())
    }

    fn question<'q>(&'q self, attempt: &'q Attempt<'_>, routed: bool) -> Begin<'q> {
        let incoming = attempt.incoming;
        // Who is written to has done nothing: no session is renewed.
        let acts = !messages::is_message(attempt.envelope);
        let user = incoming.user.as_ref().map(|user| user.id).filter(|_| acts);
        let ours = attempt.key.bot == self.telegram.bot();
        let sticky_in = incoming.chat.map(|chat| chat.id).filter(|_| self.is_for_sticky(attempt));
        let taken = routed || sticky_in.is_some();
        let charged =
            ours && taken && user.is_some() && attempt.envelope.replay == 0 && incoming.is_charged_kind();
        // A callback has no date of its own: its message's is when the button was made.
        let acted_ms = incoming.date.map_or(attempt.envelope.received_ms, |date| date.saturating_mul(1000));
        let charge = Charge {
            acted_ms,
            album: incoming.album.as_deref(),
            requests: self.limits.requests,
            window_ms: self.limits.window.as_millis() as u64,
            only_if_sticky: !routed,
        };
        Begin {
            key: attempt.key,
            worker: &self.worker,
            user,
            session_seconds: self.limits.session.as_secs().max(1),
            charge: charged.then_some(charge),
            sticky_in,
            suspect: false,
            after_panic: attempt.after_panic,
            album: None,
        }
    }
}
