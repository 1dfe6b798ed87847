//! Channels on which something is consumed.
//!
//! lapin (4.12.3) closes a channel when the last of its handles is dropped, and each consumer has one. When a consumer or its
//! connection ends it drops the consumer, and where that was the last handle looks at the channel's state (`ChannelCloser`),
//! while it has its list of consumers locked. Its other thread locks the state and then the list, for each message that
//! comes. The two then wait for each other, and whoever asks for that channel's state after them: soon that is every
//! thread of the runtime. So the last handle has to be ours, and be dropped when lapin knows no consumer any more.
//!
//! And a consumer that is dropped is cancelled. Where its channel is being closed at that moment the connection is lost.

use std::ops::Deref;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapin::options::BasicConsumeOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::runtime::Handle;
use tokio::time::sleep;

/// How often it is looked whether a channel has ended.
const LOOK: Duration = Duration::from_millis(100);

/// lapin lets go of a channel's consumers right after it has told of its end, in the same poll.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// Such a channel. Dropped, it is closed, and what is unacked on it goes back.
pub(super) struct ConsumerChannel {
    channel: Channel,
    consumer: Option<Consumer>,
}

impl ConsumerChannel {
    pub fn new(channel: Channel) -> Self {
        Self { channel, consumer: None }
    }

    /// Begins to consume; one consumer for each such channel. lapin's own queue has no bound, so a prefetch has to be set
    /// before (facts L6).
    pub async fn consume(&mut self, queue: ShortString, tag: ShortString) -> Result<Consumer, lapin::Error> {
        self.consume_with(queue, tag, FieldTable::default()).await
    }

    /// As [`consume`](Self::consume), before all that consumed the queue earlier: what is in it goes to the latest such
    /// consumer for as long as that may be handed more, by the clock of who asks for it.
    pub async fn consume_first(&mut self, queue: ShortString) -> Result<Consumer, lapin::Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut arguments = FieldTable::default();
        arguments.insert("x-priority".into(), AMQPValue::LongLongInt(i64::try_from(now).unwrap_or(i64::MAX)));
        self.consume_with(queue, "".into(), arguments).await
    }

    async fn consume_with(
        &mut self,
        queue: ShortString,
        tag: ShortString,
        arguments: FieldTable,
    ) -> Result<Consumer, lapin::Error> {
        let options = BasicConsumeOptions::default();
        let consumer = self.channel.basic_consume(queue, tag, options, arguments).await?;
        self.consumer = Some(consumer.clone());
        Ok(consumer)
    }
}

impl Deref for ConsumerChannel {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        &self.channel
    }
}

impl Drop for ConsumerChannel {
    fn drop(&mut self) {
        // Without a runtime no thread of one can be lost.
        let Ok(runtime) = Handle::try_current() else { return };
        let (channel, consumer) = (self.channel.clone(), self.consumer.take());
        runtime.spawn(async move {
            end(&channel).await;
            sleep(AFTERWARDS).await;
            drop((consumer, channel));
        });
    }
}

/// However late the broker answers: with its connection a channel ends too.
async fn end(channel: &Channel) {
    let closing = async {
        if channel.status().connected()
            && let Err(error) = channel.close(200, "done".into()).await
        {
            tracing::debug!(%error, "a channel was gone before it was closed");
        }
        // Somebody else has begun to.
        std::future::pending::<()>().await;
    };
    let ended = async {
        while channel.status().connected() || channel.status().closing() {
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = closing => {}
        () = ended => {}
    }
}
