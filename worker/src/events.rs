//! What happens in a worker, as log lines and metrics: one function per thing that happens. No line holds
//! any of a message's text, and no label an id.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use shared::clock;
use shared::metrics::{self, OPEN};
use shared::queue::{Bulk, PublishError};
use uuid::Uuid;

use crate::handle::Attempt;
use crate::handle::outcome::{Done, Outcome};
use crate::incoming::Incoming;
use crate::messages::{Priority, Refusal};
use crate::services::ServiceError;
use crate::telegram::Pending;
use crate::telegram::error::CallError;

metrics::catalogue! {
    pub fn begin;
    UPDATES: counters("tgw_updates_total",
        "Updates that ended, by what came of them", "outcome": &Done::WORDS_AND_DEAD);
    HANDLING: histograms("tgw_update_seconds", "From an update's turn to its outcome");
    WAITING: histograms("tgw_update_wait_seconds", "From an update's receipt to its turn in a worker");
    LAG: long_histograms("tgw_update_lag_seconds",
        "From a message's date, when its user acted, to its turn in a worker");
    SERVICE: histograms("tgw_service_seconds",
        "Calls of services", "service": OPEN, "outcome": &["ok", "failed"]);
    SERVICE_RETRIES: counters("tgw_service_retries_total",
        "Calls of services that were made once more", "service": OPEN);
    BREAKER: gauges("tgw_service_breaker_open", "1 while a service's breaker is open", "service": OPEN);
    TELEGRAM: histograms("tgw_telegram_seconds",
        "Calls of the Bot API", "outcome": &["ok", "limited", "failed", "refused"]);
    TELEGRAM_RETRIES: counters("tgw_telegram_retries_total", "Calls of the Bot API that were made once more");
    TOKEN_WRONG: gauges("tgw_telegram_token_wrong", "1 while Telegram refuses the bot's token");
    PARKED: counters("tgw_parks_total",
        "Times that Telegram had a chat, or the bot, wait", "whose": &["chat", "bot"]);
    CHATS_PARKED: gauges("tgw_chats_parked", "Chats that Telegram has wait at the moment");
    PENDING: known_gauges("tgw_webhook_pending_updates", "Updates that wait at Telegram");
    LAST_ERROR: known_gauges("tgw_webhook_last_error_timestamp_seconds",
        "When Telegram last failed to deliver, in Unix time; 0 where it never did");
    WEBHOOK_SET: known_gauges("tgw_webhook_set", "1 where Telegram has an address to post to");
    LETTERS: known_gauges("tgw_dead_letters_waiting",
        "Dead letters in their queue; fewer while a command has them in hand");
    PANICS: counters("tgw_panics_total", "Handlers that panicked");
    PARTITIONS: gauges("tgw_partitions_held", "Partitions that this worker has");
    LEASES: counters("tgw_leases_total",
        "Partitions that this worker took, gave back and lost", "event": &["taken", "given_back", "lost"]);
    PARTITION_UPDATES: gauges("tgw_partition_updates",
        "Updates of a partition that this worker has: ready in its queue, or in hand",
        "partition": OPEN, "state": &["ready", "in_hand"]);
    OLDEST: gauges("tgw_update_oldest_seconds",
        "Age of the oldest update in this worker's hand, by its receipt; 0 where it has none");
    MESSAGES: counters("tgw_messages_total",
        "Messages of services that were queued", "priority": &["reply", "notification", "broadcast"]);
    MESSAGES_REFUSED: counters("tgw_messages_refused_total",
        "Messages of services that were not taken", "why": &Refusal::WORDS);
    BULK: counters("tgw_bulk_dispatched_total",
        "Notifications and broadcasts that this worker put into their chats' partitions",
        "queue": &["notifications", "broadcasts"]);
    BULK_WAITING: known_gauges("tgw_bulk_waiting",
        "Notifications and broadcasts that wait for their turn, told by the worker that dispatches", "queue": OPEN);
    WORKERS: gauges("tgw_workers_known", "Workers that this one knows of, with itself");
}

