//! Acks, on the channel that their deliveries came by.
//!
//! lapin's `Acker` hands each ack to a task of the connection, which makes another task for it. The channel's own method
//! puts the frame in the connection's line as soon as it is polled (lapin 4.12), behind what was said on the channel
//! before and before what is said later, such as its close. So nobody waits until it is written: no answer would follow,
//! and where the connection is lost the update comes again, written or not.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use lapin::Channel;
use lapin::options::BasicAckOptions;
use lapin::types::DeliveryTag;

use crate::queue::PublishError;

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
    state: Mutex<State>,
}

impl Acks {
    pub fn new(channel: Channel) -> Self {
        Self { channel, state: Mutex::new(State::Open) }
    }

    /// An error means that the partition is lost, and that the update comes again.
    pub fn ack(&self, delivery: DeliveryTag) -> Result<(), PublishError> {
        let state = self.state();
        match *state {
            State::Open => {
                match self.channel.basic_ack(delivery, BasicAckOptions::default()).now_or_never() {
                    None | Some(Ok(())) => Ok(()),
                    Some(Err(_)) => Err(PublishError::Away),
                }
            }
            State::Superseded => Ok(()),
            State::Closed => Err(PublishError::Away),
        }
    }

    /// The channel is about to be closed, and another one to follow.
    pub fn supersede(&self) {
        *self.state() = State::Superseded;
    }

    /// The channel is about to be closed, and the partition given back.
    pub fn close(&self) {
        *self.state() = State::Closed;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
