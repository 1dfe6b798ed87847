//! The ingress on the embedded queue, each 200 after an fsync: beside an actix-web whose handler is empty, and beside a
//! bare queue. The worker of the same process takes nothing meanwhile (its bot is unknown to Telegram), so that the queue is
//! measured alone.

use crate::figures::Results;
use crate::goals::{BARE_QUEUE, EMBEDDED};
use crate::load::Target;
use crate::machine::listening;
use crate::ours::{accepted, embedded_queue_alone, own_program};
use crate::peers::Peer;
use crate::rows::World;

const CONNECTIONS: u64 = 256;
const ROW: &str = "ingress, embedded, 256";

pub async fn measure(world: &World, results: &mut Results) {
    {
        let (_actix, target) = Peer::Actix.start(world).await.expect("it is part of this program");
        results.add(ROW, Peer::Actix.name(), target.throughput(CONNECTIONS, world.time()).await.0);
    }
    {
        let bare = listening(BARE_QUEUE, own_program("bare-queue")).await;
        let (rate, _) = Target::new(BARE_QUEUE, &bare.address()).throughput(CONNECTIONS, world.time()).await;
        results.add(ROW, BARE_QUEUE, rate);
    }
    let gateway = embedded_queue_alone(world).start();
    harness::wait_for("it listens", harness::LONG, || async { gateway.answers().await.then_some(()) }).await;
    let target = Target::new(EMBEDDED, &gateway.address());
    let (rate, answered) = target.throughput(CONNECTIONS, world.time()).await;
    assert_eq!(accepted(&gateway).await, answered, "not all are in the queue");
    results.add(ROW, EMBEDDED, rate);
}