pub fn workers_known(count: usize) {
    metrics::set(&WORKERS, &[], count as i64);
}

pub fn share_changed(partitions: usize, workers: usize) {
    tracing::info!(partitions, workers, "this worker's share of the partitions");
}

pub fn listening(address: SocketAddr) {
    tracing::info!(%address, "the worker listens");
}

pub fn partition_taken(partition: u16) {
    metrics::add(&PARTITIONS, &[], 1);
    metrics::count(&LEASES, &["taken"]);
    tracing::debug!(partition, "a partition is ours");
}

/// How much of a partition waits, so that somebody can start more workers or stop some.
pub fn partition_updates(partition: u16, ready: Option<u64>, in_hand: u64) {
    let partition = partition.to_string();
    metrics::set(&PARTITION_UPDATES, &[&partition, "in_hand"], in_hand as i64);
    match ready {
        Some(ready) => metrics::set(&PARTITION_UPDATES, &[&partition, "ready"], ready as i64),
        None => metrics::remove(&PARTITION_UPDATES, &[&partition, "ready"]),
    }
}

/// `received_ms` is when the oldest was received that this worker has in hand.
pub fn oldest_update(received_ms: Option<u64>) {
    let age = received_ms.map_or(0, |received| clock::now_ms().saturating_sub(received) / 1000);
    metrics::set(&OLDEST, &[], age as i64);
}

/// `lost` is whether it was taken away: the connection, or a fence, or a wrong token; not a smaller share or the end.
pub fn partition_ended(partition: u16, lost: bool) {
    metrics::add(&PARTITIONS, &[], -1);
    metrics::count(&LEASES, &[if lost { "lost" } else { "given_back" }]);
    for state in ["ready", "in_hand"] {
        metrics::remove(&PARTITION_UPDATES, &[&partition.to_string(), state]);
    }
    // Those of the others are told again within a second.
    oldest_update(None);
    tracing::debug!(partition, lost, "a partition is not ours any more");
}

/// An update that Telegram sent, not one that is replayed, has its turn.
pub fn turn_came(received_ms: u64, incoming: &Incoming) {
    let now = clock::now_ms();
    metrics::observe(&WAITING, &[], Duration::from_millis(now.saturating_sub(received_ms)));
    if let Some(date) = incoming.date {
        let acted_ms = date.saturating_mul(1000);
        metrics::observe(&LAG, &[], Duration::from_millis(now.saturating_sub(acted_ms)));
    }
}

/// An update's try has come to something, or that of an album of so many parts.
pub fn handled(outcome: &Outcome, request_id: &str, user: Option<i64>, took: Duration, parts: usize) {
    metrics::observe(&HANDLING, &[], took);
    let took_ms = took.as_millis() as u64;
    let (count, parts) = (parts as u64, (parts > 1).then_some(parts));
    match outcome {
        Outcome::Done(done) => {
            metrics::add_count(&UPDATES, &[done.as_str()], count);
            let outcome = done.as_str();
            tracing::info!(request_id, telegram_user_id = user, outcome, took_ms, parts, "an update is done");
        }
        Outcome::Dead(death) => {
            metrics::add_count(&UPDATES, &["dead"], count);
            let (reason, error, route) = (death.reason.as_str(), &death.error, &death.route);
            tracing::error!(
                request_id,
                telegram_user_id = user,
                reason,
                error,
                route,
                attempts = death.attempts,
                parts,
                "an update is dead"
            );
        }
        Outcome::Stay => {
            tracing::warn!(request_id, telegram_user_id = user, "an update stays in the queue");
        }
        Outcome::NotBegun => {
            tracing::debug!(request_id, "an update that waited for its turn goes back to the queue");
        }
    }
}

pub fn routes_read_again() {
    tracing::info!("the routes were read again and are in use");
}

pub fn routes_broken(error: &dyn Display) {
    tracing::error!(%error, "the routes were read again and are broken; the old ones stay in use");
}

