//! The test house's tools: real brokers, real binaries, fake services and a fake Telegram, and a world
//! that puts them together. It knows the gateway only from outside (HTTP, AMQP, logs, signals, exit
//! codes): nothing here links the crates that it tests.
//!
//! A harness that cannot do its work has to fail the test at once, so it unwraps and panics freely.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod amqp;
pub mod catalogue;
mod certificates;
mod chaos;
mod client;
mod cluster;
mod collector;
mod crew;
mod depths;
mod dice;
mod epmd;
mod figures;
mod flood;
mod gate;
mod group;
mod http;
mod installation;
mod ledger;
mod letters;
mod load;
mod log_events;
mod messages;
mod metrics;
mod ports;
mod process;
mod prometheus;
pub mod promql;
mod proxy;
mod rabbit;
mod redis_group;
mod redis_server;
mod sample;
mod service;
mod simulator;
mod snapshot;
mod talk;
mod telegram;
mod updates;
mod usage;
mod wait;
mod world;
mod world_builder;

pub use amqp::{Hearing, goodbye};
pub use certificates::Certificates;
pub use chaos::Stage;
pub use client::http_client;
pub use cluster::{Cluster, Queue};
pub use collector::{FakeCollector, TraceSpan};
pub use crew::{Crew, held, wait_held};
pub use depths::Depths;
pub use dice::Dice;
pub use figures::{Figures, LATENCY};
pub use flood::{Flood, allow_many_connections};
pub use gate::Gate;
pub use http::{Answer, Request};
pub use ledger::{Fault, Ledger, Part};
pub use letters::{Letter, dead_letters, wait_dead_letters};
pub use load::Load;
pub use log_events::events_in_source;
pub use messages::{MESSAGES_TOKEN, Receipt, post_message, try_message};
pub use metrics::Metrics;
pub use ports::free_port;
pub use process::{Process, ProcessBuilder};
pub use prometheus::{Prometheus, say_skipped};
pub use proxy::{Direction, Proxy};
pub use rabbit::Rabbit;
pub use redis_group::{RedisCluster, RedisSentinels};
pub use redis_server::{Redis, RedisOptions};
pub use sample::{Language, Sample};
pub use service::FakeService;
pub use simulator::{Journaled, Simulator};
pub use snapshot::{Shot, assert_shots};
pub use talk::{introduce, say, under_load, until_known};
pub use telegram::{Call, FakeTelegram};
pub use updates::{Update, now};
pub use wait::{LONG, SHORT, pause, wait_for, wait_until};
pub use world::{Posted, SECRET_HEADER, World, post_to};
pub use world_builder::WorldBuilder;

/// Makes two tests of each scenario `async fn name(world: WorldBuilder)`: one against an ingress and a
/// worker over RabbitMQ and Redis, one against `tgw run` on its embedded queue and store.
#[macro_export]
macro_rules! over_both_worlds {
    ($($(#[$attr:meta])* $name:ident),+ $(,)?) => {
        mod distributed {
            $($(#[$attr])* #[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name($crate::World::distributed()).await })+
        }
        mod embedded {
            $($(#[$attr])* #[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name($crate::World::embedded()).await })+
        }
    };
}
