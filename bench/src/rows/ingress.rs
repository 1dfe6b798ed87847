//! The ingress over RabbitMQ, each 200 after a quorum queue's confirm: beside lapin alone with as many in flight to
//! the same queues, a bare ingress, and a FastAPI that calls no service and keeps nothing. And lapin alone, consuming
//! what was published.

use crate::figures::Results;
use crate::goals::{BARE_INGRESS, LAPIN, LAPIN_BATCHED, OURS};
use crate::load::Target;
use crate::machine::listening;
use crate::ours::{Parts, accepted, bare_ingress};
use crate::peers::Peer;
use crate::rows::{PREFIX, World};

pub async fn measure(world: &World, results: &mut Results) {
    let parts = Parts::ingress_alone(world, PREFIX, world.options.partitions).await;
    let bare = listening(BARE_INGRESS, bare_ingress(world, PREFIX, world.options.partitions)).await;
    let fastapi = Peer::FastApiAlone.start(world).await;
    for connections in [40, 100, 256] {
        let row = format!("ingress, {connections} connections");
        parts.queues.purge().await;
        results.add(&row, LAPIN, parts.queues.publish(connections, world.time(), true).await);
        parts.queues.purge().await;
        results.add(&row, LAPIN_BATCHED, parts.queues.publish(connections, world.time(), false).await);
        parts.queues.purge().await;
        results.add(&row, OURS, checked(&parts, world, connections).await);
        parts.queues.purge().await;
        let (rate, _) =
            Target::new(BARE_INGRESS, &bare.address()).throughput(connections, world.time()).await;
        results.add(&row, BARE_INGRESS, rate);
        if let Some((_, target)) = &fastapi {
            results.add(
                &row,
                Peer::FastApiAlone.name(),
                target.throughput(connections, world.time()).await.0,
            );
        }
    }
    // What the last one published.
    let count = parts.queues.ready().await;
    results.add("lapin alone, consume and ack, 1/s", LAPIN, parts.queues.consume(count).await);
}

/// Answers a second, all of which stand for an update that the broker has: none went to the spool.
async fn checked(parts: &Parts, world: &World, connections: u64) -> f64 {
    let before = accepted(&parts.ingress).await;
    let (rate, answered) = parts.target().throughput(connections, world.time()).await;
    let taken = accepted(&parts.ingress).await - before;
    assert_eq!(taken, answered, "not all went to the broker");
    rate
}
