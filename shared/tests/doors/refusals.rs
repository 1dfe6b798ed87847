//! What the broker refuses it refuses by closing the channel, and lapin (4.12.3) uses the number of such a channel never
//! again: of 2,047 refusals on a connection none may be one too many.

use std::time::Duration;

use bytes::Bytes;
use harness::Rabbit;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use shared::proof::Accepted;
use shared::queue::ClaimError;
use shared::queue::rabbitmq::{self, Fanout, Heard, Hearing, Look, Settings};
use shared::readiness::Readiness;
use tokio::time::{Instant, timeout};

use crate::backend::{LONG, PARTITIONS, Place, Queue, claim, connect, envelope};

/// More than a connection has channels.
const MANY: usize = 2_500;

const PARTITION: u16 = 1;

/// Questions that wait; its queue has room for 256.
const AT_ONCE: usize = 100;
const AGAIN: Duration = Duration::from_secs(1);

fn begin(settings: &Settings) -> (rabbitmq::Publisher, Fanout) {
    let (readiness, accepted) = (Readiness::default(), Accepted::default());
    rabbitmq::spooled_publisher(settings.clone(), readiness, accepted, "publisher")
}

async fn connected(fanout: &mut Fanout) {
    while !matches!(fanout.heard().await, Heard::Change(it) if it.hearing == Hearing::Connected) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_was_refused_again_and_again_can_be_had_when_it_is_free() {
    let Some(queue) = Queue::rabbitmq().await else { return };
    let other = queue.another_consumer();
    let held = queue.claim(PARTITION, 1).await;
    for time in 0..MANY {
        assert!(matches!(other.claim(PARTITION, 1).await, Err(ClaimError::Held)), "the {time}. time");
    }
    held.release().await;
    claim(&other, PARTITION, 1).await.release().await;
}

/// Each answer is refused: nobody has made the exchange for it yet.
#[tokio::test(flavor = "multi_thread")]
async fn who_answered_again_and_again_to_nobody_still_hears_and_answers() {
    let Some(queue) = Queue::rabbitmq().await else { return };
    let Place::RabbitMq { settings, url } = &queue.place else { panic!("it is RabbitMQ's") };
    let (_publisher, mut fanout) = begin(settings);
    connected(&mut fanout).await;

    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let exchange = format!("{}.spools", settings.prefix);
    let nowhere = format!("{}.status", settings.prefix);
    let question = BasicProperties::default().with_type("tgw.status".into()).with_reply_to(nowhere.into());
    for time in 0..MANY {
        let options = BasicPublishOptions::default();
        let asked =
            channel.basic_publish(exchange.clone().into(), "".into(), options, b"{}", question.clone());
        asked.await.unwrap().await.unwrap();
        // What it says itself it hears behind them, when it has answered. With its connection they are lost, both.
        if time % AT_ONCE == 0 {
            let words = Bytes::from(time.to_string());
            let deadline = Instant::now() + LONG;
            loop {
                fanout.say(words.clone());
                let heard = async { while fanout.heard().await != Heard::Words(words.clone()) {} };
                if timeout(AGAIN, heard).await.is_ok() {
                    break;
                }
                assert!(Instant::now() < deadline, "deaf after {time}");
            }
        }
    }
    let look = Look::connect(settings, "look").await.unwrap();
    let mut census = look.census().await.unwrap();
    // A question may wait behind others for longer than it lives.
    let deadline = Instant::now() + LONG;
    while look.ask(&mut census, Instant::now() + AGAIN, |found| !found.is_empty()).await.unwrap().is_empty() {
        assert!(Instant::now() < deadline, "no answer");
    }
    queue.publisher.publish(&envelope(1, 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_another_is_refused_nothing_and_misses_him() {
    let mut rabbit = Rabbit::private().await;
    let settings = rabbitmq::Settings::new(rabbit.url(), "watched", PARTITIONS).unwrap();
    let ((_publisher, mut fanout), (other, watched)) = (begin(&settings), begin(&settings));
    connected(&mut fanout).await;
    let (name, mut generation) = (watched.name(), watched.generation());
    generation.wait_for(|it| it.hearing == Hearing::Connected).await.unwrap();
    fanout.watch(Some(name));
    // Some looks' time, in which he is there, unless his connection is lost meanwhile.
    let gone = async { while fanout.heard().await != Heard::Gone(name) {} };
    let is_missed = timeout(AGAIN, gone).await.is_ok();
    assert!(!is_missed || generation.has_changed().unwrap());
    drop((other, watched));
    let gone = async { while fanout.heard().await != Heard::Gone(name) {} };
    timeout(LONG, gone).await.unwrap();
    let log = rabbit.log();
    assert!(!log.contains("channel exception"), "{log}");
}

/// Who waits for a partition asks for it again and again: the broker is not asked for a connection each time.
#[tokio::test(flavor = "multi_thread")]
async fn where_no_more_connections_are_allowed_few_are_asked_for() {
    let mut rabbit = Rabbit::private().await;
    let settings = Settings::new(rabbit.url(), "crowded", PARTITIONS).unwrap();
    let (owner, other) = (connect(&settings), connect(&settings));
    let held = claim(&owner, PARTITION, 1).await;
    claim(&other, PARTITION + 1, 1).await.release().await;
    rabbit.control(&["set_vhost_limits", r#"{"max-connections": 2}"#]);
    for _ in 0..50 {
        assert!(matches!(other.claim(PARTITION, 1).await, Err(ClaimError::Held)));
    }
    let log = rabbit.log();
    let asked = log.matches("connection limit").count();
    assert!((1..5).contains(&asked), "{asked}: {log}");
    held.release().await;
    claim(&other, PARTITION, 1).await.release().await;
}
