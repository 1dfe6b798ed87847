//! How many updates wait in each partition, asked as an autoscaler asks: by passive declares.

use futures_util::future::join_all;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};

use crate::world::World;

#[derive(Debug)]
pub struct Depths {
    _connection: Connection,
    channel: Channel,
    queues: Vec<String>,
}

impl Depths {
    pub async fn of(world: &World, partitions: usize) -> Self {
        let url = world.amqp_url.as_ref().expect("a distributed world");
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(url, properties).await.expect("the broker runs");
        let channel = connection.create_channel().await.expect("a channel");
        let queues = (0..partitions).map(|n| format!("{}.p.{n}", world.prefix)).collect();
        Self { _connection: connection, channel, queues }
    }

    /// Of each partition; what is in a worker's hand does not wait.
    pub async fn each(&self) -> Vec<u32> {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let asked = self.queues.iter().map(|name| {
            self.channel.queue_declare(name.as_str().into(), passive, FieldTable::default())
        });
        let queues = join_all(asked).await;
        queues.into_iter().map(|queue| queue.expect("a queue of this deployment").message_count()).collect()
    }

    pub async fn sum(&self) -> u32 {
        self.each().await.iter().sum()
    }
}
