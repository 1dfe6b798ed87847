//! Kills the parts of a deployment one after the other, several at a time, for as long as it is told, and
//! starts each again. Who comes next is a deck of cards: shuffled, so that no order is special, and dealt
//! out to the end, so that every part has its turns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinSet;

use crate::dice::Dice;
use crate::ledger::{Fault, Ledger};
use crate::process::Process;
use crate::rabbit::Rabbit;
use crate::redis_server::Redis;
use crate::wait::pause;

/// One deck: 40 kills, and 6 more since each of the broker's takes another part with it.
const DECK: [(Fault, usize); 7] = [
    (Fault::KillIngress, 12),
    (Fault::KillWorker, 14),
    (Fault::KillBroker, 6),
    (Fault::KillRedis, 8),
    (Fault::StopIngress, 1),
    (Fault::StopWorker, 2),
    (Fault::FreezeWorker, 2),
];

/// Between two cards.
const LEAST: Duration = Duration::from_millis(1000);
const MOST: Duration = Duration::from_millis(3500);

/// A worker that was without Redis asks again every 1.1 s, and after three times in vain on a connection
/// made anew: for so long after its return Redis may still be away.
const NOTICED: Duration = Duration::from_secs(4);

/// Before it dies the broker takes messages that it confirms to nobody: killed at once, it would seldom hold
/// one, since it confirms within milliseconds, and a 200 that came before the confirm would hardly be noticed.
const AGONY: Duration = Duration::from_millis(400);

const MOMENT: Duration = Duration::ZERO;

/// The parts of a deployment. Whoever holds one's lock has it down.
#[derive(Debug)]
pub struct Stage {
    pub ingresses: Vec<Arc<Mutex<Process>>>,
    pub workers: Vec<Arc<Mutex<Process>>>,
    pub broker: Arc<Mutex<Rabbit>>,
    pub redis: Arc<Mutex<Redis>>,
    pub ledger: Arc<Ledger>,
}

impl Stage {
    /// Deals whole decks until `least` has passed; then all parts run again.
    pub async fn torment(&self, dice: &mut Dice, least: Duration) {
        let end = Instant::now() + least;
        let mut harm = JoinSet::new();
        let mut deck = Vec::new();
        loop {
            if deck.is_empty() {
                deck = shuffled(dice);
            }
            pause(dice.between(LEAST, MOST)).await;
            self.deal(&mut deck, dice, &mut harm);
            // What panics has to be seen now, not at the end of an hour.
            while let Some(done) = harm.try_join_next() {
                done.expect("a part starts again");
            }
            if deck.is_empty() && Instant::now() >= end {
                break;
            }
        }
        while let Some(done) = harm.join_next().await {
            done.expect("a part starts again");
        }
    }

    /// Plays the first card whose part is not down already.
    fn deal(&self, deck: &mut Vec<Fault>, dice: &mut Dice, harm: &mut JoinSet<()>) {
        let played = (0..deck.len()).rev().find(|at| self.play(deck[*at], dice, harm));
        if let Some(played) = played {
            deck.remove(played);
        }
    }

    fn play(&self, fault: Fault, dice: &mut Dice, harm: &mut JoinSet<()>) -> bool {
        let ledger = self.ledger.clone();
        match fault {
            Fault::KillBroker => {
                let Ok(broker) = self.broker.clone().try_lock_owned() else { return false };
                let down = dice.between(MOMENT, Duration::from_secs(3));
                let agony = dice.between(MOMENT, AGONY);
                let rest = dice.between(MOMENT, Duration::from_secs(10));
                harm.spawn(kill_broker(broker, [agony, down, rest], ledger));
                self.take_along(down, dice, harm);
            }
            Fault::KillRedis => {
                let Ok(redis) = self.redis.clone().try_lock_owned() else { return false };
                harm.spawn(kill_redis(redis, dice.between(MOMENT, Duration::from_secs(2)), ledger));
            }
            Fault::KillIngress | Fault::StopIngress => {
                let Some(part) = one_of(&self.ingresses, dice) else { return false };
                harm.spawn(harm_process(part, fault, dice.between(MOMENT, Duration::from_secs(1)), ledger));
            }
            Fault::KillWorker | Fault::StopWorker => {
                let Some(part) = one_of(&self.workers, dice) else { return false };
                harm.spawn(harm_process(part, fault, dice.between(MOMENT, Duration::from_secs(1)), ledger));
            }
            Fault::FreezeWorker | Fault::ThawWorker => {
                let Some(part) = one_of(&self.workers, dice) else { return false };
                let time = dice.between(Duration::from_secs(2), Duration::from_secs(7));
                harm.spawn(freeze(part, time, ledger));
            }
        }
        true
    }

