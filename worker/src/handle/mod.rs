//! One update, from beginning to end: `find → begin → call → format → plan → (send → sent)*`. Each step is
//! a file of its own; this one is their order. What is done with the outcome is `settle`'s business.
//!
//! `find` comes before `begin` since it is pure, and since the rate limit, which `begin` charges, spares
//! what no route takes (contract 3.3).
//!
//! There are as many of these futures as there are updates in hand, so they are kept small: one that is given to another
//! function is pinned first, since it would else be kept twice, as the argument and as what is awaited; and what few updates
//! need is boxed.

mod addresses;
mod begin;
mod deliver;
mod expiry;
mod message;
mod notice;
pub mod outcome;
mod plan;
mod request;
mod respond;
mod spinner;
mod typing;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use shared::clock;
use shared::queue::{Envelope, Reason};
use shared::store::{ADDRESS_SECONDS, Address, Run, Store, UpdateKey};
use shared::traces::{Kind, Span};
use shared::update::Malformed;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::company::{RETURNS, Room, TRIES};
use crate::fence::Fence;
use crate::incoming::Incoming;
use crate::messages;
use crate::recent::Recent;
use crate::reply::Call;
use crate::routes::Found;
use crate::routing::Routing;
use crate::telegram::{Going, Note, Sent, Telegram};

pub use addresses::Addresses;
use begin::Begun;
use message::Message;
use outcome::{Death, Done, Outcome};
use plan::Plan;
pub use request::{request_id, request_uuid};
pub use spinner::Spinner;

/// What the rate limit, the sessions and the albums are set to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub requests: u32,
    pub window: Duration,
    pub session: Duration,
    /// How long after one part of an album the next is waited for (`ALBUM_WAIT`). Telegram sends a chat's updates one by one,
    /// each as soon as the one before is answered (facts T1), so between two parts lies one request to the webhook:
    /// milliseconds, and at most `ACCEPT_DEADLINE`, half a second. By default it is twice that.
    pub next_part: Duration,
}

/// All that handling leans on; one per worker.
pub struct Handler {
    pub store: Store,
    pub routing: watch::Receiver<Arc<Routing>>,
    pub telegram: Telegram,
    pub limits: Limits,
    /// This process's name in claims.
    pub worker: String,
    pub recent: Recent,
    /// The internal ids that are known to be kept.
    pub addresses: Addresses,
    pub fence: Fence,
    /// Who may be handled beside whom.
    pub room: Room,
}

/// One try of one update.
pub struct Attempt<'a> {
    pub envelope: &'a Envelope,
    pub incoming: &'a Incoming,
    /// The other parts of its album that are to be handled with it.
    pub album: &'a [&'a Incoming],
    pub routing: &'a Routing,
    pub key: &'a UpdateKey,
    pub request_id: &'a str,
    /// The broker's count of returns.
    pub returns: u32,
    /// It was handed out before, and the store was there when its partition was taken.
    pub came_back: bool,
    /// No other update of its partition is in hand, so the broker counts no other's return.
    pub by_itself: bool,
    /// The try before this one panicked, in this process.
    pub after_panic: bool,
    /// Cancelled when the worker stops, or gives the partition up: what waits for its turn is not begun any more.
    pub halt: &'a CancellationToken,
    /// Cancelled when the partition is lost or given back.
    pub abort: &'a CancellationToken,
    /// Cancelled when it is kept how the one before it in its lane ended: until then it is begun, and no more.
    pub before: Option<&'a CancellationToken>,
    /// The callback's loading sign, if the update is one whose sign is ours to stop.
    pub spinner: Option<&'a Spinner>,
    /// What the spans of its steps hang under.
    pub span: &'a Span,
}

/// What came of one update, and of those that were handled with it.
pub struct Handled {
    pub outcome: Outcome,
    /// The update_ids of the other parts of its album that it is the outcome of too.
    pub with: Vec<u64>,
}

impl Attempt<'_> {
    fn album_ids(&self) -> Vec<u64> {
        self.album.iter().map(|part| part.update_id).collect()
    }
}

