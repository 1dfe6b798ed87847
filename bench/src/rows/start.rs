//! From a process's start until its `/ready` says 200, with broker and store there and the queues declared.

use crate::figures::Results;
use crate::goals::{EMBEDDED, OURS};
use crate::machine::start;
use crate::ours::{embedded, ingress, worker};
use crate::rows::{PREFIX, World};

pub async fn measure(world: &World, results: &mut Results) {
    let partitions = world.options.partitions;
    // Makes the queues, where this is the first.
    drop(start(ingress(world, PREFIX, partitions)).await);
    let (_ingress, took) = start(ingress(world, PREFIX, partitions)).await;
    results.add("start to ready, ms: ingress", OURS, took);
    let (_worker, took) = start(worker(world, PREFIX, partitions)).await;
    results.add("start to ready, ms: worker", OURS, took);
    let (_gateway, took) = start(embedded(world)).await;
    results.add("start to ready, ms: tgw run", EMBEDDED, took);
}
