//! A process that goes ends, whatever it is sent at that moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use shared::proof::Accepted;
use shared::queue::rabbitmq::{self, Fanout, Heard, Publisher, Settings};
use shared::readiness::Readiness;
use tokio::runtime::{Builder, Runtime};

use crate::backend::{LONG, Place, Queue};

/// In one of some hundred of these it hung.
const TIMES: usize = 100;
const AT_ONCE: usize = 16;

/// Between two words of each who chatters; they are many, so that no thread is busy with it.
const PAUSE: Duration = Duration::from_millis(1);
const CHATTERERS: usize = 4;

fn begin(settings: &Settings) -> (Publisher, Fanout) {
    let (readiness, accepted) = (Readiness::default(), Accepted::default());
    rabbitmq::spooled_publisher(settings.clone(), readiness, accepted, "publisher")
}

/// What it says is more than anybody can hear.
fn chatter(runtime: &Runtime, settings: &Settings, stop: &Arc<AtomicBool>) {
    for _ in 0..CHATTERERS {
        let (stop, (publisher, fanout)) = (stop.clone(), runtime.block_on(async { begin(settings) }));
        runtime.spawn(async move {
            let _publisher = publisher;
            while !stop.load(Ordering::Relaxed) {
                fanout.say(Bytes::from_static(b"words"));
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
}

/// lapin locks what it knows of a channel and of its consumers in one order when something comes, and in the other one
/// when they go: two threads that waited for each other took the runtime's threads with them, one after another.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_spoken_to_while_he_goes_is_gone() {
    let Some(queue) = Queue::rabbitmq().await else { return };
    let Place::RabbitMq { settings, .. } = &queue.place else { panic!("it is RabbitMQ's") };
    let settings = settings.clone();
    let (ended, ends) = mpsc::channel();
    // On threads of their own, which may hang.
    thread::spawn(move || {
        let runtime = || Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (others, stop) = (runtime(), Arc::new(AtomicBool::new(false)));
        chatter(&others, &settings, &stop);
        let own = runtime();
        for _ in 0..TIMES {
            own.block_on(async {
                let going = (0..AT_ONCE).map(async |_| {
                    let (publisher, mut fanout) = begin(&settings);
                    while !matches!(fanout.heard().await, Heard::Words(_)) {}
                    drop((publisher, fanout));
                });
                join_all(going).await;
            });
            ended.send(()).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    for time in 0..TIMES {
        assert!(ends.recv_timeout(LONG).is_ok(), "it hangs after {time} times");
    }
}
