//! What the ingress and the worker both need: the update, the queue, the store, settings, telemetry.
//!
//! No room in here knows Telegram's methods, a service or a route: those are the worker's. RabbitMQ is
//! known only below `queue::rabbitmq`, Redis only below `store::redis`, redb only in `database`, in
//! `spool`, in the two `embedded` rooms and in `one_file`, which they share.

pub mod admin;
pub mod clock;
pub mod data_dir;
pub mod database;
pub mod events;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod json;
pub mod metrics;
pub mod one_file;
pub mod program;
pub mod proof;
pub mod queue;
pub mod readiness;
pub mod retry;
pub mod settings;
pub mod snapshot;
pub mod spool;
pub mod store;
pub mod telemetry;
pub mod traces;
pub mod update;
pub mod window;
