//! Taking partitions without the store. What is known of an update then is how often the broker saw it
//! come back, and the broker counts that for all that is in hand of a worker when it dies (facts R7). So
//! that the innocent are not counted up with a poison update, as little is in hand beside a much-returned
//! one as it may have company, and it takes turns:
//!
//! * A partition is looked at through its first update. Where that one came back no more than four times the
//!   partition is taken whole, as ever.
//! * Else the partition gets a turn: a few seconds, in which as many are in hand as `Company` says, and no
//!   other partition of the worker has a turn. In the end it is one update, and it alone is counted
//!   further.
//! * Returned updates come before fresh ones (facts R4), so a fresh one means that all trouble is over.
//!   But they may come in another order among themselves: if one turns up that wants less company than
//!   the first, nothing is begun, and from then on they are taken one by one until a fresh one comes.
//!
//! A look costs an update a return, and a turn costs one to the update that is next: few against the
//! twenty that make a poison.
//!
//! What a worker had in hand when it died stands behind the others that came back (measured on 3.10.8). Who has all of
//! them in hand puts them in order; a turn has only some, so that after a crash in one a chat's updates can change places,
//! until the store is back or the partition was worked off.

use std::time::Duration;

use shared::queue::{Claim, ClaimError, Delivery};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Keeper, Settling};
use crate::company::Company;
use crate::job::Hand;

/// A turn's length; what was begun in it may take longer.
const TURN: Duration = Duration::from_secs(2);

/// A partition that gives nothing for so long has nothing: one after the other is looked at.
const QUIET: Duration = Duration::from_millis(50);

/// A partition in hand.
pub(super) struct Taken {
    pub claim: Claim,
    /// As many as can be in hand.
    pub prefetch: u16,
    /// Its first update, where that was looked at.
    pub first: Option<Delivery>,
    pub turn: Option<Turn>,
    /// How many are in hand was chosen by the first update, since the store is away.
    pub chosen: bool,
}

pub(super) struct Turn {
    until: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    fn begin(permit: OwnedSemaphorePermit) -> Self {
        Self { until: Instant::now() + TURN, _permit: permit }
    }
}

impl Keeper {
    /// Claims a partition: whole where the store answers.
    pub(super) async fn take(&mut self, partition: u16) -> Result<Taken, ClaimError> {
        let whole = self.prefetch();
        if self.settler.handler.store.ping().await.is_ok() {
            self.one_by_one = false;
            let claim = self.consumer.claim(partition, whole).await?;
            return Ok(Taken { claim, prefetch: whole, first: None, turn: None, chosen: false });
        }
        let permit = self.turns.clone().acquire_owned().await.map_err(|_| ClaimError::Away)?;
        let mut claim = self.consumer.claim(partition, 1).await?;
        let first = timeout(QUIET, claim.updates.deliveries.recv()).await.ok().flatten();
        let prefetch = match first.as_ref().filter(|first| first.redelivered) {
            Some(_) if self.one_by_one => 1,
            // This look is a return too, and is seen when it comes again.
            Some(first) => Company::after_returns(first.returns + 1).in_hand(whole),
            None => whole,
        };
        if prefetch == 1 {
            return Ok(Taken { claim, prefetch, first, turn: Some(Turn::begin(permit)), chosen: true });
        }
        drop(first);
        claim.release().await;
        let claim = self.consumer.claim(partition, prefetch).await?;
        let turn = (prefetch < whole).then(|| Turn::begin(permit));
        Ok(Taken { claim, prefetch, first: None, turn, chosen: true })
    }

    /// Whether one of the returned wants less company than it has with so many in hand.
    pub(super) fn are_too_many(&self, prefetch: u16, returned: &[Delivery]) -> bool {
        let whole = self.prefetch();
        let wanted = |delivery: &Delivery| Company::after_returns(delivery.returns).in_hand(whole);
        returned.iter().any(|delivery| wanted(delivery) < prefetch.min(whole))
    }

    /// Feeds the lanes for the length of a turn, and waits until what was begun has ended.
    pub(super) async fn feed_turn(
        &mut self,
        claim: &mut Claim,
        prefetch: u16,
        turn: &Turn,
        lanes: &Settling,
    ) {
        loop {
            let quiet = async {
                lanes.idle().await;
                sleep(QUIET).await;
            };
            let next = tokio::select! {
                biased;
                () = sleep_until(turn.until) => break,
                next = claim.updates.deliveries.recv() => next,
                () = quiet => None,
            };
            match next {
                Some(next) if !next.redelivered => {
                    self.one_by_one = false;
                    break;
                }
                Some(next) if self.are_too_many(prefetch, std::slice::from_ref(&next)) => break,
                Some(next) => {
                    let in_any_order = claim.updates.returned.is_some();
                    let hand = Hand { without_store: true, by_itself: prefetch == 1, in_any_order };
                    self.push(lanes, next, hand);
                }
                None => {
                    self.one_by_one = false;
                    break;
                }
            }
        }
        claim.close().await;
        lanes.idle().await;
    }
}
