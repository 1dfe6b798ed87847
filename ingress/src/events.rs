//! What happens at the ingress, as log lines and metrics: one function per thing that happens.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::clock;
use shared::metrics;
use shared::update::Malformed;

/// What can come of a request. `refused` and `no_room` are answered with 503.
const OUTCOMES: &[&str] =
    &["accepted", "spooled", "malformed", "wrong_secret", "refused", "broken", "no_room"];

metrics::catalogue! {
    pub fn begin;
    REQUESTS: counters("tgw_ingress_requests_total",
        "Webhook requests, by what came of them", "outcome": OUTCOMES);
    LATE_CONFIRMS: counters("tgw_ingress_late_confirms_total", "Updates whose confirm did not come in time");
    CONFIRM: histograms("tgw_ingress_confirm_seconds",
        "From an update's last byte to its being on disk, by where", "place": &["queue", "spool"]);
}

/// An update is safe. Logged only for those who want to hear of each.
pub fn accepted(kind: &str, took: Duration) {
    metrics::count(&REQUESTS, &["accepted"]);
    metrics::observe(&CONFIRM, &["queue"], took);
    tracing::debug!(kind, latency_ms = took.as_millis() as u64, "an update is safe");
}

/// An update is safe on this ingress's own disk.
pub fn spooled(kind: &str, took: Duration) {
    metrics::count(&REQUESTS, &["spooled"]);
    metrics::observe(&CONFIRM, &["spool"], took);
    tracing::debug!(kind, latency_ms = took.as_millis() as u64, "an update is in the spool");
}

/// Said once a second at most: while the broker is away this happens to every update, and the metrics count
/// them.
pub fn falls_back(error: &dyn Display) {
    if let Some(unsaid) = FELL_BACK.may_speak() {
        tracing::warn!(%error, unsaid, "the broker did not take an update; it goes to the spool");
    }
}

pub fn malformed(why: Malformed) {
    metrics::count(&REQUESTS, &["malformed"]);
    tracing::error!(%why, "a request with the right secret holds no update; it becomes a dead letter");
}

pub fn wrong_secret(peer: Option<SocketAddr>) {
    metrics::count(&REQUESTS, &["wrong_secret"]);
    let peer = peer.map(|peer| peer.ip().to_string()).unwrap_or_default();
    tracing::warn!(peer, "a request without the right secret; nothing of it is kept");
}

/// Likewise.
pub fn not_accepted(error: &dyn Display) {
    metrics::count(&REQUESTS, &["refused"]);
    if let Some(unsaid) = REFUSED.may_speak() {
        tracing::warn!(%error, unsaid, "an update can't be made safe; Telegram is told to keep it");
    }
}

/// Likewise.
pub fn late(waited: Duration) {
    metrics::count(&LATE_CONFIRMS, &[]);
    let waited_ms = waited.as_millis() as u64;
    if let Some(unsaid) = LATE.may_speak() {
        tracing::warn!(waited_ms, unsaid, "no confirm in time; the update goes to the spool as well");
    }
}

static FELL_BACK: OnceASecond = OnceASecond::new();
static REFUSED: OnceASecond = OnceASecond::new();
static LATE: OnceASecond = OnceASecond::new();
static NO_ROOM: OnceASecond = OnceASecond::new();

/// Keeps a line that could come with every request from filling the disk.
struct OnceASecond {
    spoke_ms: AtomicU64,
    unsaid: AtomicU64,
}

impl OnceASecond {
    const fn new() -> Self {
        Self { spoke_ms: AtomicU64::new(0), unsaid: AtomicU64::new(0) }
    }

    /// How often it was silent since it last spoke, if it may speak now.
    fn may_speak(&self) -> Option<u64> {
        let (now, spoke) = (clock::now_ms(), self.spoke_ms.load(Ordering::Relaxed));
        let due = now.saturating_sub(spoke) >= 1000;
        let mine =
            due && self.spoke_ms.compare_exchange(spoke, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine {
            return Some(self.unsaid.swap(0, Ordering::Relaxed));
        }
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        None
    }
}

pub fn body_broken() {
    metrics::count(&REQUESTS, &["broken"]);
    tracing::warn!("a request's body did not come whole");
}

/// Once a second at most too: whoever fills the room sends more than one.
pub fn no_room() {
    metrics::count(&REQUESTS, &["no_room"]);
    if let Some(unsaid) = NO_ROOM.may_speak() {
        tracing::warn!(unsaid, "no room for a large body; Telegram is told to keep the update");
    }
}

pub fn listening(address: SocketAddr) {
    tracing::info!(%address, "the ingress listens");
}
