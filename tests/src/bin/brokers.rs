//! The RabbitMQ, the Redis and the Redis Cluster that `tests/run` shares among all tests: starts them, prints their addresses
//! and RabbitMQ's version as shell assignments, and ends with its standard input, so that they never
//! outlive the script.
#![allow(clippy::print_stdout)]

use std::io::Read;

use harness::{Rabbit, Redis, RedisCluster, RedisOptions};

#[tokio::main]
async fn main() {
    let cluster = RedisCluster::private(false, RedisOptions::default());
    let (mut rabbit, redis, cluster) = tokio::join!(Rabbit::private(), Redis::private(), cluster);
    let version = rabbit.version();
    println!(
        "rabbitmq_version='{version}'; export TGW_TEST_AMQP_URL='{}' TGW_TEST_REDIS_URL='{}' \
         TGW_TEST_REDIS_CLUSTER_URL='{}'",
        rabbit.url(),
        redis.url(),
        cluster.url()
    );
    // Nothing else runs here that a blocked thread could hold up.
    std::io::stdin().read_to_end(&mut Vec::new()).ok();
}
