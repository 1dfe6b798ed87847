//! How many updates are ready in the queues of the partitions that this process holds, and how many dead letters there
//! are. Asked on the connection that
//! consumes: under an alarm the broker reads nothing from the ones that publish (facts R12), and then it matters
//! most how much waits.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::connection::{Connection, open_channel};
use super::lease::Held;
use super::topology::PATIENCE;
use super::{Settings, stat};

/// How often the broker is asked; an autoscaler looks every 15 s or so.
const EVERY: Duration = Duration::from_secs(2);

/// Who is told how many letters are ready, where that is known.
pub(super) type Letters = watch::Sender<Option<u32>>;

/// Asks as long as the connection lasts.
pub(super) async fn ask(
    connection: Arc<Connection>,
    settings: Arc<Settings>,
    held: Held,
    letters: Letters,
) -> Infallible {
    let partitions = ask_partitions(connection.clone(), settings.clone(), held);
    tokio::select! {
        never = partitions => never,
        never = ask_letters(connection, settings, letters) => never,
    }
}

/// On a channel of its own: where the queue was deleted, the partitions' numbers stay.
async fn ask_letters(connection: Arc<Connection>, settings: Arc<Settings>, letters: Letters) -> Infallible {
    let queue = settings.dead_queue();
    let mut open: Option<Channel> = None;
    loop {
        let round = async {
            let channel = match open.take() {
                Some(channel) => channel,
                None => open_channel(&connection).await.ok()?,
            };
            let stat = stat::ask(&channel, &queue).await.ok()?;
            Some((channel, stat.map(|stat| stat.ready)))
        };
        let asked = timeout(PATIENCE, round).await.ok().flatten();
        let (channel, count) = asked.unzip();
        open = channel;
        letters.send_replace(count.flatten());
        sleep(EVERY).await;
    }
}

/// A queue that can't tell costs the others one answer, and no claim anything.
async fn ask_partitions(connection: Arc<Connection>, settings: Arc<Settings>, held: Held) -> Infallible {
    let mut open = None;
    loop {
        sleep(EVERY).await;
        let asked = timeout(PATIENCE, round(&connection, open.take(), &settings, &held)).await.ok().flatten();
        let Some((channel, doubtful)) = asked else {
            held.forget_ready();
            continue;
        };
        // A silent one costs a quarter of a second, and many can be silent at once: the others' numbers stand.
        let again = ask_again(&channel, doubtful, &settings, &held);
        open = timeout(PATIENCE, again).await.ok().flatten().map(|()| channel);
    }
}

/// Asks each of those that may have been silent, of which nothing is known until they answer.
async fn ask_again(channel: &Channel, doubtful: Vec<u16>, settings: &Settings, held: &Held) -> Option<()> {
    doubtful.iter().for_each(|partition| held.set_ready(*partition, None));
    for partition in doubtful {
        let stat = stat::ask(channel, &settings.partition_queue(partition)).await.ok()?;
        held.set_ready(partition, stat.map(|stat| stat.ready));
    }
    Some(())
}

/// The channel, and the partitions of which the broker said that they have nothing and nobody: whether that was in a
/// silent one's place can't be told from how long it took, between the others' answers. Nothing where the broker did not
/// answer: a refusal closes the channel.
async fn round(
    connection: &Connection,
    open: Option<Channel>,
    settings: &Settings,
    held: &Held,
) -> Option<(Channel, Vec<u16>)> {
    let channel = match open {
        Some(channel) => channel,
        None => open_channel(connection).await.ok()?,
    };
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let answers = held.partitions().into_iter().map(|partition| {
        let queue = settings.partition_queue(partition);
        let declared = channel.queue_declare(queue.into(), passive, FieldTable::default());
        async move { Ok::<_, lapin::Error>((partition, declared.await?)) }
    });
    let mut doubtful = Vec::new();
    for (partition, declared) in try_join_all(answers).await.ok()? {
        match (declared.message_count(), declared.consumer_count()) {
            (0, 0) => doubtful.push(partition),
            (ready, _) => held.set_ready(partition, Some(ready)),
        }
    }
    Some((channel, doubtful))
}
