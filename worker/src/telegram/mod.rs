//! The Bot API: the only room that knows its addresses and its errors. `send` makes one call as often as
//! contract 3.7 wants; what to do next is decided by `next`, which is pure.

mod client;
pub mod error;
mod next;

pub use client::{BotName, Sent, Settings, Telegram};
