//! A thread of a server's publishes by an owner that runs on it: for as long as it runs, over each connection anew.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use harness::Proxy;
use shared::queue::{PublishError, Publisher, partition_of, rabbitmq};
use shared::readiness::Readiness;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Duration, sleep, timeout};

use crate::backend::{LONG, PARTITIONS, Place, Queue, envelope, ids, publish, take};

/// Of each thread; fewer than may wait for its owner.
const UPDATES: u64 = 200;

/// More than a small machine has cores.
const THREADS: u64 = 6;

const LANE: i64 = 42;

/// What a server's thread is to do, and who waits for that.
enum Work {
    Publish(std::ops::Range<u64>, oneshot::Sender<()>),
    /// To be stuck for as long as the other end lives.
    Stick(Receiver<()>),
}

/// As one of actix: with a runtime of its own, whose tasks all publish here.
struct Server {
    publisher: Publisher,
    work: mpsc::Sender<Work>,
    thread: thread::JoinHandle<()>,
}

impl Server {
    async fn start(publisher: &Publisher) -> Self {
        let (work, mut todo) = mpsc::channel(1);
        let (tell, told) = oneshot::channel();
        let publisher = publisher.clone();
        let thread = thread::spawn(move || {
            let runtime =
                Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
            runtime.block_on(async move {
                let here = publisher.seated_here();
                tell.send(here.clone()).ok();
                while let Some(work) = todo.recv().await {
                    match work {
                        Work::Publish(ids, done) => {
                            publish(&here, ids, LANE).await;
                            done.send(()).ok();
                        }
                        Work::Stick(until) => drop(until.recv()),
                    }
                }
            });
        });
        Self { publisher: told.await.unwrap(), work, thread }
    }

    /// Publishes them all, on its thread.
    async fn publish(&self, ids: std::ops::Range<u64>) {
        let (done, all) = oneshot::channel();
        self.work.send(Work::Publish(ids, done)).await.unwrap();
        timeout(LONG, all).await.expect("they are not confirmed").unwrap();
    }

    /// Its thread does nothing for as long as what is returned lives.
    async fn stick(&self) -> SyncSender<()> {
        let (sticks, until) = sync_channel(0);
        self.work.send(Work::Stick(until)).await.unwrap();
        // It has begun when the next one finds room.
        drop(self.work.reserve().await.unwrap());
        sticks
    }

    /// Its runtime ends, and with it all that ran on it.
    async fn end(self) -> Publisher {
        drop(self.work);
        let thread = self.thread;
        tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
        self.publisher
    }
}

/// The publisher on a connection of its own, and what stands before the broker.
async fn behind_a_proxy(queue: &Queue, more: &str) -> (Publisher, Proxy) {
    let Place::RabbitMq { settings, url } = &queue.place else { panic!("it is RabbitMQ's") };
    let address = url.rsplit_once('@').unwrap().1.split('/').next().unwrap();
    let proxy = Proxy::to(address).await;
    let url = proxy.before(url, address) + more;
    let settings = rabbitmq::Settings::new(&url, &settings.prefix, PARTITIONS).unwrap();
    (Publisher::RabbitMq(rabbitmq::publisher(settings, Readiness::default(), "publisher")), proxy)
}

async fn connected(publisher: &Publisher) {
    let deadline = Instant::now() + LONG;
    while !publisher.takes() {
        assert!(Instant::now() < deadline, "there is no connection");
        sleep(Duration::from_millis(10)).await;
    }
}

/// By whom it is to be, from now on: an owner that is only just ending refuses what waits for the next one.
async fn published(publisher: &Publisher) {
    let deadline = Instant::now() + LONG;
    while publisher.publish(&envelope(0, LANE)).await.is_err() {
        assert!(Instant::now() < deadline, "nobody publishes for it");
        sleep(Duration::from_millis(10)).await;
    }
}

