//! Steps 7 and 8: make a plan's calls one by one, each recorded before the next.

use shared::store::{Beside, StoreError};
use shared::traces::Kind;

use super::outcome::{Fate, Outcome, Step, after, cut_short, end_of};
use super::plan::Plan;
use super::respond::ended_with;
use super::{Attempt, Handler};
use crate::events;
use crate::reply::Call;
use crate::spans;
use crate::telegram::Sent;

/// How the calls of a plan went.
enum Sending {
    /// All were made; `refused` is whether Telegram refused any.
    Made {
        refused: bool,
    },
    /// Telegram failed at this one, also on the retry.
    Failed {
        at: usize,
        why: String,
    },
    Stay,
}

fn step_after(sent: Sent, attempt: &Attempt<'_>) -> Step {
    if let Sent::Refused(why) | Sent::ChatClosed(why) = &sent {
        events::telegram_refused(why, attempt);
    }
    after(sent)
}

impl Handler {
    /// Makes the calls from number `sent` on. The callback's loading sign is stopped at the same time.
    /// `kept` is whether the store has the plan.
    pub(super) async fn deliver(
        &self,
        attempt: &Attempt<'_>,
        plan: Box<Plan>,
        sent: u32,
        mut kept: bool,
    ) -> Outcome {
        let (sending, callback) = tokio::join!(
            self.send_all(attempt, &plan, sent, &mut kept),
            self.stop_spinner(attempt, plan.callback.clone()),
        );
        // What the service wanted to be shown is owed like a message; an empty answer is not.
        let answer = match &plan.callback {
            Some(_) => step_after(callback, attempt),
            None if callback == Sent::WrongToken => Step::Stay,
            None => Step::Onward { refused: false },
        };
        let all = plan.calls.len();
        match (sending, answer) {
            (Sending::Stay, _) => Outcome::Stay,
            (Sending::Failed { at, why }, Step::Die(_) | Step::Stay) => {
                let owed = plan.callback.clone();
                self.failed(attempt, *plan, at, owed, why)
            }
            (Sending::Failed { at, why }, _) => self.failed(attempt, *plan, at, None, why),
            (Sending::Made { refused }, Step::Onward { refused: too }) => end_of(plan.fate, refused || too),
            (Sending::Made { .. }, Step::Close) => end_of(plan.fate, true),
            (Sending::Made { .. }, Step::Die(why)) => {
                let owed = plan.callback.clone();
                self.failed(attempt, *plan, all, owed, why)
            }
            (Sending::Made { .. }, Step::Stay) => {
                // Who goes on has the callback's answer to give, and nothing else.
                self.is_fenced(attempt, &plan, all, &mut kept).await;
                Outcome::Stay
            }
        }
    }

    fn failed(
        &self,
        attempt: &Attempt<'_>,
        plan: Plan,
        at: usize,
        callback: Option<Call>,
        why: String,
    ) -> Outcome {
        events::telegram_failed(&why, attempt);
        let rest = plan.rest(at, callback);
        cut_short(plan.fate, why, Some(rest))
    }

    async fn send_all(&self, attempt: &Attempt<'_>, plan: &Plan, sent: u32, kept: &mut bool) -> Sending {
        let mut refused = false;
        for at in sent as usize..plan.calls.len() {
            let span = attempt.span.child("send", Kind::Client);
            let result = self.telegram.send(&plan.calls[at], &self.going(attempt)).await;
            spans::sent(span, &result);
            match step_after(result, attempt) {
                Step::Onward { refused: this } => refused |= this,
                Step::Close => return Sending::Made { refused: true },
                Step::Die(why) => return Sending::Failed { at, why },
                Step::Stay => return Sending::Stay,
            }
            // The last one's record is the update's end, which follows at once.
            let last = at + 1 == plan.calls.len() && plan.fate == Fate::Done;
            if !last && Box::pin(self.is_fenced(attempt, plan, at + 1, kept)).await {
                return Sending::Stay;
            }
        }
        Sending::Made { refused }
    }

    /// Records how many calls were made; true where the update is another worker's by now. A plan that the
    /// store was away for is kept first, since a count without it says nothing.
    async fn is_fenced(&self, attempt: &Attempt<'_>, plan: &Plan, sent: usize, kept: &mut bool) -> bool {
        if !*kept {
            let ended = ended_with(plan, attempt);
            let beside = Beside { album: &ended, ..Beside::default() };
            match self.store.plan(attempt.key, &self.worker, &plan.to_bytes(), Some(&beside)).await {
                Ok(()) => *kept = true,
                Err(StoreError::Away) => return false,
                Err(StoreError::Fenced) => return true,
            }
        }
        let recorded = self.store.sent(attempt.key, &self.worker, sent as u32).await;
        matches!(recorded, Err(StoreError::Fenced))
    }
}