    /// An ingress while the broker is down, so with a spool that is filling; or a worker while the broker
    /// starts, so at the very return of what was in hand.
    fn take_along(&self, down: Duration, dice: &mut Dice, harm: &mut JoinSet<()>) {
        let ledger = self.ledger.clone();
        let (fault, parts, after) = if dice.below(2) == 0 {
            (Fault::KillIngress, &self.ingresses, dice.between(down / 4, down + Duration::from_secs(1)))
        } else {
            (Fault::KillWorker, &self.workers, down + dice.between(MOMENT, Duration::from_secs(6)))
        };
        let part = parts[dice.below(parts.len())].clone();
        let down = dice.between(MOMENT, Duration::from_secs(1));
        harm.spawn(async move {
            pause(after).await;
            let part = part.lock_owned().await;
            harm_process(part, fault, down, ledger).await;
        });
    }
}

fn shuffled(dice: &mut Dice) -> Vec<Fault> {
    let mut deck: Vec<Fault> =
        DECK.iter().flat_map(|(fault, count)| std::iter::repeat_n(*fault, *count)).collect();
    dice.shuffle(&mut deck);
    deck
}

fn one_of(parts: &[Arc<Mutex<Process>>], dice: &mut Dice) -> Option<OwnedMutexGuard<Process>> {
    let from = dice.below(parts.len());
    (0..parts.len()).find_map(|n| parts[(from + n) % parts.len()].clone().try_lock_owned().ok())
}

/// It may die again as soon as it is started: nobody waits until it is ready.
async fn harm_process(mut part: OwnedMutexGuard<Process>, fault: Fault, down: Duration, ledger: Arc<Ledger>) {
    ledger.fault(fault);
    if fault.is_kill() {
        part.kill9();
        pause(down).await;
    } else {
        part.term();
        let code = part.wait_exit().await;
        assert_eq!(code, 0, "{fault:?}: what was in hand did not end in the grace");
    }
    part.start_again();
    ledger.recovered(fault);
}

async fn freeze(mut part: OwnedMutexGuard<Process>, time: Duration, ledger: Arc<Ledger>) {
    ledger.fault(Fault::FreezeWorker);
    part.freeze();
    pause(time).await;
    ledger.fault(Fault::ThawWorker);
    part.thaw();
}

async fn kill_broker(
    mut broker: OwnedMutexGuard<Rabbit>,
    [agony, down, rest]: [Duration; 3],
    ledger: Arc<Ledger>,
) {
    broker.freeze();
    pause(agony).await;
    ledger.fault(Fault::KillBroker);
    broker.kill();
    pause(down).await;
    broker.start().await;
    ledger.recovered(Fault::KillBroker);
    // Held a while longer: a broker that only ever starts would shield the others from work.
    pause(rest).await;
}

async fn kill_redis(mut redis: OwnedMutexGuard<Redis>, down: Duration, ledger: Arc<Ledger>) {
    let begun = Instant::now();
    ledger.fault(Fault::KillRedis);
    redis.kill();
    pause(down).await;
    redis.start().await;
    ledger.recovered(Fault::KillRedis);
    ledger.store_was_away(begun, Instant::now() + NOTICED);
}
