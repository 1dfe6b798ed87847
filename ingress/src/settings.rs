//! The ingress's settings, checked; nothing is opened here.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Command;
use shared::settings::{Problems, Taker, Values, address, bytes, seconds, whole, with_flags};

use crate::secret::Secrets;

/// The program with its flags, which are its settings.
pub fn command() -> Command {
    let about = "Takes Telegram's updates, makes each durable in RabbitMQ, and answers 200";
    with_flags(Command::new("tgw-ingress").about(about).version(env!("CARGO_PKG_VERSION")), Taker::Ingress)
}

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
    /// What the spool may hold.
    pub spool_bytes: u64,
}

impl Settings {
    pub fn read(values: &Values) -> Result<Self, Problems> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let given = |name: &'static str, most: u64| {
            values.is_given(name).then(|| whole(values, name, 1..=most)).transpose()
        };
        let mut problems = Problems::default();
        let secrets = problems.take_all(Secrets::read(values));
        let listen = problems.take(address(values, "LISTEN_ADDR", "0.0.0.0:8000"));
        let threads = problems.take(given("HTTP_WORKERS", 1024));
        let bot = problems.take(given("BOT_ID", i64::MAX as u64));
        let deadline = problems.take(seconds(values, "ACCEPT_DEADLINE", 0.01..=50.0));
        let grace = problems.take(seconds(values, "SHUTDOWN_GRACE", 0.0..=3600.0));
        let spool_bytes = problems.take(bytes(values, "SPOOL_MAX_BYTES"));
        let all = (listen, threads, secrets, bot, deadline, grace, spool_bytes);
        let (
            Some(listen),
            Some(threads),
            Some(secrets),
            Some(bot),
            Some(deadline),
            Some(grace),
            Some(spool_bytes),
        ) = all
        else {
            return Err(problems);
        };
        let http_workers = threads.map_or(cores, |number| number as usize);
        Ok(Self { listen, http_workers, secrets, bot, deadline, grace, spool_bytes })
    }
}
