//! The way of an update from the simulator to the bot's webhook (facts T1-T7).
//! `queue` decides what may go out and when; `keys` says which updates wait for each other; `connections` how many
//! connections there may be; `sender` and `line` do it, by the bytes of `wire`, and `answer` says what came back.
//! Nothing here knows what is in an update beyond that.

mod answer;
mod by_client;
mod connections;
pub(crate) mod keys;
mod line;
pub(crate) mod queue;
mod sender;
mod wire;

pub(crate) use sender::Sender;

use serde::Serialize;

/// Carries the webhook's secret (facts T9).
const SECRET: &str = "X-Telegram-Bot-Api-Secret-Token";

/// One attempt to deliver one update, as the journal keeps it.
#[derive(Debug, Clone, Serialize)]
pub struct Delivery {
    pub seq: u64,
    /// When the attempt began, in Unix milliseconds.
    pub at_ms: i64,
    pub update_id: i64,
    /// From 1.
    pub attempt: u32,
    /// The webhook's answer; None when there was none.
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub duration_ms: i64,
}
