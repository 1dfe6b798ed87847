//! The ingress: takes a webhook request, makes its update safe, says 200.
//!
//! What the broker can't take goes to a spool on its own disk. It knows no Redis, no service and no method of the Bot API, and never looks into an update beyond what
//! its queue needs.

mod accept;
mod application;
mod body;
mod events;
mod secret;
mod settings;
mod spooled;
mod webhook;

pub use application::Application;
pub use secret::Secrets;
pub use settings::{Settings, command};
pub use spooled::publisher_with_spool;
