//! The Bot API: the only room that knows its addresses and its errors. `send` makes one call as often as
//! contract 3.7 wants; what to do next is decided by `next`, which is pure.

mod client;
pub mod error;
mod next;
mod pace;
mod park;
mod pending;
mod plain;
mod replies;
mod settings;

pub use client::{BotName, Going, Sent, Telegram};
pub use pace::weight;
pub use park::{Note, share_parks};
pub use pending::Pending;
pub use plain::{Bot, Looked, PlainError, Upload};
pub use settings::Settings;
