//! Acks, on the channel that their deliveries came by.
//!
//! lapin's `Acker` hands each ack to a task of the connection, which makes another task for it. The channel's own method
//! puts the frame in the connection's line as soon as it is polled (lapin 4.12), behind what was said on the channel
//! before and before what is said later, such as its close. So nobody waits until it is written: no answer would follow,
//! and where the connection is lost the update comes again, written or not.
//!
//! An ack that may be late is gathered with others (`gathered`), and what can be said by one is: to a quorum queue each is an
//! entry of its log.

mod gathered;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use lapin::Channel;
use lapin::options::BasicAckOptions;
use lapin::types::DeliveryTag;

use self::gathered::{Ack, Gathered};
use crate::queue::PublishError;

/// How long acks are gathered. One that is above an update still in hand waits for as long again.
const GATHER: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Another channel of the same claim has taken the place of this one: the update comes again, and is found to have
    /// ended.
    Superseded,
    Closed,
}

/// The acks of a channel. What is said after our close of the channel costs the whole connection (504), so the two
/// exclude each other. It keeps lapin from closing the channel by itself, so whoever ends a claim does.
pub(super) struct Acks {
    channel: Channel,
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    gathered: Gathered,
    /// A task looks at what has gathered.
    looked_after: bool,
}

impl Acks {
    /// Of a channel that has up to `prefetch` updates in hand.
    pub fn new(channel: Channel, prefetch: u16) -> Self {
        let inner = Inner { state: State::Open, gathered: Gathered::new(prefetch), looked_after: false };
        Self { channel, inner: Mutex::new(inner) }
    }

    /// To be told of each delivery before it can be acked, in their order.
    pub fn delivered(&self, delivery: DeliveryTag) {
        self.inner().gathered.delivered(delivery);
    }

    /// An error means that the partition is lost, and that the update comes again.
    pub fn ack(&self, delivery: DeliveryTag) -> Result<(), PublishError> {
        let mut inner = self.inner();
        match inner.state {
            State::Open => {
                inner.gathered.acked(delivery);
                self.say(Ack { delivery, multiple: false })
            }
            State::Superseded => Ok(()),
            State::Closed => Err(PublishError::Away),
        }
    }

    /// Acks within twice [`GATHER`]; what closes the channel acks it before.
    pub fn ack_soon(self: &Arc<Self>, delivery: DeliveryTag) -> Result<(), PublishError> {
        let mut inner = self.inner();
        match inner.state {
            // Nothing is said here by which a loss would show.
            State::Open if !self.channel.status().connected() => Err(PublishError::Away),
            State::Open => {
                inner.gathered.ack_soon(delivery);
                let acks = if inner.gathered.are_enough() { inner.gathered.all() } else { Vec::new() };
                if !inner.gathered.is_empty() && !std::mem::replace(&mut inner.looked_after, true) {
                    tokio::spawn(Arc::clone(self).look_after());
                }
                acks.into_iter().try_for_each(|ack| self.say(ack))
            }
            State::Superseded => Ok(()),
            State::Closed => Err(PublishError::Away),
        }
    }

    /// The channel is about to be closed, and another one to follow.
    pub fn supersede(&self) {
        self.end(State::Superseded);
    }

    /// The channel is about to be closed, and the partition given back.
    pub fn close(&self) {
        self.end(State::Closed);
    }

    fn end(&self, state: State) {
        let mut inner = self.inner();
        if inner.state == State::Open {
            // What the broker does not hear of comes again, and is found to have ended. Of a quorum queue's acks a channel
            // keeps those back that come while 32 are under way (3.10.8), and forgets them when it is closed.
            self.say_all(inner.gathered.all());
        }
        inner.state = state;
    }

    /// Until nothing is left to be acked, as after the end of the channel.
    async fn look_after(self: Arc<Self>) {
        loop {
            tokio::time::sleep(GATHER).await;
            let mut inner = self.inner();
            self.say_all(inner.gathered.due());
            if inner.gathered.is_empty() {
                inner.looked_after = false;
                return;
            }
        }
    }

    /// Where that fails the partition is lost, which its forwarder tells.
    fn say_all(&self, acks: Vec<Ack>) {
        if let Err(error) = acks.into_iter().try_for_each(|ack| self.say(ack)) {
            tracing::debug!(%error, "acks that were gathered could not be said");
        }
    }

    fn say(&self, Ack { delivery, multiple }: Ack) -> Result<(), PublishError> {
        match self.channel.basic_ack(delivery, BasicAckOptions { multiple }).now_or_never() {
            None | Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(PublishError::Away),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
