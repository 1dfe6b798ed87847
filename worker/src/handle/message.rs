//! A service's message: what is to be sent stands in it, so there is nothing to find, to limit, to ask or to format.

use shared::queue::Reason;
use shared::store::Run;

use super::outcome::{Death, Fate, Outcome};
use super::plan::Plan;
use super::{Attempt, Handler};
use crate::messages::Queued;

/// What a message that is handled comes to.
pub(super) enum Message {
    Plan(Box<Plan>),
    /// Of a later version, or broken.
    Unreadable,
}

impl Message {
    pub(super) fn read(attempt: &Attempt<'_>) -> Self {
        match Queued::read(attempt.envelope) {
            Some(queued) => Self::Plan(Box::new(Plan::new(queued.calls, Fate::Done))),
            None => Self::Unreadable,
        }
    }

    /// A death that has nothing to ask a service for keeps what is still to be sent.
    pub(super) fn with_rest(&self, death: Death, run: &Run) -> Death {
        match self {
            Self::Plan(plan) if run.plan.is_none() => {
                Death { rest: Some(plan.rest(run.sent as usize, None)), ..death }
            }
            _ => death,
        }
    }
}

impl Handler {
    /// Sends it, from the first call on that did not go out. The queue has the plan, so the store need not.
    pub(super) async fn run_message(&self, attempt: &Attempt<'_>, message: Message, run: &Run) -> Outcome {
        // A replay was given a plan: what was left.
        let kept = run.plan.as_ref().and_then(|plan| Plan::from_bytes(plan)).map(Box::new);
        let in_the_queue = || match message {
            Message::Plan(plan) => Some(plan),
            Message::Unreadable => None,
        };
        match kept.or_else(in_the_queue) {
            Some(plan) => self.go_on(attempt, plan, run).await,
            None => Outcome::dead(Reason::Malformed, "a message of a service that can't be read".to_owned()),
        }
    }
}
