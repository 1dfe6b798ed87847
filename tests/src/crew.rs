//! Workers of one deployment, whose number changes: started several at once, ended one by one, and asked what
//! each of them holds.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::ledger::{Fault, Ledger};
use crate::process::Process;
use crate::wait::{pause, wait_for};
use crate::world::World;

/// Seldom enough that to be asked costs fifteen of them little.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub struct Crew {
    pub living: Vec<Process>,
    /// Kept for their logs.
    ended: Vec<(Fault, Process)>,
}

impl Crew {
    /// Starts as many at once as are missing; ends when the last of them is ready.
    pub async fn grow(&mut self, world: &World, to: usize) {
        let missing = to.saturating_sub(self.living.len());
        self.living.extend(join_all((0..missing).map(|_| world.add_worker())).await);
    }

    /// Ends as many as are too many, by SIGTERM and kill -9 in turns, from the eldest and the youngest in turns.
    pub fn shrink(&mut self, to: usize, ledger: &Ledger) {
        while self.living.len() > to {
            let n = self.ended.len();
            let from = if (n / 2).is_multiple_of(2) { 0 } else { self.living.len() - 1 };
            let mut worker = self.living.remove(from);
            let fault = if n.is_multiple_of(2) { Fault::StopWorker } else { Fault::KillWorker };
            ledger.fault(fault);
            if fault.is_kill() {
                worker.kill9()
            } else {
                worker.term()
            }
            self.ended.push((fault, worker));
        }
    }

    /// How many partitions each of the living has.
    pub async fn held(&self) -> Vec<usize> {
        join_all(self.living.iter().map(held)).await
    }

    /// Until each of the living has as many as any other, or one more, and together they have all; how long after
    /// `since` that was. Panics where it was more than `within`.
    pub async fn wait_even(&self, partitions: usize, since: Instant, within: Duration) -> Duration {
        let workers = self.living.len();
        let (least, most) = (partitions / workers, partitions.div_ceil(workers));
        loop {
            let held = self.held().await;
            let took = since.elapsed();
            if held.iter().sum::<usize>() == partitions && held.iter().all(|n| (least..=most).contains(n)) {
                return took;
            }
            assert!(took < within, "{workers} workers have {held:?} of {partitions} after {took:.1?}");
            pause(LOOK).await;
        }
    }

    /// Until those that were told to end have ended, each with 0.
    pub async fn wait_ended(&mut self) {
        for (fault, worker) in &mut self.ended {
            if !fault.is_kill() {
                assert_eq!(worker.wait_exit().await, 0, "what was in hand did not end in the grace");
            }
        }
    }

    /// All that ever worked.
    pub fn all(&self) -> impl Iterator<Item = &Process> {
        self.living.iter().chain(self.ended.iter().map(|(_, worker)| worker))
    }
}

/// How many partitions a worker has.
pub async fn held(worker: &Process) -> usize {
    worker.metrics().await.sum("tgw_partitions_held", &[]) as usize
}

/// Until a worker has so many; how long after `since` that was. Panics where it was more than `within`.
pub async fn wait_held(worker: &Process, count: usize, since: Instant, within: Duration) -> Duration {
    let what = format!("a worker has {count} partitions");
    wait_for(&what, within.saturating_sub(since.elapsed()), || async {
        (held(worker).await == count).then_some(())
    })
    .await;
    since.elapsed()
}
