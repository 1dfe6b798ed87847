//! Steps 5 and 6: ask the service, format its answer, keep the plan. What a service failed to answer
//! becomes an apology, with a letter to follow.

use std::pin::pin;
use std::time::Instant;

use shared::queue::Reason;
use shared::store::{Beside, Run, Session, Sticky, StoreError};
use shared::traces::Kind;

use super::outcome::{Death, Fate, Outcome};
use super::plan::Plan;
use super::{Attempt, Handler, request, typing};
use crate::events;
use crate::reply::{self, Answer, Call};
use crate::routes::{Found, Target};
use crate::services::ServiceError;
use crate::spans;

const ANSWER_CALLBACK: &str = "answerCallbackQuery";

impl Handler {
    /// The plan, and whether it is kept; or the outcome, where the update ends without one.
    pub(super) async fn respond(
        &self,
        attempt: &Attempt<'_>,
        found: &Found<'_>,
        run: &Run,
    ) -> Result<(Box<Plan>, bool), Outcome> {
        let begun = Instant::now();
        let (plan, answer) = match found.target {
            Target::Reply(text) => (Box::new(fixed(text, attempt)), None),
            Target::Service { service, shape, .. } => {
                let request = request::request(attempt, found, shape, run.user_id.as_deref());
                attempt.span.service(service);
                let services = &attempt.routing.services;
                let answering = pin!(services.call(service, &request, &self.fence, attempt.span));
                let answer = typing::while_waiting(attempt, &self.telegram, answering).await;
                match answer.and_then(|answer| Ok((Box::new(planned(&answer, attempt)?), answer))) {
                    Ok((plan, answer)) => {
                        events::service_answered(found.route, attempt, begun.elapsed());
                        (plan, Some((service, answer)))
                    }
                    Err(error) => {
                        events::service_failed(service, found.route, &error, attempt, begun.elapsed());
                        (Box::new(failed(&error, attempt, found, service, run.attempts)), None)
                    }
                }
            }
        };
        let beside = answer.as_ref().map(|(service, answer)| self.beside(answer, service, attempt));
        let beside = beside.unwrap_or_default();
        let addressing = async {
            if let Some(session) = &beside.session {
                Box::pin(self.keep_address(attempt, session.user, session.user_id, true)).await;
            }
        };
        let (kept, ()) = tokio::join!(self.keep(attempt, &plan, &beside), addressing);
        match kept {
            Ok(()) => Ok((plan, true)),
            Err(StoreError::Away) => Ok((plan, false)),
            Err(StoreError::Fenced) => Err(Outcome::Stay),
        }
    }

    async fn keep(&self, attempt: &Attempt<'_>, plan: &Plan, beside: &Beside<'_>) -> Result<(), StoreError> {
        let says_nothing = beside.session.is_none() && beside.sticky.is_none();
        // What says nothing to anybody ends with the next write.
        let turns = attempt.spinner.is_some_and(|spinner| !spinner.is_stopped());
        if plan.calls.is_empty() && !turns && says_nothing && plan.fate == Fate::Done {
            return Ok(());
        }
        let ended = ended_with(plan, attempt);
        let beside = Beside { album: &ended, ..beside.clone() };
        let span = attempt.span.child("plan", Kind::Internal);
        let kept = self.store.plan(attempt.key, &self.worker, &plan.to_bytes(), Some(&beside)).await;
        spans::kept(span, &kept);
        kept
    }

    /// What the answer says of the user: the session, and where free texts go. Nothing where there is no user.
    fn beside<'a>(&self, answer: &'a Answer, service: &str, attempt: &Attempt<'_>) -> Beside<'a> {
        let Some(user) = attempt.incoming.user.as_ref().map(|user| user.id) else {
            return Beside::default();
        };
        let seconds = self.limits.session.as_secs().max(1);
        let session = answer.user_id.as_deref().map(|user_id| Session { user, user_id, seconds });
        let chat = attempt.incoming.chat.map(|chat| chat.id);
        let sticky = chat.zip(answer.sticky.as_ref()).and_then(|(chat, sticky)| match sticky {
            reply::Sticky::End => Some(Sticky { chat, to: None, seconds: 1 }),
            reply::Sticky::To { service: to, .. } if !attempt.routing.services.knows(to) => {
                events::sticky_unknown(service, &reply::printable(to), attempt);
                None
            }
            reply::Sticky::To { service: to, seconds } => {
                Some(Sticky { chat, to: Some(to), seconds: *seconds })
            }
        });
        Beside { session, sticky, album: &[] }
    }
}

/// The other parts of an album that end with the plan, since it is their answer too. Not with an apology: each is still
/// owed a letter, and has to be in hand for that.
pub(super) fn ended_with(plan: &Plan, attempt: &Attempt<'_>) -> Vec<u64> {
    if plan.fate == Fate::Done { attempt.album_ids() } else { Vec::new() }
}

/// A route's own text. Where there is no chat to send it to there is nothing to do.
fn fixed(text: &str, attempt: &Attempt<'_>) -> Plan {
    let calls = reply::calls(&Answer::fixed(text), attempt.incoming);
    Plan::new(calls.unwrap_or_default(), Fate::Done)
}

/// The calls that an answer comes to.
fn planned(answer: &Answer, attempt: &Attempt<'_>) -> Result<Plan, ServiceError> {
    let nonsense = |error: reply::AnswerError| ServiceError::Nonsense(error.to_string());
    let mut calls = reply::calls(answer, attempt.incoming).map_err(nonsense)?;
    let toast =
        answer.answer.as_ref().and_then(|toast| reply::answer_callback(attempt.incoming, Some(toast)));
    // It is answered once, so a message that answers this very callback takes the place of the toast.
    let id = attempt.incoming.callback.as_ref().map(|callback| callback.id.as_str());
    let answers = |call: &Call| {
        let names = call.params.get("callback_query_id").and_then(|name| name.as_str());
        call.method == ANSWER_CALLBACK && names.is_some() && names == id
    };
    let by_message = calls.iter().position(answers).map(|at| calls.remove(at));
    let callback = toast.or(by_message);
    Ok(Plan { callback, ..Plan::new(calls, Fate::Done) })
}

/// An apology, where somebody waits for one: a replay has made one before (contract 8).
fn failed(
    error: &ServiceError,
    attempt: &Attempt<'_>,
    found: &Found<'_>,
    service: &str,
    attempts: u32,
) -> Plan {
    let death = Death {
        route: Some(found.route.to_owned()),
        service: Some(service.to_owned()),
        attempts,
        ..Death::new(Reason::Service, error.to_string())
    };
    let apology = if attempt.envelope.replay == 0 { reply::apology(attempt.incoming) } else { None };
    let (callback, message) = match apology {
        // In a callback without a chat the apology is the callback's answer.
        Some(call) if call.method == ANSWER_CALLBACK => (Some(call), None),
        other => (None, other),
    };
    Plan { callback, ..Plan::new(message.into_iter().collect(), Fate::Dead(death)) }
}