pub fn suspect(request_id: &str, tries: u32) {
    tracing::warn!(request_id, tries, "an update was begun before and did not end; it gets less company");
}

pub fn panicked(times: u32) {
    metrics::count(&PANICS, &[]);
    tracing::error!(times, "an update's handler panicked");
}

pub fn letter_waits(error: &PublishError) {
    tracing::warn!(%error, "a dead letter can't be published yet");
}

pub fn ack_failed(error: &PublishError) {
    tracing::debug!(%error, "an ack did not reach the broker; the update comes again and is known");
}

/// A service is set up: that it has not been called is told too.
pub fn service_begun(service: &str) {
    metrics::begin(&SERVICE, &[&[service], &["ok", "failed"]]);
    metrics::begin(&SERVICE_RETRIES, &[&[service]]);
    metrics::set(&BREAKER, &[service], 0);
}

/// No route of the new table leads to it: what was said of it does not hold any more.
pub fn service_gone(service: &str) {
    metrics::remove(&BREAKER, &[service]);
}

pub fn service_called(service: &str, error: Option<&ServiceError>, took: Duration, request_id: &str) {
    let outcome = if error.is_some() { "failed" } else { "ok" };
    metrics::observe(&SERVICE, &[service, outcome], took);
    tracing::debug!(
        request_id,
        service,
        outcome,
        latency_ms = took.as_millis() as u64,
        "a service was called"
    );
}

/// A breaker opened, or closed again.
pub fn breaker_changed(service: &str, open: bool) {
    metrics::set(&BREAKER, &[service], i64::from(open));
    if open {
        tracing::error!(service, "too many calls of a service fail; its breaker is open");
    } else {
        tracing::info!(service, "a service answers again; its breaker is closed");
    }
}

pub fn service_retries(service: &str, error: &ServiceError, request_id: &str) {
    metrics::count(&SERVICE_RETRIES, &[service]);
    tracing::warn!(request_id, service, %error, "a service failed and is asked once more");
}

pub fn service_answered(route: &str, attempt: &Attempt<'_>, took: Duration) {
    tracing::info!(
        request_id = attempt.request_id,
        telegram_user_id = attempt.incoming.user.as_ref().map(|user| user.id),
        route,
        latency_ms = took.as_millis() as u64,
        "a service answered"
    );
}

/// `service` is the one that asked for it.
pub fn sticky_unknown(service: &str, named: &str, attempt: &Attempt<'_>) {
    tracing::warn!(
        request_id = attempt.request_id,
        service,
        named,
        "a service's sticky names a service that is not set up; it is left out"
    );
}

pub fn service_failed(
    service: &str,
    route: &str,
    error: &ServiceError,
    attempt: &Attempt<'_>,
    took: Duration,
) {
    tracing::error!(
        request_id = attempt.request_id,
        telegram_user_id = attempt.incoming.user.as_ref().map(|user| user.id),
        route,
        service,
        %error,
        latency_ms = took.as_millis() as u64,
        "a service gave no answer that can be used; the user is told to try again"
    );
}

pub fn telegram_called(method: &str, error: Option<&CallError>, took: Duration) {
    let outcome = match error {
        None => "ok",
        Some(CallError::RetryAfter(_)) => "limited",
        Some(CallError::Failed { .. }) => "failed",
        Some(_) => "refused",
    };
    metrics::observe(&TELEGRAM, &[outcome], took);
    tracing::debug!(method, outcome, latency_ms = took.as_millis() as u64, "the Bot API was called");
}

/// `copy` is whether the first try may have been carried out (facts T17).
pub fn telegram_retries(method: &str, copy: bool) {
    metrics::count(&TELEGRAM_RETRIES, &[]);
    if copy {
        tracing::warn!(method, "Telegram did not answer; sent once more, and a copy is possible");
    } else {
        tracing::warn!(method, "Telegram failed; sent once more");
    }
}

