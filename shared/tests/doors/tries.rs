//! A broker that is away, or that says nothing, is tried again and again: each try is told, and leaves nothing.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use shared::queue::rabbitmq::{Look, Settings};
use tokio::io::AsyncReadExt as _;
use tokio::runtime::{Builder, Handle};
use tokio::time::{sleep, timeout};

use crate::backend::{LONG, PARTITIONS};

const TRIES: usize = 20;

/// How long a try is waited for here.
const PATIENCE: Duration = Duration::from_millis(200);

fn settings(port: u16) -> Settings {
    Settings::new(&format!("amqp://127.0.0.1:{port}"), "tries", PARTITIONS).unwrap()
}

/// lapin loses the news of one in some hundreds; a busy machine helps it to that.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_refused_is_told_every_time() {
    let settings = settings(9);
    for _ in 0..50 {
        let connecting = (0..32).map(|_| Look::connect(&settings, "refused"));
        for outcome in join_all(connecting).await {
            let why = outcome.err().expect("nobody listens there");
            assert!(why.contains("refused"), "{why}");
        }
    }
}

/// On a runtime of its own, whose tasks can be counted.
#[test]
fn a_connection_that_is_refused_leaves_no_task() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        for _ in 0..TRIES {
            assert!(Look::connect(&settings(9), "refused").await.is_err());
        }
        let begun = Instant::now();
        while Handle::current().metrics().num_alive_tasks() > 0 {
            assert!(
                begun.elapsed() < LONG,
                "{} tasks are left",
                Handle::current().metrics().num_alive_tasks()
            );
            sleep(Duration::from_millis(20)).await;
        }
    });
}

/// Somebody takes connections and says nothing, as a balancer does whose broker is frozen.
#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_is_given_up_ends_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = settings(listener.local_addr().unwrap().port());
    for _ in 0..TRIES {
        assert!(timeout(PATIENCE, Look::connect(&settings, "silent")).await.is_err());
        let (stream, _) = listener.accept().unwrap();
        assert!(timeout(LONG, end_of(stream)).await.is_ok(), "it is open still");
    }
}

async fn end_of(stream: TcpStream) {
    stream.set_nonblocking(true).unwrap();
    let mut stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let mut bytes = [0; 64];
    while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}
