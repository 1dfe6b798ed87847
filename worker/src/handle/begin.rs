//! Steps 1 to 3 of contract 3, in one round trip: seen before, session, rate limit; and the attempt.

use shared::store::{self, Begin, Charge, Run, StoreError};
use tokio::sync::SemaphorePermit;

use super::{Attempt, Handler};
use crate::events;

pub(super) enum Begun<'h> {
    Run {
        run: Run,
        /// The store could not be asked: no session, no limit, no memory.
        store_away: bool,
        /// Held while a suspect is handled.
        permit: Option<SemaphorePermit<'h>>,
    },
    Ended,
    Fenced,
}

impl Handler {
    /// `routed` is whether a route takes the update: what none takes is not charged.
    pub(super) async fn begin(&self, attempt: &Attempt<'_>, routed: bool) -> Begun<'_> {
        if self.recent.contains(&attempt.key) {
            return Begun::Ended;
        }
        let mut begin = self.question(attempt, routed);
        match self.store.begin(&begin).await {
            Ok(store::Begun::Suspect) => {
                events::suspect(&attempt.request_id);
                // Closed never: an error could only mean that no permit is needed.
                let permit = self.suspects.acquire().await.ok();
                begin.suspect = true;
                self.begun(self.store.begin(&begin).await, attempt, permit)
            }
            answer => self.begun(answer, attempt, None),
        }
    }

    fn begun<'h>(
        &'h self,
        answer: Result<store::Begun, StoreError>,
        attempt: &Attempt<'_>,
        permit: Option<SemaphorePermit<'h>>,
    ) -> Begun<'h> {
        match answer {
            Ok(store::Begun::Run(run)) => Begun::Run { run, store_away: false, permit },
            Ok(store::Begun::Ended) => Begun::Ended,
            // It was told that this may be one.
            Ok(store::Begun::Suspect) | Err(StoreError::Fenced) => Begun::Fenced,
            Err(StoreError::Away) => {
                let run = Run { attempts: attempt.returns.saturating_add(1), ..Run::default() };
                Begun::Run { run, store_away: true, permit }
            }
        }
    }

    fn question<'q>(&'q self, attempt: &'q Attempt<'_>, routed: bool) -> Begin<'q> {
        let incoming = attempt.incoming;
        let user = incoming.user.as_ref().map(|user| user.id);
        let ours = attempt.key.bot == self.telegram.bot();
        let charged =
            ours && routed && user.is_some() && attempt.envelope.replay == 0 && incoming.is_charged_kind();
        // A callback has no date of its own: its message's is when the button was made.
        let acted_ms = incoming.date.map_or(attempt.envelope.received_ms, |date| date.saturating_mul(1000));
        let charge = Charge {
            acted_ms,
            album: incoming.album.as_deref(),
            requests: self.limits.requests,
            window_ms: self.limits.window.as_millis() as u64,
        };
        Begin {
            key: &attempt.key,
            worker: &self.worker,
            user,
            session_seconds: self.limits.session.as_secs().max(1),
            charge: charged.then_some(charge),
            suspect: false,
            after_panic: attempt.after_panic,
        }
    }
}