impl Handler {
    /// The key under which the store knows an update.
    pub fn key(&self, envelope: &Envelope, incoming: &Incoming) -> UpdateKey {
        let owner = incoming.user.as_ref().map(|user| user.id).or(incoming.chat.map(|chat| chat.id));
        UpdateKey {
            bot: envelope.bot.unwrap_or_else(|| self.telegram.bot()),
            update_id: envelope.update_id,
            replay: envelope.replay,
            owner: owner.unwrap_or(0),
        }
    }

    /// Whether it is a part of an album, and its route wants these as one. The first part's route decides for all.
    pub fn asks_for_album(&self, routing: &Routing, incoming: &Incoming, key: &UpdateKey) -> bool {
        if incoming.album_part().is_none() || key.bot != self.telegram.bot() {
            return false;
        }
        let token = self.telegram.token().borrow();
        routing.table.find(incoming, token.username()).is_some_and(|found| found.takes_albums())
    }

    /// Handles an update, with the other parts of its album, up to but without its end's being recorded. Once the
    /// attempt is aborted nothing more is begun, and the update stays.
    pub async fn handle(&self, attempt: Attempt<'_>) -> Handled {
        let message = messages::is_message(attempt.envelope).then(|| Message::read(&attempt));
        let found = match &message {
            Some(_) => None,
            None => self.find(&attempt, None),
        };
        let span = attempt.span.child("begin", Kind::Internal);
        let alone = |outcome| Handled { outcome, with: Vec::new() };
        let (run, store_away, _place) = match attempt
            .abort
            .run_until_cancelled(pin!(self.begin_behind(&attempt, found.as_ref(), span)))
            .await
        {
            Some(Begun::Run { run, store_away, place }) => (run, store_away, place),
            Some(Begun::Ended) => return alone(Outcome::Done(Done::Seen)),
            Some(Begun::Halted) => return alone(Outcome::NotBegun),
            Some(Begun::Fenced) | None => return alone(Outcome::Stay),
        };
        // A service may remember its answer to what it was asked first: a part that was not in that is asked for by itself.
        let is_in = |part: &&Incoming| store_away || run.album.contains(&part.update_id);
        let album: Vec<&Incoming> = attempt.album.iter().copied().filter(is_in).collect();
        let attempt = Attempt { album: &album, ..attempt };
        let outcome = self.handle_begun(&attempt, message, found.as_ref(), (&run, store_away)).await;
        Handled { outcome, with: attempt.album_ids() }
    }

