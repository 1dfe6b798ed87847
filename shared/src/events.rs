//! What happens to connections and to the store, as log lines and metrics: one function per thing that
//! happens.

use std::fmt::Display;
use std::time::Duration;

use crate::metrics::{self, OPEN};
use crate::queue::Reason;

metrics::catalogue! {
    /// For a process that is ready or not.
    fn begin_process;
    READY: gauges("tgw_ready", "1 while /ready says 200");
}

metrics::catalogue! {
    /// For whoever has a queue.
    fn begin_queue;
    PARTITIONS: gauges("tgw_partitions", "PARTITIONS, as this process was told it");
    DEAD_LETTERS: counters("tgw_dead_letters_total",
        "Dead letters that were published", "reason": &Reason::WORDS);
}

metrics::catalogue! {
    /// For whoever has a queue at a broker.
    fn begin_broker;
    BROKER_UP: gauges("tgw_broker_up",
        "1 while a connection to the broker stands, by its role", "role": OPEN);
    BROKER_LOST: counters("tgw_broker_connections_lost_total",
        "Connections to the broker that ended", "role": OPEN);
    RETURNED: counters("tgw_publishes_returned_total", "Messages that no queue took");
    PUBLISH_SILENT: counters("tgw_publish_silent_total",
        "Channels given up since nothing on them was confirmed");
    SILENT: counters("tgw_partition_silent_total", "Times that a partition's queue did not answer");
}

metrics::catalogue! {
    /// For whoever has a store at another server.
    pub fn begin_store;
    STORE_UP: gauges("tgw_store_up", "1 while the store answers");
    STORE_AWAY: counters("tgw_store_failures_total", "Calls of the store that failed or took too long");
}

metrics::catalogue! {
    /// For whoever sends traces.
    fn begin_traces;
    SPANS: counters("tgw_trace_spans_total", "Spans of traces, by what came of them", "outcome": &["sent", "failed", "dropped"]);
}

/// Whether all that this process leans on lets it work.
pub fn ready(ready: bool) {
    begin_process();
    metrics::set(&READY, &[], i64::from(ready));
}

/// A queue is set up; it may not be there yet.
pub fn queue_begun(partitions: u16) {
    begin_queue();
    metrics::set(&PARTITIONS, &[], i64::from(partitions));
}

/// A connection to the broker is being made for the first time.
pub fn broker_begun(role: &'static str) {
    begin_broker();
    metrics::set(&BROKER_UP, &[role], 0);
    metrics::add_count(&BROKER_LOST, &[role], 0);
}

pub fn broker_connected(role: &'static str) {
    metrics::set(&BROKER_UP, &[role], 1);
    tracing::info!(role, "connected to the broker");
}

/// The broker can't be reached: said at the first try of a series and then once a minute or so.
pub fn broker_unreachable(role: &'static str, error: &dyn Display, tries: u64) {
    metrics::set(&BROKER_UP, &[role], 0);
    if tries == 1 || tries.is_multiple_of(30) {
        tracing::warn!(role, %error, tries, "the broker can't be reached; trying again until it can");
    }
}

pub fn broker_lost(role: &'static str, error: &dyn Display) {
    metrics::set(&BROKER_UP, &[role], 0);
    metrics::count(&BROKER_LOST, &[role]);
    tracing::warn!(role, %error, "the connection to the broker is lost; connecting again");
}

/// The broker refused something once for each of its channels.
pub fn channels_used_up() {
    tracing::warn!("a connection to the broker has no channel left; another one is made");
}

/// What asked for one goes over those of all.
pub fn channels_too_few() {
    tracing::warn!(
        "the broker allows too few channels on a connection: a thread publishes without one of its own"
    );
}

pub fn broker_blocked(reason: &str) {
    tracing::warn!(reason, "the broker has an alarm and takes nothing");
}

pub fn broker_unblocked() {
    tracing::info!("the broker's alarm is over");
}

/// The ingresses can't tell each other what they hold: each drains as if it were alone.
pub fn fanout_lost(exchange: &str, error: &dyn Display) {
    tracing::warn!(exchange, %error, "others of this kind can't be heard over the broker; each works as if it were alone");
}

pub fn publish_returned() {
    metrics::count(&RETURNED, &[]);
    tracing::error!("the broker has no queue for an update; declaring the queues again");
}

/// Nothing that was published on a channel was confirmed for so long: it is tried on another one.
pub fn publish_silent(after: Duration) {
    metrics::count(&PUBLISH_SILENT, &[]);
    let seconds = after.as_secs();
    tracing::warn!(seconds, "the broker confirms nothing on a channel; trying another one");
}

/// A dead letter is on disk.
pub fn buried(reason: Reason) {
    metrics::count(&DEAD_LETTERS, &[reason.as_str()]);
}

/// Said at the first try of a series and then once a minute or so.
pub fn partitions_disagree(settings: u16, broker: &dyn Display, tries: u64) {
    if tries != 1 && !tries.is_multiple_of(60) {
        return;
    }
    tracing::error!(settings, %broker, "PARTITIONS is not what the queues on the broker were made with; set it to that");
}

/// A partition's queue does not answer, though the broker does: its node is down, or its log is lost.
pub fn partition_silent(partition: u16) {
    metrics::count(&SILENT, &[]);
    tracing::error!(partition, "the queue of a partition does not answer; its chats wait, the others go on");
}

/// The broker has forgotten a lease, or given it to another connection.
pub fn lease_lost(partition: u16, error: &dyn Display) {
    tracing::warn!(partition, %error, "the lease of a partition is lost, though the connection lives");
}

/// Without one no partition can be taken.
pub fn no_spare_connection(error: &dyn Display) {
    tracing::warn!(%error, "no third connection to the broker to claim partitions with; trying again");
}

pub fn traces_on() {
    begin_traces();
    tracing::info!("traces are sent to a collector");
}

/// A batch of spans was sent, or given up.
pub fn spans_sent(count: u64, sent: bool) {
    metrics::add_count(&SPANS, &[if sent { "sent" } else { "failed" }], count);
}

/// There was no room for a span. Not logged: the metric counts them.
pub fn spans_dropped() {
    metrics::count(&SPANS, &["dropped"]);
}

/// Said when it begins, without the collector's address, which can hold a password.
pub fn collector_takes_none(why: &str) {
    tracing::warn!(why, "the collector takes no traces; they are lost, and updates go on");
}

pub fn collector_takes_again() {
    tracing::info!("the collector takes traces again");
}

pub fn traces_cut_off() {
    tracing::warn!("the collector did not take the last traces in time");
}

pub fn foreign_message(queue: &str) {
    tracing::error!(queue, "a message in a queue of ours is no update");
}

pub fn store_failed(error: &dyn Display) {
    metrics::count(&STORE_AWAY, &[]);
    tracing::debug!(%error, "a call of the store failed");
}

/// The store began to answer, or stopped for this reason: said once per change.
pub fn store_changed(away: Option<&dyn Display>) {
    metrics::set(&STORE_UP, &[], i64::from(away.is_none()));
    match away {
        None => tracing::info!("the store answers"),
        Some(error) => {
            tracing::warn!(%error, "the store is away; updates go on without sessions and rate limits");
        }
    }
}
