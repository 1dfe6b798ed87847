//! A Telegram to run at home: the Bot API's server side, the delivery of updates to a webhook by
//! Telegram's own rules, a control side for tests, and a page where a person talks to the bot.
//!
//! What the rest of the world may use is named here; everything else is private to the crate.
//! No part of the gateway is known here: the simulator sees a bot only through HTTP.

mod api;
mod application;
mod control;
mod delivery;
mod formatting;
mod page;
mod settings;
mod state;

pub use application::{Application, Error};
pub use control::{
    Bot, Control, ControlError, NewMessage, NewPress, Pressed, Sent, view::Answer, view::ChatView,
    view::MessageView,
};
pub use delivery::Delivery;
pub use settings::Settings;
pub use state::calls::Call;
pub use state::failures::Rule;
