//! How many updates a queue has and how many consume it, by its own word or by nobody's.

use std::time::{Duration, Instant};

use lapin::Channel;
use lapin::options::{BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

/// The broker waits 250 ms for a quorum queue's leader, and where that does not answer it says: no updates, no
/// consumers (`rabbit_quorum_queue:stat` in its source, 3.10 and 4.0). So an answer of none and none is not believed
/// if it took so much longer than a round trip that no queue is asked in.
const LEADERS_TIME: Duration = Duration::from_millis(200);

/// So many are made to know how long one takes.
const ROUND_TRIPS: usize = 3;

pub(super) struct Stat {
    /// Updates that wait, without those in hand.
    pub ready: u32,
    pub consumers: u32,
}

/// Asks about a queue that is there; nothing where its leader did not answer. An error closes the channel.
pub(super) async fn ask(channel: &Channel, queue: &str) -> Result<Option<Stat>, lapin::Error> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let asked = Instant::now();
    let declared = channel.queue_declare(queue.into(), passive, FieldTable::default()).await?;
    let took = asked.elapsed();
    let stat = Stat { ready: declared.message_count(), consumers: declared.consumer_count() };
    if (stat.ready, stat.consumers) != (0, 0) || took < LEADERS_TIME {
        return Ok(Some(stat));
    }
    // On a busy machine one can be late by more than the leader's time goes beyond ours.
    let mut round_trip = Duration::MAX;
    for _ in 0..ROUND_TRIPS {
        let asked = Instant::now();
        channel.basic_qos(0, BasicQosOptions { global: false }).await?;
        round_trip = round_trip.min(asked.elapsed());
    }
    let is_silent = took.saturating_sub(round_trip) >= LEADERS_TIME;
    Ok((!is_silent).then_some(stat))
}

/// As [`ask`], again every `pause` until the leader answers: for who gives up by himself.
pub(super) async fn ask_again(channel: &Channel, queue: &str, pause: Duration) -> Result<Stat, lapin::Error> {
    loop {
        if let Some(stat) = ask(channel, queue).await? {
            return Ok(stat);
        }
        tokio::time::sleep(pause).await;
    }
}
