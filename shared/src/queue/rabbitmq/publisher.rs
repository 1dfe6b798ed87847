//! Publishing with confirms.
//!
//! One owner task per channel: two tasks that publish on one channel get each other's confirms (facts L1).
//! An owner is fed by a bounded queue and keeps its unresolved confirms itself, so that a caller who gives
//! up waiting drops none of them (facts L4). It has a seat on the runtime whose tasks it publishes for: a server's thread,
//! which has one of its own, hands its updates over and is told of their confirms without an owner's thread being woken in between.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::try_join_all;
use lapin::BasicProperties;
use lapin::types::ShortString;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::fanout::Relay;
use super::owner::{self, Job};
use super::supervisor::{Teller, supervise};
use super::{Link, Need, Settings, wire};
use crate::events;
use crate::queue::{Bulk, Envelope, Letter, PublishError};
use crate::readiness::Readiness;

/// Channels, and so owners, that all share: on two cores more of them confirm no faster.
const CHANNELS: usize = 4;

/// Messages that may wait for an owner of one thread: Telegram has 100 connections (facts T5), on all of them together.
const ONE_THREADS: usize = 256;

/// Channels that no thread gets for itself where the broker allows few on a connection: the words to other processes need
/// some, and an owner whose channel is silent another one.
const OTHERS: usize = 8;

/// Publishes on a connection of its own. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    /// Who publishes for all: a partition's is always the same of them, so that what is begun one after the other, by a
    /// replay as by a broadcast, stays in order.
    owners: Arc<[mpsc::Sender<Job>]>,
    /// Who does for one thread.
    own: Option<mpsc::Sender<Job>>,
    seats: Arc<watch::Sender<Vec<Arc<Seat>>>>,
    link: watch::Receiver<Link>,
    settings: Arc<Settings>,
    exchange: ShortString,
}

/// Where an owner sits: what waits for it, and the runtime that it runs on.
struct Seat {
    inbox: Mutex<mpsc::Receiver<Job>>,
    runtime: Handle,
    /// Its owner publishes for one thread, and the others can do so too.
    spare: bool,
}

impl Seat {
    /// On the runtime of who asks; and the way to its owner.
    fn here(room: usize, spare: bool) -> (mpsc::Sender<Job>, Arc<Self>) {
        let (owner, inbox) = mpsc::channel(room);
        (owner, Arc::new(Self { inbox: Mutex::new(inbox), runtime: Handle::current(), spare }))
    }

    /// Whether it is known that nobody publishes here any more. While an owner is ending it is not.
    fn is_left(&self) -> bool {
        self.inbox.try_lock().is_ok_and(|inbox| inbox.is_closed())
    }

    /// There will be no owner here again: who waits is told so, and who comes goes to the others. As soon as the one of
    /// before has ended, which nobody waits for: its thread may be stuck.
    fn leave(self: Arc<Self>) {
        tokio::spawn(async move {
            let mut inbox = self.inbox.lock().await;
            inbox.close();
            while inbox.recv().await.is_some() {}
        });
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
    let seats = (0..CHANNELS).map(|_| Seat::here(owner::WAITING, false));
    let (owners, seats): (Vec<_>, Vec<_>) = seats.unzip();
    let (seats, known) = watch::channel(seats);
    let Role { name, readiness, need } = role;
    let teller = Teller { role: name, link: link_in, readiness, need };
    teller.tell(Link::Away);
    tokio::spawn(supervise(settings.clone(), teller, move |connection| {
        serve(connection, known.clone(), relay.clone())
    }));
    let exchange = settings.exchange().into();
    let (owners, seats) = (owners.into(), Arc::new(seats));
    Publisher { owners, own: None, seats, link, settings: Arc::new(settings), exchange }
}

impl Publisher {
    /// The same connection, with an owner on the runtime of who asks: what is begun by this one and its clones goes through
    /// that, and through those of all where it has ended with its runtime, or the broker allows too few channels for
    /// it. To be asked once for each thread, since it is remembered for as long as the publisher.
    pub fn seated_here(&self) -> Self {
        let (own, seat) = Seat::here(ONE_THREADS, true);
        self.seats.send_modify(|seats| seats.push(seat));
        Self { own: Some(own), ..self.clone() }
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
        let mut job = Job { exchange, routing_key, properties, body, reply };
        for owner in self.own.iter().chain([&self.owners[owner % CHANNELS]]) {
            match owner.try_send(job) {
                Ok(()) => return Publishing::Begun(answer),
                Err(TrySendError::Full(_)) => return Publishing::Not(Some(PublishError::Blocked)),
                Err(TrySendError::Closed(it)) => job = it,
            }
        }
        Publishing::Not(Some(PublishError::Away))
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
            // The owner drops the reply only where its channel, its connection or its thread has ended.
            Self::Begun(answer) => {
                Pin::new(answer).poll(context).map(|answer| answer.unwrap_or(Err(PublishError::Away)))
            }
            Self::Not(why) => Poll::Ready(Err(why.take().unwrap_or(PublishError::Away))),
        }
    }
}

/// Runs an owner on each seat until one of them fails; then all end. The relay of words beside them ends nothing.
async fn serve(
    connection: Arc<Connection>,
    seats: watch::Receiver<Vec<Arc<Seat>>>,
    relay: Option<Relay>,
) -> String {
    let relaying = async {
        if let Some(relay) = relay {
            relay.serve(&connection).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        error = own_all(&connection, seats) => error,
        error = relaying => error,
    }
}

/// Those of the seats that are taken meanwhile too. Returns why one of them failed; dropped, it ends them all.
async fn own_all(connection: &Arc<Connection>, mut seats: watch::Receiver<Vec<Arc<Seat>>>) -> String {
    let (mut owners, mut owned, mut seen) = (JoinSet::new(), HashMap::new(), 0);
    let most = usize::from(connection.configuration().channel_max());
    loop {
        let fresh = seats.borrow_and_update()[seen..].to_vec();
        seen += fresh.len();
        let mut served = Vec::new();
        for seat in fresh.into_iter().filter(|seat| !seat.is_left()) {
            if seat.spare && owned.len() + served.len() + OTHERS >= most {
                events::channels_too_few();
                seat.leave();
            } else {
                served.push(seat);
            }
        }
        let channels = match try_join_all(served.iter().map(|_| owner::open_confirming(connection))).await {
            Ok(channels) => channels,
            Err(error) => return error.to_string(),
        };
        for (seat, channel) in served.into_iter().zip(channels) {
            let (connection, its) = (connection.clone(), seat.clone());
            let owning = async move { owner::run(&connection, channel, &its.inbox).await };
            owned.insert(owners.spawn_on(owning, &seat.runtime).id(), seat);
        }
        tokio::select! {
            Some(ended) = owners.join_next_with_id() => match ended {
                Ok((_, Err(error))) => return error,
                Ok((task, Ok(()))) => drop(owned.remove(&task)),
                Err(ended) if ended.is_cancelled() => {
                    if let Some(seat) = owned.remove(&ended.id()) {
                        seat.leave();
                    }
                }
                // Its own words can have a user's text in them (I6).
                Err(_) => return "an owner panicked".to_owned(),
            },
            Ok(()) = seats.changed() => {}
            else => return "nobody publishes any more".to_owned(),
        }
    }
}
