//! When the broker was last heard on the connection that holds the leases. A process that was frozen may have
//! lost them without having been told: before it asks anybody for anything it hears the broker again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::connection::{Connection, open_channel};

/// How often the broker is asked.
const EVERY: Duration = Duration::from_secs(1);

/// An answer proves the leases for this long: the broker keeps a silent connection's for 5 s at our heartbeat
/// (facts R2).
const PROOF: Duration = Duration::from_secs(3);

/// No answer for so long, and the connection is given up: the broker does the same.
const PATIENCE: Duration = Duration::from_secs(6);

/// Cheap to clone.
#[derive(Clone)]
pub struct Pulse(watch::Receiver<Option<Instant>>);

/// The supervisor's end.
#[derive(Clone)]
pub(super) struct Beat(watch::Sender<Option<Instant>>);

pub(super) fn pair() -> (Beat, Pulse) {
    let (beat, pulse) = watch::channel(None);
    (Beat(beat), Pulse(pulse))
}

impl Pulse {
    /// Returns at once if the broker was heard a moment ago, else when it is heard.
    pub async fn heard(&mut self) {
        let lately = |asked: &Option<Instant>| asked.is_some_and(|asked| asked.elapsed() < PROOF);
        if self.0.wait_for(lately).await.is_err() {
            // The supervisor has ended, and with it the claims.
            std::future::pending().await
        }
    }
}

/// Asks the broker again and again; how it ended. What is asked is nothing: a channel's prefetch, which is set
/// by a round trip that no queue has a part in.
pub(super) async fn beat(connection: Arc<Connection>, beat: Beat) -> String {
    let _silence = Silence(&beat);
    let channel = match open_channel(&connection).await {
        Ok(channel) => channel,
        Err(error) => return error.to_string(),
    };
    loop {
        let asked = Instant::now();
        let answer = channel.basic_qos(1, lapin::options::BasicQosOptions { global: false });
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(())) => beat.0.send_replace(Some(asked)),
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("no answer within {PATIENCE:?}"),
        };
        tokio::time::sleep(EVERY).await;
    }
}

/// What one connection heard proves nothing of the next.
struct Silence<'a>(&'a Beat);

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        self.0.0.send_replace(None);
    }
}
