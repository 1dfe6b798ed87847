//! Has the webhook's connections opened and closed, and gives to the idle ones what the queue says may go out.
//! What a connection does with an update is in `line`.

use std::future::pending;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use reqwest::{Client, redirect};
use tokio_util::sync::CancellationToken;

use super::line::Lines;
use crate::state::World;

/// Telegram closes a connection that was idle for so long (facts T7).
pub(super) const IDLE: Duration = Duration::from_secs(60);

pub(crate) struct Sender {
    world: Arc<World>,
    client: Client,
}

impl Sender {
    pub fn new(world: Arc<World>) -> Result<Self, reqwest::Error> {
        install_crypto();
        let client = Client::builder()
            .http1_only()
            .no_proxy()
            // A redirect is an answer outside 200..299, so a failure (facts T2).
            .redirect(redirect::Policy::none())
            .pool_idle_timeout(IDLE)
            .build()?;
        Ok(Self { world, client })
    }

    /// Delivers until `stop` is cancelled; what is pending then is forgotten with the simulator.
    pub async fn run(self, stop: CancellationToken) {
        let mut lines: Option<Arc<Lines>> = None;
        loop {
            let target = self.world.webhook().target.clone();
            let generation = |lines: &Arc<Lines>| lines.target.generation;
            if lines.as_ref().map(generation) != target.as_ref().map(|target| target.generation) {
                // The old webhook's requests are broken off, as Telegram's are.
                lines.iter().for_each(|old| old.closing.cancel());
                self.world.queue().start(target.as_ref().map_or(0, |target| target.generation));
                lines = target.map(|target| Lines::new(self.world.clone(), self.client.clone(), target));
            }
            let next_at = lines.as_ref().and_then(Lines::look);
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.world.wake.notified() => (),
                () = sleep_until(&self.world, next_at) => (),
            }
        }
        lines.iter().for_each(|lines| lines.closing.cancel());
    }
}

async fn sleep_until(world: &World, at: Option<Instant>) {
    match at {
        Some(at) => world.clock.sleep_until(at).await,
        None => pending().await,
    }
}

/// reqwest is built without a TLS provider of its own; another part of the process may have chosen one.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().ok();
    });
}
