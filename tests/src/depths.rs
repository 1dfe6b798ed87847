//! How many updates wait in each partition, asked as an autoscaler asks: by passive declares.

use futures_util::future::try_join_all;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};

use crate::wait::{LONG, wait_for};
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
        let queues: Vec<String> = (0..partitions).map(|n| format!("{}.p.{n}", world.prefix)).collect();
        // An ingress is ready before it has declared them: until then it has a file to write to.
        let channel = wait_for("the queues exist", LONG, || async {
            let channel = connection.create_channel().await.expect("a channel");
            ask(&channel, &queues).await.is_ok().then_some(channel)
        })
        .await;
        Self { _connection: connection, channel, queues }
    }

    /// Of each partition; what is in a worker's hand does not wait.
    pub async fn each(&self) -> Vec<u32> {
        ask(&self.channel, &self.queues).await.expect("queues of this deployment")
    }

    pub async fn sum(&self) -> u32 {
        self.each().await.iter().sum()
    }
}

async fn ask(channel: &Channel, queues: &[String]) -> Result<Vec<u32>, lapin::Error> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let asked =
        queues.iter().map(|name| channel.queue_declare(name.as_str().into(), passive, FieldTable::default()));
    Ok(try_join_all(asked).await?.iter().map(lapin::Queue::message_count).collect())
}
