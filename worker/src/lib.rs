//! The worker: takes an update from the queue and ends it, as done or as a dead letter.
//!
//! Files that decide (routes, replies, outcomes, breakers, what to do after an error of Telegram's) are
//! pure. The Bot API is known below `telegram` only, services are called by `services` only, and only
//! `settle` acks.

mod ages;
mod application;
mod asked;
mod bulk;
mod claim;
mod company;
mod connections;
mod events;
mod explain;
mod fence;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod incoming;
mod job;
mod lanes;
#[cfg(feature = "measure")]
#[doc(hidden)]
pub mod measure;
mod messages;
mod outlook;
mod recent;
mod reply;
mod roster;
mod routes;
mod routing;
mod samples;
mod services;
mod settings;
mod settle;
mod spans;
mod telegram;
mod token;

pub use application::{Application, Parts, run_with_admin};
pub use asked::{Asked, kinds_asked};
pub use explain::{Circumstances, ExplainError, Explained, explain};
pub use messages::messages;
pub use settings::{Place, RouteSettings, Settings, command};
pub use telegram::{Bot, Looked, PlainError, Upload};
