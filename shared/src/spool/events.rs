//! What happens to the spool, as log lines and metrics: one function per thing that happens.

use std::fmt::Display;

use super::Status;
use crate::clock;
use crate::metrics;

metrics::catalogue! {
    fn begin;
    RECORDS: gauges("tgw_spool_records",
        "What waits on this ingress's disk, by what it is", "what": &["updates", "letters"]);
    BYTES: gauges("tgw_spool_bytes", "Bytes of what waits, as SPOOL_MAX_BYTES counts them");
    LIMIT: gauges("tgw_spool_limit_bytes", "SPOOL_MAX_BYTES");
    OLDEST: gauges("tgw_spool_oldest_seconds", "Age of the oldest update that waits; 0 where none does");
    PEERS: gauges("tgw_ingress_peers", "Other ingresses that are heard on the same broker");
    STORED: counters("tgw_spool_stored_total", "Records that were put on the disk");
    DRAINED: counters("tgw_spool_drained_total", "Records that went from the disk to the broker");
    FAILED: counters("tgw_spool_failures_total",
        "Records that the spool could not take", "why": &["full", "disk"]);
}

/// How it stands: told a few times a second.
pub(super) fn status(status: &Status) {
    metrics::set(&RECORDS, &["updates"], status.updates as i64);
    metrics::set(&RECORDS, &["letters"], status.letters as i64);
    metrics::set(&BYTES, &[], status.bytes as i64);
    let age = status.oldest_ms.map_or(0, |oldest| clock::now_ms().saturating_sub(oldest) / 1000);
    metrics::set(&OLDEST, &[], age as i64);
}

pub(super) fn peers(count: usize) {
    metrics::set(&PEERS, &[], count as i64);
}

pub(super) fn opened(found: &Status, limit: u64) {
    begin();
    metrics::set(&LIMIT, &[], i64::try_from(limit).unwrap_or(i64::MAX));
    status(found);
    let (updates, letters, bytes) = (found.updates, found.letters, found.bytes);
    if updates + letters > 0 {
        tracing::warn!(updates, letters, bytes, "the spool holds records of an earlier run; they go first");
    }
}

pub(super) fn stored() {
    metrics::add_count(&STORED, &[], 1);
}

/// Records are the broker's now.
pub(super) fn drained(records: u64) {
    metrics::add_count(&DRAINED, &[], records);
}

pub(super) fn full() {
    metrics::count(&FAILED, &["full"]);
}

pub(super) fn failed(error: &dyn Display) {
    metrics::count(&FAILED, &["disk"]);
    tracing::debug!(%error, "the spool can't be written");
}

/// It began or ceased to hold records, or to be able to take any: said once per change.
pub(super) fn changed(state: &'static str, status: &Status) {
    let (updates, letters, bytes) = (status.updates, status.letters, status.bytes);
    match state {
        "empty" => tracing::info!("the spool is empty"),
        "holding" => {
            tracing::warn!(updates, letters, bytes, "the broker takes nothing; the spool holds what came")
        }
        "full" => tracing::error!(updates, bytes, "the spool is full; Telegram is told to keep what comes"),
        _ => {
            tracing::error!("the spool's disk fails; without the broker Telegram is told to keep what comes")
        }
    }
}

/// A drain of a bucket could not go on; said once a second at most, by the caller's rest.
pub(super) fn refused(error: &dyn Display) {
    tracing::debug!(%error, "a spooled update is not published yet");
}

pub(super) fn unreadable() {
    tracing::error!("a record of the spool can't be read; it becomes a dead letter");
}

pub(super) fn unwritten(error: &dyn Display) {
    metrics::count(&FAILED, &["disk"]);
    tracing::debug!(%error, "what is at the broker can't be taken out of the spool yet");
}

pub(super) fn unread(error: &dyn Display) {
    tracing::error!(%error, "the spool can't be read; it is tried again");
}
