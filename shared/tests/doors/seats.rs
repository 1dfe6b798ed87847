//! A thread of a server's publishes by an owner that runs on it: for as long as it runs, over each connection anew.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use futures_util::future::join_all;
use harness::Proxy;
use shared::queue::{PublishError, Publisher, partition_of, rabbitmq};
use shared::readiness::Readiness;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, sleep, timeout};

use crate::backend::{LONG, PARTITIONS, Place, Queue, envelope, ids, publish, take};

/// Of each thread.
const UPDATES: u64 = 500;

/// So many more threads than there are cores.
const THREADS: u64 = 6;

const LANE: i64 = 42;

/// A server's: with a runtime of its own, whose tasks all publish here.
struct Server {
    publisher: Publisher,
    work: mpsc::Sender<(std::ops::Range<u64>, oneshot::Sender<()>)>,
    thread: thread::JoinHandle<()>,
}

impl Server {
    async fn start(publisher: &Publisher) -> Self {
        let (work, mut todo) = mpsc::channel::<(std::ops::Range<u64>, oneshot::Sender<()>)>(1);
        let (tell, told) = oneshot::channel();
        let publisher = publisher.clone();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let here = publisher.seated_here();
                tell.send(here.clone()).ok();
                while let Some((ids, done)) = todo.recv().await {
                    publish(&here, ids, LANE).await;
                    done.send(()).ok();
                }
            });
        });
        Self { publisher: told.await.unwrap(), work, thread }
    }

    /// Publishes them all, on its thread.
    async fn publish(&self, ids: std::ops::Range<u64>) {
        let (done, all) = oneshot::channel();
        self.work.send((ids, done)).await.unwrap();
        timeout(LONG, all).await.expect("they are not confirmed").unwrap();
    }

    /// Its runtime ends, and with it all that ran on it.
    async fn end(self) -> Publisher {
        drop(self.work);
        let thread = self.thread;
        tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
        self.publisher
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_many_threads_publish_at_once_arrives_once() {
    let Some(queue) = Queue::rabbitmq().await else { return };
    let servers = join_all((0..THREADS).map(|_| Server::start(&queue.publisher))).await;
    let mut claim = queue.claim(partition_of(LANE, PARTITIONS), 256).await;
    let publishing =
        join_all((0..).zip(&servers).map(|(at, server)| server.publish(at * UPDATES..(at + 1) * UPDATES)));
    let taking = async {
        let mut taken = Vec::new();
        while taken.len() < (THREADS * UPDATES) as usize {
            let some = take(&mut claim, 1).await;
            taken.extend(ids(&some));
            join_all(some.into_iter().map(|delivery| delivery.receipt.ack())).await;
        }
        taken
    };
    let (_, mut taken) = tokio::join!(publishing, taking);
    taken.sort_unstable();
    assert!(taken.into_iter().eq(0..THREADS * UPDATES));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_ends_takes_its_owner_along_and_nothing_else() {
    let Some(queue) = Queue::rabbitmq().await else { return };
    let Publisher::RabbitMq(publisher) = &queue.publisher else { panic!("it is RabbitMQ's") };
    let (ends, stays) = (Server::start(&queue.publisher).await, Server::start(&queue.publisher).await);
    ends.publish(0..UPDATES).await;
    let mut link = publisher.link();
    link.mark_unchanged();
    let ended = ends.end().await;
    let told = timeout(LONG, ended.publish(&envelope(1, LANE))).await.expect("somebody waits for ever");
    assert!(matches!(told, Err(PublishError::Away)), "{told:?}");
    stays.publish(0..UPDATES).await;
    queue.publisher.publish(&envelope(2, LANE)).await.unwrap();
    Server::start(&queue.publisher).await.publish(0..UPDATES).await;
    assert!(!link.has_changed().unwrap(), "there was another connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_publishes_on_the_next_connection_too() {
    let Some(queue) = Queue::rabbitmq().await else { return };
    let Place::RabbitMq { settings, url } = &queue.place else { panic!("it is RabbitMQ's") };
    let address = url.rsplit_once('@').unwrap().1.split('/').next().unwrap();
    let proxy = Proxy::to(address).await;
    let settings =
        rabbitmq::Settings::new(&proxy.before(url, address), &settings.prefix, PARTITIONS).unwrap();
    // The seat is taken before there is a connection.
    proxy.cut();
    let publisher = rabbitmq::publisher(settings, Readiness::default(), "publisher");
    let mut link = publisher.link();
    let publisher = Arc::new(Publisher::RabbitMq(publisher));
    let server = Server::start(&publisher).await;
    for time in 0..3 {
        proxy.resume();
        let deadline = Instant::now() + LONG;
        while !publisher.takes() {
            assert!(Instant::now() < deadline, "there is no connection");
            sleep(Duration::from_millis(10)).await;
        }
        server.publish(time * UPDATES..(time + 1) * UPDATES).await;
        proxy.cut();
        link.wait_for(|link| *link == rabbitmq::Link::Away).await.unwrap();
    }
}
