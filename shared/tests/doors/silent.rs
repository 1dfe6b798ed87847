//! What RabbitMQ says of a queue whose leader does not answer in time is that nothing is in it and nobody consumes it.
//! Who believed that would begin what came back in any order, and say that all is well while updates wait.

use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::Rabbit;
use shared::queue::rabbitmq::{self, DeadLetters, Look};
use shared::queue::{Consumer, Letter, Publisher, Reason, partition_of};
use shared::readiness::Readiness;

use crate::backend::{LONG, PARTITIONS, claim, connect, envelope, take};

const PARTITION: u16 = 1;
const COUNT: u64 = 10;

struct World {
    rabbit: Rabbit,
    settings: rabbitmq::Settings,
    consumer: Consumer,
    publisher: Publisher,
}

impl World {
    async fn new() -> Self {
        let rabbit = Rabbit::private().await;
        let settings = rabbitmq::Settings::new(rabbit.url(), "silent", PARTITIONS).unwrap();
        let consumer = connect(&settings);
        let publisher = rabbitmq::publisher(settings.clone(), Readiness::default(), "publisher");
        Self { rabbit, settings, consumer, publisher: Publisher::RabbitMq(publisher) }
    }

    async fn publish(&self, count: u64) {
        let lane = (0..).find(|lane| partition_of(*lane, PARTITIONS) == PARTITION).unwrap();
        for update_id in 1..=count {
            while self.publisher.publish(&envelope(update_id, lane)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn bury(&self, count: u64) {
        for update_id in 1..=count {
            while self.publisher.bury(&letter(update_id)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// From now on the queue's leader is deaf, and after a while it hears again.
    fn deafen_for(&mut self, queue: &str, ms: u64) {
        let leader = leader(queue);
        let resume = format!("spawn(fun() -> timer:sleep({ms}), sys:resume({leader}) end)");
        self.eval(&format!("sys:suspend({leader}), {resume}, ok."));
    }

    /// Until they are resumed.
    fn deafen(&mut self, queues: &[&str]) {
        let all: Vec<_> = queues.iter().map(|queue| leader(queue)).collect();
        self.eval(&format!("[sys:suspend(Leader) || Leader <- [{}]], ok.", all.join(", ")));
    }

    fn resume(&mut self, queues: &[&str]) {
        let all: Vec<_> = queues.iter().map(|queue| leader(queue)).collect();
        self.eval(&format!("[sys:resume(Leader) || Leader <- [{}]], ok.", all.join(", ")));
    }

    fn eval(&mut self, words: &str) {
        self.rabbit.control(&["eval", words]);
    }
}

fn leader(queue: &str) -> String {
    format!("'%2F_silent.{queue}'")
}

fn letter(update_id: u64) -> Letter {
    Letter {
        reason: Reason::Telegram,
        error: String::new(),
        update_id: Some(update_id),
        bot: Some(4321),
        kind: "message".to_owned(),
        lane: Some(1),
        chat_id: Some(1),
        user_id: Some(1),
        route: None,
        service: None,
        attempts: 1,
        received_ms: 1_790_000_000_001,
        first_failed_ms: 1_790_000_000_002,
        last_failed_ms: 1_790_000_000_003,
        replays: 0,
        replayed: None,
        traceparent: None,
        body: Bytes::from_static(b"{\"update_id\":1}"),
        rest: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_counts_what_waits_though_the_queue_does_not_answer_for_a_moment() {
    let mut world = World::new().await;
    let mut claimed = claim(&world.consumer, PARTITION, 16).await;
    world.publish(COUNT).await;
    take(&mut claimed, COUNT as usize).await;
    claimed.release().await;
    // Who has just had one does not fetch before it claims, which would wait for the leader.
    claim(&world.consumer, PARTITION, 1).await.release().await;
    world.deafen_for(&format!("p.{PARTITION}"), 2500);
    let again = world.consumer.claim(PARTITION, 16).await.unwrap();
    assert_eq!(again.updates.returned, Some(COUNT as u32));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_read_though_their_queue_does_not_answer_for_a_moment() {
    let mut world = World::new().await;
    world.bury(COUNT).await;
    let mut letters = DeadLetters::hold(&world.settings).await.unwrap();
    world.deafen(&["dead"]);
    let mut read = 0;
    let resuming = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.resume(&["dead"]);
    };
    let (outcome, ()) = tokio::join!(letters.read(|_, _, _| read += 1), resuming);
    outcome.unwrap();
    assert_eq!(read, COUNT);
    letters.close().await.unwrap();
}

/// As while a leader is elected: the broker finds nobody to ask, and says at once that there is nothing.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_a_queue_without_a_leader_are_not_said_to_be_none() {
    let mut world = World::new().await;
    world.bury(COUNT).await;
    let mut letters = DeadLetters::hold(&world.settings).await.unwrap();
    world.eval(&format!("unregister({}), ok.", leader("dead")));
    let mut read = 0;
    let outcome = letters.read(|_, _, _| read += 1).await;
    assert!(outcome.is_err() || read == COUNT, "{read} letters");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_does_not_answer_is_not_said_to_be_empty() {
    let mut world = World::new().await;
    let _claimed = claim(&world.consumer, PARTITION, 1).await;
    // One is in hand.
    world.publish(COUNT + 1).await;
    world.bury(COUNT).await;
    let told = |world: &World| [world.consumer.ready(PARTITION, 1), world.consumer.letters_waiting()];
    let deadline = Instant::now() + LONG;
    while told(&world) != [Some(COUNT); 2] {
        assert!(Instant::now() < deadline, "{:?}", told(&world));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let look = Look::connect(&world.settings, "look").await.unwrap();

    let partition = format!("p.{PARTITION}");
    let queues = [partition.as_str(), "dead"];
    world.deafen(&queues);
    let deaf = Instant::now();
    let seen = look.depths().await;
    assert_eq!((seen.ready[usize::from(PARTITION)], seen.letters), (None, None));
    // Each is asked every 2 s.
    while deaf.elapsed() < Duration::from_secs(8) {
        assert!(told(&world).iter().all(|count| *count != Some(0)), "{:?}", told(&world));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.resume(&queues);
    let deadline = Instant::now() + LONG;
    while told(&world) != [Some(COUNT); 2] || look.depths().await.letters != Some(COUNT as u32) {
        assert!(Instant::now() < deadline, "{:?}", told(&world));
    }
}
