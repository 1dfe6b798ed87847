//! How fast a spool drains, from the first record that goes to the last, beside how fast the same ingress publishes what
//! comes by the webhook.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::figures::Results;
use crate::goals::OURS;
use crate::load::Target;
use crate::ours::{Parts, ingress};
use crate::rows::{PREFIX, World};
use crate::updates::Updates;

const CHATS: u64 = 10_000;
const CONNECTIONS: u64 = 256;

/// How long a start and the drain may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nobody listens there: the broker is away.
const AWAY: &str = "amqp://guest:guest@127.0.0.1:1/%2f";

pub async fn measure(world: &World, results: &mut Results) {
    let partitions = world.options.partitions;
    let count = world.options.sized(30_000);
    let parts = Parts::ingress_alone(world, PREFIX, partitions).await;
    parts.queues.purge().await;
    results.add(
        "spool drain, 1/s",
        "ingress, publishing",
        parts.target().throughput(CONNECTIONS, world.time()).await.0,
    );
    parts.queues.purge().await;
    let Parts { queues, ingress: one, .. } = parts;
    drop(one);
    let plan = ingress(world, PREFIX, partitions);
    let mut spooling = plan.clone().env("AMQP_URL", AWAY).start();
    harness::wait_for("it listens", harness::LONG, || async { spooling.answers().await.then_some(()) }).await;
    let target = Target::new(OURS, &spooling.address());
    let begun = Instant::now();
    target.post_all(&Updates::new(count, CHATS), count, CONNECTIONS).await;
    results.add("spool, 1/s into it", OURS, count as f64 / begun.elapsed().as_secs_f64());
    spooling.restart_as(plan).await;
    let records =
        || async { spooling.metrics().await.sum("tgw_spool_records", &[("what", "updates")]) as u64 };
    let started = Instant::now();
    let mut first = started;
    loop {
        match records().await {
            0 => break,
            left if left == count => first = Instant::now(),
            _ => {}
        }
        assert!(started.elapsed() < PATIENCE, "the spool does not drain");
        sleep(Duration::from_millis(5)).await;
    }
    results.add("spool drain, 1/s", OURS, count as f64 / first.elapsed().as_secs_f64());
    assert_eq!(queues.purge().await, count, "not all came to the broker");
}
