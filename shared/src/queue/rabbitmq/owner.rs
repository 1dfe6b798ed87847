//! The owner of a channel: publishes what comes in, answers with the broker's confirms, and changes a channel on which
//! nothing is confirmed for another one.

use std::collections::HashSet;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::connection::{Connection, open_channel};
use crate::events;
use crate::queue::PublishError;

/// Without an ack for so long, though something was sent, a channel is changed for another one: on the broker a channel
/// may wait for a queue's leader where it was when the channel first sent something to that queue. On 3.10.8 each
/// message to a leader that has frozen since, and is no leader any more, costs 7 s, and all the others on the channel
/// wait behind it. A new channel asks where the leader is. Longer than it takes to elect one.
const SILENCE: Duration = Duration::from_secs(10);

/// Each time in a row that a new channel is no better it gets twice as long, up to this: where too few of a queue's
/// nodes are up for a leader, each time is another copy of what is on the way.
const LONGEST_SILENCE: Duration = Duration::from_secs(600);

/// How often a silence is looked for.
const LOOK: Duration = Duration::from_millis(500);

/// Messages that may wait for their confirms from one owner; no more wait for the owner itself.
pub(super) const WAITING: usize = 1024;

/// One message, and who waits for its confirm.
pub(super) struct Job {
    pub exchange: ShortString,
    pub routing_key: ShortString,
    pub properties: BasicProperties,
    pub body: Bytes,
    pub reply: oneshot::Sender<Result<(), PublishError>>,
}

/// Runs an owner, and after it another one on a new channel for as long as the one before was only kept waiting. What
/// that one had on the way counts as not published. Ends well when nobody is left who could publish.
///
/// However it ends, who waits is told so; who comes later waits for the next one.
pub(super) async fn run(
    connection: &Connection,
    mut channel: Channel,
    inbox: &Mutex<mpsc::Receiver<Job>>,
) -> Result<(), String> {
    // The owner before this one may still be ending, on a runtime that is busy.
    let mut inbox = Inbox(inbox.lock().await);
    let mut patience = SILENCE;
    loop {
        let ended = own(&channel, &mut inbox.0, connection, patience).await;
        let confirmed = match ended {
            Ended::Unused => return Ok(()),
            Ended::Failed(error) => return Err(error),
            Ended::Silent { confirmed } => confirmed,
        };
        events::publish_silent(patience);
        patience = if confirmed { SILENCE } else { (patience * 2).min(LONGEST_SILENCE) };
        let fresh = match open_confirming(connection).await {
            Ok(fresh) => fresh,
            Err(error) => return Err(error.to_string()),
        };
        // Closed when the broker comes to it: whatever is before that on the channel is in its hands.
        let silent = std::mem::replace(&mut channel, fresh);
        tokio::spawn(async move { silent.close(200, "silent".into()).await });
    }
}

/// What waits for an owner: told that it was not published when that ends, though the next connection may be there by
/// then, where its thread was busy.
struct Inbox<'m>(MutexGuard<'m, mpsc::Receiver<Job>>);

impl Drop for Inbox<'_> {
    fn drop(&mut self) {
        while self.0.try_recv().is_ok() {}
    }
}

pub(super) async fn open_confirming(connection: &Connection) -> Result<Channel, lapin::Error> {
    let channel = open_channel(connection).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// A confirm that came, and what was waiting for it.
struct Confirmed {
    message_id: Option<ShortString>,
    reply: oneshot::Sender<Result<(), PublishError>>,
    result: Result<Confirmation, lapin::Error>,
}

/// A message that was begun, until it is confirmed.
type OnTheWay<'c> = Pin<Box<dyn Future<Output = Confirmed> + Send + 'c>>;

/// Why an owner ended.
enum Ended {
    /// Nobody publishes here any more.
    Unused,
    Failed(String),
    /// The broker took nothing for as long as the owner has patience; and whether it took anything before.
    Silent {
        confirmed: bool,
    },
}

/// Publishes what comes in, until the channel fails or is silent for too long.
async fn own(
    channel: &Channel,
    inbox: &mut mpsc::Receiver<Job>,
    connection: &Connection,
    patience: Duration,
) -> Ended {
    let mut open = true;
    let mut unconfirmed: FuturesUnordered<OnTheWay<'_>> = FuturesUnordered::new();
    let mut returned = HashSet::new();
    let mut acks = Acks::default();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(confirmed) = unconfirmed.next() => {
                let batch = ready_batch(confirmed, &mut unconfirmed);
                acks.note(&batch, unconfirmed.is_empty());
                if let Err(reason) = answer(batch, &mut returned) {
                    return Ended::Failed(reason);
                }
            }
            job = inbox.recv(), if open && unconfirmed.len() < WAITING => match job {
                // Whoever waited for it has given up, and was told so: Telegram sends it again.
                Some(job) if job.reply.is_closed() => {}
                Some(job) => {
                    acks.missing_since.get_or_insert_with(Instant::now);
                    unconfirmed.push(begun(channel, job));
                }
                None => open = false,
            },
            _ = look.tick(), if acks.missing_since.is_some() => {
                // Under an alarm nothing is confirmed, on any channel.
                if connection.status().blocked() {
                    acks.missing_since = Some(Instant::now());
                } else if acks.missing_since.is_some_and(|since| since.elapsed() >= patience) {
                    return Ended::Silent { confirmed: acks.any };
                }
            }
            else => return Ended::Unused,
        }
    }
}

