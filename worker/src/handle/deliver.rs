//! Steps 7 and 8: make a plan's calls one by one, each recorded before the next.

use shared::store::StoreError;

use super::outcome::{Outcome, Step, after, cut_short, end_of};
use super::plan::Plan;
use super::{Attempt, Handler};
use crate::events;
use crate::telegram::Sent;
use crate::token::Token;

impl Handler {
    /// Makes the calls from number `sent` on. The callback's loading sign is stopped at the same time.
    pub(super) async fn deliver(&self, attempt: &Attempt<'_>, plan: Plan, sent: u32) -> Outcome {
        let callback = plan.callback.clone();
        let (outcome, ()) =
            tokio::join!(self.send_all(attempt, plan, sent), self.stop_spinner(attempt, callback));
        outcome
    }

    async fn send_all(&self, attempt: &Attempt<'_>, plan: Plan, sent: u32) -> Outcome {
        let mut refused = false;
        for at in sent as usize..plan.calls.len() {
            let result = self.telegram.send(&plan.calls[at]).await;
            if let Sent::Refused(why) | Sent::ChatClosed(why) = &result {
                events::telegram_refused(why, attempt);
            }
            match after(result) {
                Step::Onward { refused: this } => refused |= this,
                Step::Close => {
                    refused = true;
                    break;
                }
                Step::Die(why) => {
                    events::telegram_failed(&why, attempt);
                    let rest = plan.rest(at);
                    return cut_short(plan.fate, why, Some(rest));
                }
                Step::Stay => {
                    self.token.send_replace(Token::Wrong);
                    return Outcome::Stay;
                }
            }
            // The last one's record is the update's end, which follows at once.
            let last = at + 1 == plan.calls.len() && plan.fate == super::outcome::Fate::Done;
            if !last && self.record(attempt, at + 1).await == Err(()) {
                return Outcome::Stay;
            }
        }
        end_of(plan.fate, refused)
    }

    /// An `Err` means that the update is another worker's.
    async fn record(&self, attempt: &Attempt<'_>, sent: usize) -> Result<(), ()> {
        match self.store.sent(&attempt.key, &self.worker, sent as u32).await {
            Ok(()) | Err(StoreError::Away) => Ok(()),
            Err(StoreError::Fenced) => Err(()),
        }
    }
}
