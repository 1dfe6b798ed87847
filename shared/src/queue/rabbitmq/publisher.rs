//! Publishing with confirms.
//!
//! One owner task per channel: two tasks that publish on one channel get each other's confirms (facts L1).
//! An owner is fed by a bounded queue and keeps its unresolved confirms itself, so that a caller who gives
//! up waiting drops none of them (facts L4).

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{FutureExt as _, select_all};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::connection::{Teller, supervise};
use super::fanout::Relay;
use super::{Link, Need, Settings, wire};
use crate::events;
use crate::queue::{Envelope, Letter, PublishError};
use crate::readiness::Readiness;

/// Channels, and so owners: on two cores more of them confirm no faster.
const CHANNELS: usize = 4;

/// Messages that may wait for one owner, and as many again that may wait for their confirms.
const WAITING: usize = 1024;

struct Job {
    exchange: ShortString,
    routing_key: ShortString,
    properties: BasicProperties,
    body: Bytes,
    reply: oneshot::Sender<Result<(), PublishError>>,
}

/// Publishes on a connection of its own. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    owners: Arc<[mpsc::Sender<Job>]>,
    link: watch::Receiver<Link>,
    settings: Arc<Settings>,
    exchange: ShortString,
}

/// Who publishes.
pub(super) struct Role {
    pub name: &'static str,
    pub readiness: Readiness,
    pub need: Need,
}

pub(super) fn start(settings: Settings, role: Role, relay: Option<Relay>) -> Publisher {
    let (link_in, link) = watch::channel(Link::Away);
    let (owners, inboxes): (Vec<_>, Vec<_>) = (0..CHANNELS).map(|_| mpsc::channel(WAITING)).unzip();
    let inboxes: Arc<[Mutex<mpsc::Receiver<Job>>]> = inboxes.into_iter().map(Mutex::new).collect();
    let Role { name, readiness, need } = role;
    let teller = Teller { role: name, link: link_in, readiness, need };
    teller.tell(Link::Away);
    tokio::spawn(supervise(settings.clone(), teller, move |connection| {
        serve(connection, inboxes.clone(), relay.clone())
    }));
    let exchange = settings.exchange().into();
    Publisher { owners: owners.into(), link, settings: Arc::new(settings), exchange }
}

impl Publisher {
    pub fn begin(&self, envelope: &Envelope) -> Publishing {
        let partition = envelope.partition(self.settings.partitions);
        let properties = wire::envelope_properties(envelope);
        let key = partition.to_string().into();
        self.send(usize::from(partition), self.exchange.clone(), key, properties, envelope.body.clone())
    }

    pub async fn publish(&self, envelope: &Envelope) -> Result<(), PublishError> {
        self.begin(envelope).await
    }

    pub async fn bury(&self, letter: &Letter) -> Result<(), PublishError> {
        let key = self.settings.dead_queue().into();
        self.send(0, "".into(), key, wire::letter_properties(letter), wire::letter_body(letter)).await
    }

    /// Whether the broker is there and takes messages, as far as is known.
    pub fn takes(&self) -> bool {
        *self.link.borrow() == Link::Up
    }

    /// What the link is, and each change of it.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    fn send(
        &self,
        owner: usize,
        exchange: ShortString,
        routing_key: ShortString,
        properties: BasicProperties,
        body: Bytes,
    ) -> Publishing {
        match *self.link.borrow() {
            Link::Up => {}
            Link::Blocked => return Publishing::Not(Some(PublishError::Blocked)),
            Link::Away | Link::Disagrees(_) => return Publishing::Not(Some(PublishError::Away)),
        }
        let (reply, answer) = oneshot::channel();
        let job = Job { exchange, routing_key, properties, body, reply };
        match self.owners[owner % CHANNELS].try_send(job) {
            Ok(()) => Publishing::Begun(answer),
            Err(_) => Publishing::Not(Some(PublishError::Blocked)),
        }
    }
}

/// A message on its way. What was begun and is dropped is not published, unless it is on the wire already.
pub enum Publishing {
    Begun(oneshot::Receiver<Result<(), PublishError>>),
    /// It was never begun.
    Not(Option<PublishError>),
}

