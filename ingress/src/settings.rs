//! The ingress's settings, checked; nothing is opened here.

use std::net::SocketAddr;
use std::time::Duration;

use shared::settings::{SettingError, Values, address, seconds, whole};

use crate::secret::Secrets;

/// What an ingress needs to know, apart from its queue.
pub struct Settings {
    pub listen: SocketAddr,
    pub http_workers: usize,
    pub secrets: Secrets,
    /// Stamped on every update, so that a worker of another bot finds out.
    pub bot: Option<u64>,
    /// Every request is answered within this of its last byte.
    pub deadline: Duration,
    pub grace: Duration,
}

impl Settings {
    pub fn read(values: &Values) -> Result<Self, SettingError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads =
            values.is_given("HTTP_WORKERS").then(|| whole(values, "HTTP_WORKERS", 1..=1024)).transpose()?;
        let bot =
            values.is_given("BOT_ID").then(|| whole(values, "BOT_ID", 1..=i64::MAX as u64)).transpose()?;
        Ok(Self {
            listen: address(values, "LISTEN_ADDR", "0.0.0.0:8000")?,
            http_workers: threads.map_or(cores, |number| number as usize),
            secrets: Secrets::read(values)?,
            bot,
            deadline: seconds(values, "ACCEPT_DEADLINE", 0.01..=50.0)?,
            grace: seconds(values, "SHUTDOWN_GRACE", 0.0..=3600.0)?,
        })
    }
}
