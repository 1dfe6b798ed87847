//! Publishing with confirms.
//!
//! One owner task per channel: two tasks that publish on one channel get each other's confirms (facts L1).
//! An owner is fed by a bounded queue and keeps its unresolved confirms itself, so that a caller who gives
//! up waiting drops none of them (facts L4). It has a seat on the runtime whose tasks it publishes for: a server's thread,
//! which has one of its own, hands its updates over and is told of their confirms without another thread being woken.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::ShortString;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::Connection;
use super::fanout::Relay;
use super::owner::{self, Job};
use super::supervisor::{Teller, supervise};
use super::{Link, Need, Settings, wire};
use crate::queue::{Bulk, Envelope, Letter, PublishError};
use crate::readiness::Readiness;

/// Channels, and so owners, that all share: on two cores more of them confirm no faster.
const CHANNELS: usize = 4;

/// Owners end within this, but for one whose thread is stuck: it does not keep the others from the next connection.
const ENDING: Duration = Duration::from_millis(100);

/// Publishes on a connection of its own. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    /// Who publishes: a partition's is always the same of them.
    owners: Arc<[mpsc::Sender<Job>]>,
    seats: Arc<watch::Sender<Vec<Arc<Seat>>>>,
    link: watch::Receiver<Link>,
    settings: Arc<Settings>,
    exchange: ShortString,
}

/// Where an owner sits: what waits for it, and the runtime that it runs on.
struct Seat {
    inbox: Mutex<mpsc::Receiver<Job>>,
    runtime: Handle,
}

impl Seat {
    /// On the runtime of who asks; and the way to its owner.
    fn here() -> (mpsc::Sender<Job>, Arc<Self>) {
        let (owner, inbox) = mpsc::channel(owner::WAITING);
        (owner, Arc::new(Self { inbox: Mutex::new(inbox), runtime: Handle::current() }))
    }

    /// Whether its runtime has ended, or nobody is left who publishes here. Not known while an owner is ending.
    fn is_left(&self) -> bool {
        self.inbox.try_lock().is_ok_and(|inbox| inbox.is_closed())
    }

    /// Its runtime has ended: who waits is told so, and so is who comes.
    fn leave(&self) {
        if let Ok(mut inbox) = self.inbox.try_lock() {
            inbox.close();
        }
        self.empty();
    }

    /// Who waits is told that it was not published.
    fn empty(&self) {
        if let Ok(mut inbox) = self.inbox.try_lock() {
            while inbox.try_recv().is_ok() {}
        }
    }
}

/// Who publishes.
pub(super) struct Role {
    pub name: &'static str,
    pub readiness: Readiness,
    pub need: Need,
}

pub(super) fn start(settings: Settings, role: Role, relay: Option<Relay>) -> Publisher {
    let (link_in, link) = watch::channel(Link::Away);
    let (owners, seats): (Vec<_>, Vec<_>) = (0..CHANNELS).map(|_| Seat::here()).unzip();
    let (seats, taken) = watch::channel(seats);
    let Role { name, readiness, need } = role;
    let teller = Teller { role: name, link: link_in, readiness, need };
    teller.tell(Link::Away);
    tokio::spawn(supervise(settings.clone(), teller, move |connection| {
        serve(connection, taken.clone(), relay.clone())
    }));
    let exchange = settings.exchange().into();
    let (owners, seats) = (owners.into(), Arc::new(seats));
    Publisher { owners, seats, link, settings: Arc::new(settings), exchange }
}

impl Publisher {
    /// The same connection, with an owner on the runtime of who asks, for all partitions; what is begun by this one and its
    /// clones goes through that. To be asked once for each thread: a seat is kept for as long as the connection is wanted.
    /// While its channel is being opened, what is begun waits. When the runtime ends, so does it.
    pub fn seated_here(&self) -> Self {
        let (owner, seat) = Seat::here();
        self.seats.send_modify(|seats| seats.push(seat));
        Self { owners: [owner].into(), ..self.clone() }
    }

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
        match self.owners[owner % self.owners.len()].try_send(job) {
            Ok(()) => Publishing::Begun(answer),
            Err(TrySendError::Full(_)) => Publishing::Not(Some(PublishError::Blocked)),
            Err(TrySendError::Closed(_)) => Publishing::Not(Some(PublishError::Away)),
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

/// Runs an owner on each seat, those that are taken meanwhile too, until one of them fails; then all end, and what waited
/// is told so. The relay of words beside them ends nothing.
async fn serve(
    connection: Arc<Connection>,
    mut seats: watch::Receiver<Vec<Arc<Seat>>>,
    relay: Option<Relay>,
) -> String {
    let mut owners = JoinSet::new();
    let owning = own_all(&connection, &mut seats, &mut owners);
    let relaying = async {
        if let Some(relay) = relay {
            relay.serve(&connection).await;
        }
        std::future::pending().await
    };
    let error = tokio::select! {
        error = owning => error,
        error = relaying => error,
    };
    // They have the inboxes.
    let _ = timeout(ENDING, owners.shutdown()).await;
    seats.borrow().iter().for_each(|seat| seat.empty());
    error
}

/// Why an owner failed.
async fn own_all(
    connection: &Arc<Connection>,
    seats: &mut watch::Receiver<Vec<Arc<Seat>>>,
    owners: &mut JoinSet<Result<(), String>>,
) -> String {
    let (mut seen, mut taken) = (0, HashMap::new());
    loop {
        let fresh = seats.borrow_and_update()[seen..].to_vec();
        seen += fresh.len();
        for seat in fresh {
            if seat.is_left() {
                continue;
            }
            let channel = match owner::open_confirming(connection).await {
                Ok(channel) => channel,
                Err(error) => return error.to_string(),
            };
            let (connection, its) = (connection.clone(), seat.clone());
            let owning = async move { owner::run(&connection, channel, &its.inbox).await };
            taken.insert(owners.spawn_on(owning, &seat.runtime).id(), seat);
        }
        tokio::select! {
            Some(ended) = owners.join_next_with_id() => match ended {
                Ok((_, Err(error))) => return error,
                Ok((task, Ok(()))) => drop(taken.remove(&task)),
                Err(ended) if ended.is_cancelled() => {
                    taken.remove(&ended.id()).inspect(|seat| seat.leave());
                }
                Err(panicked) => return panicked.to_string(),
            },
            Ok(()) = seats.changed() => {}
            else => return "nobody publishes any more".to_owned(),
        }
    }
}