    /// Begins it while it is being kept how the one before ended, and waits for that.
    async fn begin_behind(&self, attempt: &Attempt<'_>, found: Option<&Found<'_>>, span: Span) -> Begun<'_> {
        let begun = self.begin(attempt, found).await;
        span.end();
        if let Some(before) = attempt.before {
            before.cancelled().await;
        }
        begun
    }

    fn find<'r>(&self, attempt: &Attempt<'r>, sticky: Option<&str>) -> Option<Found<'r>> {
        let token = self.telegram.token().borrow();
        attempt.routing.table.find_with_sticky(attempt.incoming, token.username(), sticky)
    }

    async fn handle_begun(
        &self,
        attempt: &Attempt<'_>,
        message: Option<Message>,
        found: Option<&Found<'_>>,
        (run, store_away): (&Run, bool),
    ) -> Outcome {
        if let (Some(user), Some(user_id)) = (&attempt.incoming.user, &run.user_id) {
            self.keep_address(attempt, user.id, user_id, false).await;
        }
        // Its letter may be out already: buried again, it is the same one.
        if let Some(death) = run.dying.as_ref().and_then(|why| Death::from_bytes(why)) {
            return Outcome::Dead(death);
        }
        let sticky = run.sticky.as_deref().filter(|sticky| attempt.routing.services.knows(sticky));
        let by_sticky = sticky.map(|sticky| self.find(attempt, Some(sticky)));
        let found = by_sticky.as_ref().map_or(found, Option::as_ref);
        if let Some(found) = found {
            attempt.span.route(found.route);
        }
        if let Some(death) = self.death(attempt, run, store_away) {
            let death = match message {
                Some(message) => message.with_rest(death, run),
                None => death,
            };
            return Outcome::Dead(death).on_route(found, run.attempts);
        }
        let outcome = match message {
            Some(message) => self.run_message(attempt, message, run).await,
            None => self.run(attempt, found, run).await,
        };
        outcome.on_route(found, run.attempts)
    }

    async fn run(&self, attempt: &Attempt<'_>, found: Option<&Found<'_>>, run: &Run) -> Outcome {
        if let Some(plan) = run.plan.as_ref().and_then(|plan| Plan::from_bytes(plan)).map(Box::new) {
            return Box::pin(self.go_on(attempt, plan, run)).await;
        }
        let envelope = attempt.envelope;
        if envelope.replay == 0 && expiry::is_over(attempt.incoming, envelope.received_ms, clock::now_ms()) {
            return Outcome::dead(Reason::Expired, "its time was over before its turn".to_owned());
        }
        if run.limited {
            return Box::pin(self.notice(attempt)).await;
        }
        let Some(found) = found else {
            return match self.stop_spinner(attempt, None).await {
                Sent::WrongToken => Outcome::Stay,
                _ => Outcome::Done(Done::NoRoute),
            };
        };
        let responded = attempt.abort.run_until_cancelled(pin!(self.respond(attempt, found, run))).await;
        match responded {
            Some(Ok((plan, kept))) => self.deliver(attempt, plan, 0, kept).await,
            Some(Err(outcome)) => outcome,
            None => Outcome::Stay,
        }
    }

    /// Keeps whose an internal id is, for who writes to it later.
    async fn keep_address(&self, attempt: &Attempt<'_>, user: i64, user_id: &str, given: bool) {
        let seconds = ADDRESS_SECONDS.max(self.limits.session.as_secs());
        let address = Address { bot: attempt.key.bot, user_id, user, seconds, given };
        self.addresses.keep(&self.store, &address).await;
    }

    /// Sends what is left of a plan that is kept. It parks when called, and sends when awaited: nothing may be between.
    fn go_on(&self, attempt: &Attempt<'_>, plan: Box<Plan>, run: &Run) -> impl Future<Output = Outcome> {
        let wait = run.parked_until_ms.saturating_sub(clock::now_ms());
        if let Some(call) = plan.calls.get(run.sent as usize).filter(|_| wait > 0) {
            self.telegram.park(call, Duration::from_millis(wait));
        }
        self.deliver(attempt, plan, run.sent, true)
    }

    /// Whether it is to die before anything is done for it.
    fn death(&self, attempt: &Attempt<'_>, run: &Run, store_away: bool) -> Option<Death> {
        if attempt.key.bot != self.telegram.bot() {
            return Some(Death::new(Reason::Malformed, Malformed::AnotherBot.to_string()));
        }
        let tries = if store_away { RETURNS } else { TRIES };
        let poison = run.attempts > tries;
        let error = || format!("{tries} tries took the worker down");
        poison.then(|| Death { attempts: tries, ..Death::new(Reason::Poison, error()) })
    }

    fn going<'a>(&'a self, attempt: &'a Attempt<'_>) -> Going<'a> {
        let note = Note { store: &self.store, key: attempt.key, worker: &self.worker };
        Going {
            abort: attempt.abort,
            halt: attempt.halt,
            note: Some(note),
            bulk: messages::bulk_of(attempt.envelope).is_some(),
            once: false,
        }
    }

    /// Tells who pressed the button that it was received, if nobody has.
    async fn stop_spinner(&self, attempt: &Attempt<'_>, with: Option<Call>) -> Sent {
        match attempt.spinner {
            Some(spinner) => Box::pin(spinner.stop(with, attempt.abort)).await,
            None => Sent::Yes,
        }
    }
}
