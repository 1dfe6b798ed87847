//! Feeding a claim's updates to the lanes, and renewing the claim: when something has been in hand for long, since
//! the broker takes a channel away from who holds an update for too long (facts R14); and when another number
//! of updates may be in hand than could be. A renewal keeps the lease and waits for nobody: what is in hand comes
//! again, in order, and what runs goes on before it.

use std::convert::Infallible;
use std::time::Duration;

use shared::queue::{Claim, Consumer, Delivery};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::returned::{First, settle_down};
use super::turn::Taken;
use super::{End, Keeper, Settling};
use crate::ages::Ages;
use crate::events;
use crate::job::Hand;
use crate::token::Token;

/// As many as a worker asks for of a partition (design 3). Who asks for less and is handed nothing but returned updates
/// can't know that it has the lowest of them.
const MOST: u16 = 256;

/// As many as can have come back: what another asked for, and one that was fetched to have the queue catch up, which is
/// behind these as long as all are claimed at once.
const WIDEST: u16 = MOST + 1;

const NARROWEST: u16 = 16;

/// An update that is in hand for longer is handed out again. RabbitMQ's own limit is 30 min by default, and some set a
/// minute.
const LONGEST: Duration = Duration::from_secs(25);

/// How often the metrics are told how much waits.
const TELL: Duration = Duration::from_secs(1);

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(500);

impl Keeper {
    /// As much as each partition of this worker may have in hand, so that together they fill the permits (design 3).
    pub(super) fn prefetch(&self) -> u16 {
        let share = self.share.borrow().partitions.len().max(1);
        let even = self.concurrency.div_ceil(u32::try_from(share).unwrap_or(u32::MAX));
        even.clamp(NARROWEST.into(), MOST.into()) as u16
    }

    /// Feeds the lanes until the claim ends.
    pub(super) async fn feed(&mut self, taken: &mut Taken, lanes: &Settling) -> End {
        let partition = taken.claim.partition;
        let (mut token, known, mut share) = (self.token.clone(), self.token.clone(), self.share.clone());
        let wrong = token.wait_for(|token| *token == Token::Wrong);
        let given_up = share.wait_for(|share| !share.partitions.contains(&partition));
        let (lost, stop) = (taken.claim.lost.clone(), self.stop.clone());
        let (consumer, ages) = (self.consumer.clone(), self.settler.ages.clone());
        tokio::select! {
            biased;
            () = stop.cancelled() => End::Stop,
            () = lost.cancelled() => End::Now,
            () = lanes.aborted() => End::Now,
            // An error means that there is nobody to give it to. A worker whose token is wrong has no share: that may be seen
            // first, and nothing may be sent then.
            Ok(_) = given_up => if *known.borrow() == Token::Wrong { End::Now } else { End::Stop },
            _ = wrong => End::Now,
            () = self.feed_on(taken, lanes) => End::Now,
            never = tell_updates(&consumer, partition, lanes, &ages) => match never {},
        }
    }

    async fn feed_on(&mut self, taken: &mut Taken, lanes: &Settling) {
        let Taken { claim, prefetch, first, turn, chosen } = taken;
        let mut first = first.take();
        // More may have come back than are asked for: not after a renewal for as many as before.
        let mut may_be_more = true;
        loop {
            let First { returned, fresh } = settle_down(first.take(), &mut claim.updates, *prefetch).await;
            if *chosen && self.are_too_many(*prefetch, &returned) {
                self.one_by_one = true;
                return;
            }
            let nothing_but = returned.len() >= usize::from(*prefetch);
            let may_widen = turn.is_none() && claim.has_to_be_renewed() && *prefetch < MOST;
            if may_widen && may_be_more && nothing_but {
                *prefetch = WIDEST;
                // Those that were handed out are not begun yet.
                if claim.renew(*prefetch).await.is_err() {
                    return;
                }
                continue;
            }
            let in_any_order = claim.updates.returned.is_some();
            let hand = Hand { without_store: *chosen, by_itself: *prefetch == 1, in_any_order };
            lanes.has_room_for(*prefetch);
            returned.into_iter().chain(fresh).for_each(|delivery| self.push(lanes, delivery, hand));
            if let Some(turn) = turn {
                return self.feed_turn(claim, *prefetch, turn, lanes).await;
            }
            let Some(next) = self.feed_until_renewal(claim, *prefetch, lanes, hand).await else { return };
            (may_be_more, *prefetch) = (next < *prefetch, next);
            lanes.renew();
            if claim.renew(*prefetch).await.is_err() {
                return;
            }
        }
    }

    /// Until the claim is due to be renewed, and with which prefetch; or until it ends.
    async fn feed_until_renewal(
        &self,
        claim: &mut Claim,
        prefetch: u16,
        lanes: &Settling,
        hand: Hand,
    ) -> Option<u16> {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut paused = false;
        loop {
            tokio::select! {
                biased;
                delivery = claim.updates.deliveries.recv() => self.push(lanes, delivery?, hand),
                _ = look.tick(), if claim.has_to_be_renewed() => {
                    let wanted = self.prefetch();
                    // Where fewer may be in hand, no more are taken until fewer are: then they all come again. Fewer than
                    // a full prefetch: one of nothing but returned updates would be widened, and narrowed, for ever.
                    if (prefetch > MOST || prefetch / 2 >= wanted) && !paused {
                        claim.pause().await;
                        lanes.paused_until(wanted.saturating_sub(1));
                        paused = true;
                    } else if is_due(lanes, prefetch, wanted, paused) {
                        return Some(wanted);
                    }
                }
            }
        }
    }

    pub(super) fn push(&self, lanes: &Settling, delivery: Delivery, hand: Hand) {
        let (lane, job) = self.settler.job(delivery, hand);
        lanes.push(lane, job);
    }
}

async fn tell_updates(consumer: &Consumer, partition: u16, lanes: &Settling, ages: &Ages) -> Infallible {
    loop {
        let in_hand = lanes.in_hand() as u64;
        events::partition_updates(partition, consumer.ready(partition, in_hand), in_hand);
        events::oldest_update(ages.oldest_ms());
        sleep(TELL).await;
    }
}

/// Whether a claim with that prefetch is to be renewed with what is wanted now.
fn is_due(lanes: &Settling, prefetch: u16, wanted: u16, paused: bool) -> bool {
    if paused {
        return lanes.in_hand() < usize::from(wanted);
    }
    let for_long = lanes.oldest().is_some_and(|since| since + LONGEST < Instant::now());
    for_long || prefetch <= wanted / 2
}