/// A 429 parks its chat; several in a row park the bot (facts T15).
pub fn parked(is_bots: bool, wait: Duration) {
    let seconds = wait.as_secs();
    if is_bots {
        metrics::count(&PARKED, &["bot"]);
        tracing::warn!(seconds, "Telegram refuses one chat after the other; the bot waits");
    } else {
        metrics::count(&PARKED, &["chat"]);
        tracing::info!(seconds, "Telegram has a chat wait");
    }
}

pub fn chats_parked(count: usize) {
    metrics::set(&CHATS_PARKED, &[], count as i64);
}

pub fn telegram_refused(why: &str, attempt: &Attempt<'_>) {
    tracing::warn!(
        request_id = attempt.request_id,
        telegram_user_id = attempt.incoming.user.as_ref().map(|user| user.id),
        why,
        "Telegram refuses an answer for good"
    );
}

pub fn telegram_failed(why: &str, attempt: &Attempt<'_>) {
    tracing::error!(
        request_id = attempt.request_id,
        telegram_user_id = attempt.incoming.user.as_ref().map(|user| user.id),
        why,
        "Telegram failed, also on the retry; what is left becomes a dead letter"
    );
}

/// How the bot's updates do at Telegram, as it says now; nothing where it says nothing, or where another worker asks it.
pub fn pending(pending: Option<&Pending>) {
    match pending {
        Some(it) => {
            metrics::set(&PENDING, &[], it.updates);
            metrics::set(&LAST_ERROR, &[], it.last_error);
            metrics::set(&WEBHOOK_SET, &[], i64::from(it.is_set));
        }
        None => [&PENDING, &LAST_ERROR, &WEBHOOK_SET].iter().for_each(|gauge| metrics::remove(gauge, &[])),
    }
}

/// How many dead letters there are; nothing where it is not known, or where another worker tells.
pub fn letters_waiting(count: Option<u64>) {
    match count {
        Some(count) => metrics::set(&LETTERS, &[], count as i64),
        None => metrics::remove(&LETTERS, &[]),
    }
}

/// This worker takes notifications and broadcasts out of their queues for all, or does so no more.
pub fn dispatching(begins: bool) {
    if begins {
        tracing::info!("this worker dispatches bulk messages");
    } else {
        tracing::info!("this worker dispatches bulk messages no more");
    }
}

pub fn bulk_dispatched(bulk: Bulk) {
    metrics::count(&BULK, &[bulk.as_str()]);
}

/// None where another worker tells.
pub fn bulk_waiting(bulk: Bulk, count: Option<u64>) {
    match count {
        Some(count) => metrics::set(&BULK_WAITING, &[bulk.as_str()], count as i64),
        None => metrics::remove(&BULK_WAITING, &[bulk.as_str()]),
    }
}

/// A service's message is on disk.
pub fn message_taken(priority: Priority, id: u64, request_id: Option<Uuid>) {
    metrics::count(&MESSAGES, &[priority.as_str()]);
    let (request_id, priority) = (request_id.map(tracing::field::display), priority.as_str());
    tracing::info!(id, request_id, priority, "a service's message is queued");
}

pub fn message_refused(refusal: &Refusal) {
    metrics::count(&MESSAGES_REFUSED, &[refusal.as_str()]);
    match refusal {
        Refusal::ComeAgain(_) | Refusal::Stranger => {
            tracing::warn!(why = %refusal, "a service's message is not taken");
        }
        _ => tracing::info!(why = %refusal, "a service's message is not taken"),
    }
}

pub fn telegram_unreachable(why: &dyn Display) {
    tracing::warn!(%why, "Telegram can't be reached; the bot's name is not known yet");
}

pub fn token_wrong() {
    metrics::set(&TOKEN_WRONG, &[], 1);
    tracing::error!(
        "Telegram refuses the bot's token; no update is taken until it is right: check TELEGRAM_BOT_TOKEN"
    );
}

pub fn token_right_again() {
    metrics::set(&TOKEN_WRONG, &[], 0);
    tracing::info!("Telegram takes the bot's token again; updates are taken");
}