/// Whether the broker takes what it is sent. A refusal is no ack: a channel that waits for a frozen node refuses one
/// message every 7 s.
#[derive(Default)]
struct Acks {
    any: bool,
    /// Since when something was sent and nothing was acked.
    missing_since: Option<Instant>,
}

impl Acks {
    fn note(&mut self, batch: &[Confirmed], all_are_answered: bool) {
        if batch.iter().any(|confirmed| matches!(confirmed.result, Ok(Confirmation::Ack(_)))) {
            self.any = true;
            self.missing_since = (!all_are_answered).then(Instant::now);
        }
    }
}

/// Begins to publish, and does not wait until it is written. The first poll takes the message's place in the order of
/// confirms and puts it where lapin writes from (4.12.3, read in its source: nothing is awaited before that). So
/// polled once here, by the one task that owns the channel, the two locks of facts L1 are never taken by two at
/// once; and what has gathered is written at one go, where waiting for each would cost a round trip to lapin's
/// thread a message.
fn begun(channel: &Channel, job: Job) -> OnTheWay<'_> {
    let mut publishing: OnTheWay<'_> = Box::pin(publish(channel, job));
    match (&mut publishing).now_or_never() {
        // It failed at once; or this thread was held up, and the broker was quicker.
        Some(confirmed) => Box::pin(ready(confirmed)),
        None => publishing,
    }
}

/// `mandatory`, since an unroutable message is otherwise acked and lost (facts R10).
fn publish(channel: &Channel, job: Job) -> impl Future<Output = Confirmed> + Send {
    let Job { exchange, routing_key, properties, body, reply } = job;
    let message_id = properties.message_id().clone();
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    async move {
        let result = match channel.basic_publish(exchange, routing_key, options, &body, properties).await {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
        // Only now: lapin has a copy until then, and whoever counts the bytes in memory counts ours (I5).
        drop(body);
        Confirmed { message_id, reply, result }
    }
}

/// Everything that is confirmed by now. lapin hands a returned message to whichever confirm it resolves
/// next, in no order (facts L2), but never later than the returned message's own: so all that is ready is
/// read before anything is answered, and no message is called safe whose return is among it.
fn ready_batch(first: Confirmed, unconfirmed: &mut FuturesUnordered<OnTheWay<'_>>) -> Vec<Confirmed> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let mut batch = vec![first];
    loop {
        match unconfirmed.poll_next_unpin(&mut context) {
            Poll::Ready(Some(confirmed)) => batch.push(confirmed),
            Poll::Ready(None) => return batch,
            // So as not to keep others waiting it may stop before it has looked at all; then it wakes who asked.
            Poll::Pending if woken.0.swap(false, Ordering::Relaxed) => {}
            Poll::Pending => return batch,
        }
    }
}

/// Whether there is more to look at.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Answers a batch. `returned` keeps the ids of returned messages whose confirms have not come yet.
/// A return ends the channel, so that the supervisor declares the queues again.
fn answer(batch: Vec<Confirmed>, returned: &mut HashSet<String>) -> Result<(), String> {
    for confirmed in &batch {
        if let Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) = &confirmed.result {
            let id = message.properties.message_id().as_ref().map(|id| id.as_str().to_owned());
            returned.insert(id.unwrap_or_default());
            events::publish_returned();
        }
    }
    let mut failed = None;
    for Confirmed { message_id, reply, result } in batch {
        let unroutable = returned.contains(message_id.as_ref().map_or("", |id| id.as_str()));
        let answer = match result {
            _ if unroutable => Err(PublishError::Unroutable),
            Ok(Confirmation::Ack(_)) => Ok(()),
            Ok(_) => Err(PublishError::Refused),
            Err(error) => {
                failed = Some(error.to_string());
                Err(PublishError::Away)
            }
        };
        // An Err here is a caller who no longer waits.
        let _ = reply.send(answer);
    }
    match failed {
        Some(error) => Err(error),
        None if returned.is_empty() => Ok(()),
        None => Err("a message was returned".to_owned()),
    }
}