impl Future for Publishing {
    type Output = Result<(), PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            // The owner drops the reply only with its connection.
            Self::Begun(answer) => {
                Pin::new(answer).poll(context).map(|answer| answer.unwrap_or(Err(PublishError::Away)))
            }
            Self::Not(why) => Poll::Ready(Err(why.take().unwrap_or(PublishError::Away))),
        }
    }
}

/// Runs an owner per channel until one of them fails; then all end, and what waited is told so. The relay of words
/// beside them ends nothing.
async fn serve(
    connection: Arc<Connection>,
    inboxes: Arc<[Mutex<mpsc::Receiver<Job>>]>,
    relay: Option<Relay>,
) -> String {
    let mut owners = Vec::with_capacity(CHANNELS);
    for inbox in inboxes.iter() {
        match open_channel(&connection).await {
            Ok(channel) => owners.push(Box::pin(own(channel, inbox))),
            Err(error) => return error.to_string(),
        }
    }
    let relaying = async {
        if let Some(relay) = relay {
            relay.serve(&connection).await;
        }
        std::future::pending().await
    };
    let error = tokio::select! {
        (error, ..) = select_all(owners) => error,
        error = relaying => error,
    };
    for inbox in inboxes.iter() {
        if let Ok(mut inbox) = inbox.try_lock() {
            while inbox.try_recv().is_ok() {}
        }
    }
    error
}

async fn open_channel(connection: &Connection) -> Result<Channel, lapin::Error> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// A confirm that came, and what was waiting for it.
struct Confirmed {
    message_id: Option<ShortString>,
    reply: oneshot::Sender<Result<(), PublishError>>,
    result: Result<Confirmation, lapin::Error>,
}

/// Publishes what comes in, until the channel fails; returns why it ended.
async fn own(channel: Channel, inbox: &Mutex<mpsc::Receiver<Job>>) -> String {
    // Uncontended: the owners before this one have ended.
    let mut inbox = inbox.lock().await;
    let mut open = true;
    let mut unconfirmed = FuturesUnordered::new();
    let mut returned = HashSet::new();
    loop {
        tokio::select! {
            Some(confirmed) = unconfirmed.next() => {
                let batch = ready_batch(confirmed, &mut unconfirmed);
                if let Err(reason) = answer(batch, &mut returned) {
                    return reason;
                }
            }
            job = inbox.recv(), if open && unconfirmed.len() < WAITING => match job {
                // Whoever waited for it has given up, and was told so: Telegram sends it again.
                Some(job) if job.reply.is_closed() => {}
                Some(job) => match publish(&channel, job).await {
                    Ok(confirm) => unconfirmed.push(confirm),
                    Err(error) => return error.to_string(),
                },
                None => open = false,
            },
            else => return "nobody publishes any more".to_owned(),
        }
    }
}

/// `mandatory`, since an unroutable message is otherwise acked and lost (facts R10).
async fn publish(
    channel: &Channel,
    job: Job,
) -> Result<impl Future<Output = Confirmed> + use<>, lapin::Error> {
    let Job { exchange, routing_key, properties, body, reply } = job;
    let message_id = properties.message_id().clone();
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let confirm = channel.basic_publish(exchange, routing_key, options, &body, properties).await?;
    Ok(async move {
        let result = confirm.await;
        // Only now: lapin has a copy until then, and whoever counts the bytes in memory counts ours (I5).
        drop(body);
        Confirmed { message_id, reply, result }
    })
}

/// Everything that is confirmed by now. lapin hands a returned message to whichever confirm it resolves
/// next, in no order (facts L2), but never later than the returned message's own: so all that is ready is
/// read before anything is answered, and no message is called safe whose return is among it.
fn ready_batch(
    first: Confirmed,
    unconfirmed: &mut FuturesUnordered<impl Future<Output = Confirmed>>,
) -> Vec<Confirmed> {
    let mut batch = vec![first];
    while let Some(Some(confirmed)) = unconfirmed.next().now_or_never() {
        batch.push(confirmed);
    }
    batch
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
