//! Whether this worker still is who it thinks it is. A process that was frozen, or whose connection is cut, may
//! have lost its partitions without having been told; so nobody is asked for anything unless the broker was
//! heard a moment ago. The store's claims (`shared::store`) are the other half: what was begun by another
//! worker since is refused to this one.

use shared::queue::{Consumer, rabbitmq::Pulse};

/// Cheap to clone. The embedded queue is part of the process and freezes with it.
#[derive(Clone, Default)]
pub struct Fence(Option<Pulse>);

impl Fence {
    pub fn of(consumer: &Consumer) -> Self {
        match consumer {
            Consumer::RabbitMq(queue) => Self(Some(queue.pulse())),
            Consumer::Embedded(_) => Self(None),
        }
    }

    /// Before each request to a service or to Telegram: at once, or when the broker is heard again.
    pub async fn pass(&self) {
        if let Some(pulse) = &self.0 {
            pulse.clone().heard().await;
        }
    }
}
