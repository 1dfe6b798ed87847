//! What a spool needs while its ingress runs: somebody who drains it, who tells the others, and who says how
//! it stands.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::announce::Announcer;
use super::drain::Drain;
use super::inner::Inner;
use super::{Spool, events};
use crate::queue::Publisher;
use crate::queue::rabbitmq::Fanout;
use crate::readiness::Readiness;

/// How often the metrics and `/ready` are brought up to date.
const LOOK: Duration = Duration::from_millis(200);

/// A disk that failed is tried again this often, since nobody else may: an ingress that is not ready gets no
/// requests.
const PROBE: Duration = Duration::from_secs(1);

/// How long the end waits for what is being written, and for the broker's word.
const GOODBYE: Duration = Duration::from_secs(1);

/// A spool that is being tended.
pub struct Tended {
    spool: Spool,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Begins to drain `spool` to `publisher` and to tell `readiness` how it stands; `fanout` reaches the other
/// ingresses, where there can be any.
pub fn tend(spool: Spool, publisher: Publisher, fanout: Option<Fanout>, readiness: &Readiness) -> Tended {
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let inner = &spool.0;
    if let Some(fanout) = fanout {
        let announcer = Announcer::new(Arc::clone(inner), fanout);
        tasks.spawn(announcer.run(stop.clone()));
    }
    let drain = Drain { inner: Arc::clone(inner), publisher: publisher.clone() };
    tasks.spawn(drain.run(stop.clone()));
    let teller = Teller { inner: Arc::clone(inner), publisher, readiness: readiness.clone(), state: "" };
    tasks.spawn(teller.run(stop.clone()));
    Tended { spool, stop, tasks }
}

impl Tended {
    pub fn spool(&self) -> Spool {
        self.spool.clone()
    }

    /// Ends it and closes the file. What is spooled stays on disk.
    pub async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(GOODBYE, self.tasks.wait()).await.is_err() {
            tracing::debug!("the spool's tasks did not end");
        }
        // A disk that hangs must not keep the process: what is in its file is as safe there.
        if tokio::time::timeout(GOODBYE, self.spool.0.database.close()).await.is_err() {
            tracing::warn!("the spool's disk hangs; its file was not closed");
        }
    }
}

/// Says how the spool stands.
struct Teller {
    inner: Arc<Inner>,
    publisher: Publisher,
    readiness: Readiness,
    state: &'static str,
}

impl Teller {
    async fn run(mut self, stop: CancellationToken) {
        let mut probed = Instant::now();
        loop {
            self.tell();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            if self.inner.failing.load(Ordering::Relaxed) && probed.elapsed() >= PROBE {
                probed = Instant::now();
                self.inner.failing.store(!self.inner.database.probe().await, Ordering::Relaxed);
            }
        }
    }

    fn tell(&mut self) {
        let status = Spool(Arc::clone(&self.inner)).status();
        events::status(&status);
        let (state, takes) = match () {
            () if self.inner.failing.load(Ordering::Relaxed) => ("failing", false),
            () if self.inner.full.load(Ordering::Relaxed) => ("full", false),
            () if status.updates + status.letters > 0 => ("holding", true),
            () => ("empty", true),
        };
        // One of the two has to be able to take an update (contract 2).
        self.readiness.set("spool", state, takes || self.publisher.takes());
        if state != self.state {
            // An empty one at the start is no news.
            if !(self.state.is_empty() && state == "empty") {
                events::changed(state, &status);
            }
            self.state = state;
        }
    }
}
