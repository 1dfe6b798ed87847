//! Publishing with confirms.
//!
//! One owner task per channel: two tasks that publish on one channel get each other's confirms (facts L1).
//! An owner is fed by a bounded queue and keeps its unresolved confirms itself, so that a caller who gives
//! up waiting drops none of them (facts L4).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lapin::BasicProperties;
use lapin::types::ShortString;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::connection::Connection;
use super::fanout::Relay;
use super::owner::{self, Job};
use super::supervisor::{Teller, supervise};
use super::{Link, Need, Settings, wire};
use crate::queue::{Bulk, Envelope, Letter, PublishError};
use crate::readiness::Readiness;

/// Channels, and so owners: on two cores more of them confirm no faster.
const CHANNELS: usize = 4;

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
    let (owners, inboxes): (Vec<_>, Vec<_>) = (0..CHANNELS).map(|_| mpsc::channel(owner::WAITING)).unzip();
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
        self.begin_in(envelope.partition(self.settings.partitions), envelope)
    }

    pub async fn publish_bulk(&self, envelope: &Envelope, bulk: Bulk) -> Result<(), PublishError> {
        self.begin_in(bulk.partition(), envelope).await
    }

    fn begin_in(&self, partition: u16, envelope: &Envelope) -> Publishing {
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
    // Of these only who is woken is looked at.
    let mut owners = FuturesUnordered::new();
    for inbox in inboxes.iter() {
        match owner::open_confirming(&connection).await {
            Ok(channel) => owners.push(owner::run(&connection, channel, inbox)),
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
        Some(error) = owners.next() => error,
        error = relaying => error,
    };
    // They have the inboxes.
    drop(owners);
    for inbox in inboxes.iter() {
        if let Ok(mut inbox) = inbox.try_lock() {
            while inbox.try_recv().is_ok() {}
        }
    }
    error
}