fn link(publisher: &Publisher) -> watch::Receiver<rabbitmq::Link> {
    let Publisher::RabbitMq(publisher) = publisher else { panic!("it is RabbitMQ's") };
    publisher.link()
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
    let (ends, stays) = (Server::start(&queue.publisher).await, Server::start(&queue.publisher).await);
    ends.publish(0..UPDATES).await;
    let mut link = link(&queue.publisher);
    link.mark_unchanged();
    let ended = ends.end().await;
    // By the owners of all, once it is known that this one has ended.
    let deadline = Instant::now() + LONG;
    while let Err(told) =
        timeout(LONG, ended.publish(&envelope(1, LANE))).await.expect("somebody waits for ever")
    {
        assert!(matches!(told, PublishError::Away) && Instant::now() < deadline, "{told:?}");
    }
    stays.publish(0..UPDATES).await;
    queue.publisher.publish(&envelope(2, LANE)).await.unwrap();
    Server::start(&queue.publisher).await.publish(0..UPDATES).await;
    assert!(!link.has_changed().unwrap(), "there was another connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_is_stuck_holds_up_what_is_its_own_and_nothing_else() {
    let Some(queue) = Queue::rabbitmq().await else { return };
    let (publisher, proxy) = behind_a_proxy(&queue, "").await;
    connected(&publisher).await;
    let stuck = Server::start(&publisher).await;
    stuck.publish(0..UPDATES).await;
    let sticks = stuck.stick().await;
    let waits = tokio::spawn(stuck.publisher.begin(&envelope(1, LANE)));
    for _ in 0..2 {
        publisher.publish(&envelope(2, LANE)).await.unwrap();
        let mut link = link(&publisher);
        link.mark_unchanged();
        proxy.cut();
        link.wait_for(|link| *link == rabbitmq::Link::Away).await.unwrap();
        proxy.resume();
        connected(&publisher).await;
        Server::start(&publisher).await.publish(0..UPDATES).await;
    }
    assert!(!waits.is_finished(), "its owner is elsewhere");
    drop(sticks);
    // Where the connections that were lost had it, it was told so.
    drop(timeout(LONG, waits).await.expect("somebody waits for ever").unwrap());
    stuck.publish(0..UPDATES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_channels_are_too_few_threads_share_them() {
    let Some(queue) = Queue::rabbitmq().await else { return };
    // Four are everybody's, and eight no thread's.
    let (publisher, _proxy) = behind_a_proxy(&queue, "?channel_max=13").await;
    connected(&publisher).await;
    published(&publisher).await;
    let mut link = link(&publisher);
    link.mark_unchanged();
    let servers = join_all((0..THREADS).map(|_| Server::start(&publisher))).await;
    for server in &servers {
        published(&server.publisher).await;
        server.publish(0..UPDATES).await;
    }
    // All but one have no owner that could be stuck.
    let sticks = join_all(servers.iter().map(Server::stick)).await;
    let update = envelope(3, LANE);
    let mut publishing: FuturesUnordered<_> =
        servers.iter().map(|server| server.publisher.publish(&update)).collect();
    for _ in 1..THREADS {
        timeout(LONG, publishing.next()).await.expect("more have their own").unwrap().unwrap();
    }
    assert!(timeout(Duration::from_millis(100), publishing.next()).await.is_err(), "none has its own");
    drop(sticks);
    assert!(!link.has_changed().unwrap(), "there was another connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_publishes_on_the_next_connection_too() {
    let Some(queue) = Queue::rabbitmq().await else { return };
    let (publisher, proxy) = behind_a_proxy(&queue, "").await;
    let server = Server::start(&publisher).await;
    let mut link = link(&publisher);
    for time in 0..3 {
        proxy.resume();
        connected(&publisher).await;
        published(&server.publisher).await;
        server.publish(time * UPDATES..(time + 1) * UPDATES).await;
        proxy.cut();
        link.wait_for(|link| *link == rabbitmq::Link::Away).await.unwrap();
    }
}
