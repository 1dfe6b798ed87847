//! The rows of the table. Within a round, ours and the peers take turns; a round measures every row once.

mod embedded;
mod ingress;
mod latency;
mod scale;
mod spool;
mod start;
mod whole;

use std::time::Duration;

use harness::{Rabbit, Redis};

use crate::figures::Results;
use crate::machine::{Machine, cpu_of};
use crate::options::Options;
use crate::sink::Sink;

/// What the measurements share.
pub struct World {
    pub rabbit: Rabbit,
    pub redis: Redis,
    pub sink: Sink,
    pub options: Options,
}

impl World {
    /// The CPU seconds until now of RabbitMQ and of Redis.
    fn servers_cpu(&self) -> (f64, f64) {
        let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
        let node = format!("RABBITMQ_NODENAME=tgw{}@", port(self.rabbit.address()));
        (cpu_of(&node), cpu_of(&format!("redis-server 127.0.0.1:{}", port(self.redis.address()))))
    }

    /// How long a throughput is measured.
    fn time(&self) -> Duration {
        Duration::from_millis(self.options.sized(1800))
    }
}

/// The deployment that most rows use.
const PREFIX: &str = "bench";

pub async fn measure(options: &Options) -> Results {
    harness::allow_many_connections();
    let (mut rabbit, redis) = tokio::join!(Rabbit::private(), Redis::private());
    let machine = Machine::look(rabbit.version());
    let world = World { rabbit, redis, sink: Sink::start().await, options: options.clone() };
    let mut results = Results::new(machine, options.quick, options.partitions);
    for round in 1..=options.rounds {
        eprintln!("-- round {round} of {}", options.rounds);
        if options.has("ingress") {
            ingress::measure(&world, &mut results).await;
        }
        if options.has("latency") {
            latency::measure(&world, &mut results).await;
        }
        if options.has("embedded") {
            embedded::measure(&world, &mut results).await;
        }
        if options.has("whole") {
            whole::measure(&world, &mut results).await;
        }
        if options.has("start") {
            start::measure(&world, &mut results).await;
        }
        if options.has("spool") {
            spool::measure(&world, &mut results).await;
        }
        if options.has("scale") {
            scale::measure(&world, &mut results).await;
        }
        // What was measured stays, should a later round break.
        if !options.json.is_empty() {
            results.save(&options.json);
        }
    }
    results
}
