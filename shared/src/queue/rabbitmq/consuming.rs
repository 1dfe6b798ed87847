//! Channels on which something is consumed.
//!
//! lapin (4.12.3) closes a channel when the last of its handles is dropped, and each consumer has one. When a consumer or its
//! connection ends it drops the consumer, and where that was the last handle looks at the channel's state (`ChannelCloser`),
//! while it has its list of consumers locked. Its other thread locks the state and then the list, for each message that
//! comes. The two then wait for each other, and whoever asks for that channel's state after them: soon that is every
//! thread of the runtime. So the last handle has to be ours, and be dropped when lapin knows no consumer any more.

use std::ops::Deref;
use std::time::Duration;

use lapin::Channel;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

/// The broker's word on the end of a channel is waited for so long.
const GOODBYE: Duration = Duration::from_secs(5);

/// lapin lets go of a channel's consumers right after it has told of its end, in the same poll.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// Such a channel. Dropped, it is closed, and what is unacked on it goes back.
pub(super) struct ConsumerChannel(Channel);

impl ConsumerChannel {
    /// To be made before anything is consumed on it.
    pub fn new(channel: Channel) -> Self {
        Self(channel)
    }
}

impl Deref for ConsumerChannel {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        &self.0
    }
}

impl Drop for ConsumerChannel {
    fn drop(&mut self) {
        // Without a runtime no thread of one can be lost.
        let Ok(runtime) = Handle::try_current() else { return };
        let channel = self.0.clone();
        runtime.spawn(async move {
            if channel.status().connected()
                && timeout(GOODBYE, channel.close(200, "done".into())).await.is_err()
            {
                tracing::debug!("the broker did not say that a channel is closed");
            }
            sleep(AFTERWARDS).await;
        });
    }
}
