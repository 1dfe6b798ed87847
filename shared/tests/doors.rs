//! One suite over both rooms behind each door: the embedded queue and RabbitMQ, the embedded store and
//! Redis, alone and as a cluster. What passes here may be relied on without knowing which of them is there.
//!
//! RabbitMQ and Redis are where `TGW_TEST_AMQP_URL`, `TGW_TEST_REDIS_URL` and `TGW_TEST_REDIS_CLUSTER_URL` say,
//! which `tests/run` sets; without them their part is skipped, and says so.

// A test's tools stop it at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "doors/backend.rs"]
mod backend;
#[path = "doors/confirms.rs"]
mod confirms;
#[path = "doors/embedded.rs"]
mod embedded;
#[path = "doors/ending.rs"]
mod ending;
#[path = "doors/handover.rs"]
mod handover;
#[path = "doors/lease.rs"]
mod lease;
#[path = "doors/letter.rs"]
mod letter;
#[path = "doors/model.rs"]
mod model;
#[path = "doors/queue.rs"]
mod queue;
#[path = "doors/rate.rs"]
mod rate;
#[path = "doors/refusals.rs"]
mod refusals;
#[path = "doors/restart.rs"]
mod restart;
#[path = "doors/seats.rs"]
mod seats;
#[path = "doors/silent.rs"]
mod silent;
#[path = "doors/store.rs"]
mod store;
#[path = "doors/tries.rs"]
mod tries;
#[path = "doors/users.rs"]
mod users;
