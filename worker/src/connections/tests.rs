//! The rule by itself, and that it is asked before the calls of a service and of Telegram.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use futures_util::future::join_all;
use shared::queue::{Consumer, rabbitmq};
use shared::readiness::Readiness;
use shared::settings::Values;
use shared::traces::Span;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::fence::Fence;
use crate::reply::Call;
use crate::routes::ServiceConfig;
use crate::services::{Placed, Request, Services};
use crate::telegram::{Going, Sent, Settings, Telegram};

/// So many calls at once, each of which is answered after that time: how many were under way together, and how
/// long all took.
async fn burst(connections: &Connections, calls: usize, answer: Duration) -> (usize, Duration) {
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let begun = Instant::now();
    let call = || async {
        let _place = connections.take().await;
        most.fetch_max(under_way.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        sleep(answer).await;
        under_way.fetch_sub(1, Ordering::Relaxed);
    };
    join_all((0..calls).map(|_| call())).await;
    (most.load(Ordering::Relaxed), begun.elapsed())
}

const QUICK: Duration = Duration::from_millis(1);
const SLOW: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_quick_peer_is_led_to_by_few() {
    let (most, _) = burst(&Connections::default(), 500, QUICK).await;
    assert_eq!(most, FEW);
}

#[tokio::test(start_paused = true)]
async fn a_slow_peers_calls_wait_once_for_a_moment() {
    let connections = Connections::default();
    let (most, took) = burst(&connections, 500, SLOW).await;
    assert_eq!(most, 500);
    assert!(took < SLOW + WAIT * 2, "{took:?}");
    // The pool has kept these.
    let (_, took) = burst(&connections, IDLE, SLOW).await;
    assert!(took < SLOW + Duration::from_millis(5), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_needs_any_more_is_forgotten() {
    let connections = Connections::default();
    burst(&connections, 500, SLOW).await;
    for _ in 0..3 {
        sleep(KEPT + SLOW).await;
        burst(&connections, FEW + 8, QUICK).await;
    }
    let (most, _) = burst(&connections, 500, QUICK).await;
    assert!((FEW..=FEW + 8).contains(&most), "{most}");
    // And after a silence.
    burst(&connections, 500, SLOW).await;
    sleep(KEPT * 3).await;
    let (most, _) = burst(&connections, 500, QUICK).await;
    assert_eq!(most, FEW);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_where_all_share_one() {
    let connections = Connections::default();
    connections.speaks(Version::HTTP_2);
    let (most, took) = burst(&connections, 500, SLOW).await;
    assert_eq!(most, 500);
    assert!(took < SLOW + Duration::from_millis(5), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_gives_its_place_back() {
    let connections = Connections::default();
    for _ in 0..1000 {
        let calls = burst(&connections, FEW + 8, SLOW);
        tokio::time::timeout(Duration::from_millis(10), calls).await.unwrap_err();
    }
    let (most, _) = burst(&connections, 500, QUICK).await;
    assert_eq!(most, FEW);
}

/// The broker is never heard there.
#[tokio::test(start_paused = true)]
async fn who_waits_for_the_broker_has_no_place() {
    let settings = rabbitmq::Settings::new("amqp://127.0.0.1:1", "test", 1).unwrap();
    let consumer = rabbitmq::consumer(settings, Readiness::default(), "broker");
    let (fence, connections) = (Fence::of(&Consumer::RabbitMq(consumer)), Connections::default());
    let mut waiting = pin!(join_all((0..CALLS).map(|_| connections.take_behind(&fence))));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    let (_, took) = burst(&connections, FEW, QUICK).await;
    assert!(took < WAIT, "{took:?}");
}

/// More than have a place at once.
const CALLS: usize = FEW * 2;

/// A service, and a Telegram, that answers each request; its address, and how many connections were made to it.
async fn peer() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(answer(stream));
        }
    });
    (address, accepted)
}

/// As long as that is kept the clock stands still, also where all that goes on is in the kernel: tokio moves one that is
/// paused only while no such task runs.
struct Stopped(oneshot::Sender<()>, JoinHandle<()>);

fn stop_clock() -> Stopped {
    let (kept, gone) = oneshot::channel();
    Stopped(kept, tokio::task::spawn_blocking(move || assert!(gone.blocking_recv().is_err())))
}

impl Stopped {
    async fn end(self) {
        drop(self.0);
        self.1.await.unwrap();
    }
}

/// Each request that is sent here ends with its body's brace.
async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    const BODY: &str = r#"{"ok":true,"result":true,"type":"text","content":"ok"}"#;
    let (mut read, mut request) = ([0; 4096], Vec::new());
    loop {
        let length = stream.read(&mut read).await?;
        if length == 0 {
            return Ok(());
        }
        request.extend_from_slice(read.get(..length).unwrap_or_default());
        if request.ends_with(b"}") {
            request.clear();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
            stream.write_all(head.as_bytes()).await?;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_a_services_calls_is_no_burst_of_connections() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let (address, accepted) = peer().await;
    let (url, timeout) = (address.parse().unwrap(), Duration::from_secs(10));
    let placed = Placed { name: "quick".to_owned(), url, timeout, config: ServiceConfig::default() };
    let services = Services::new(vec![placed]).unwrap();
    let request = Request { body: "{}".into(), request_id: String::new(), traceparent: String::new() };
    let (fence, span) = (Fence::default(), Span::default());
    let stopped = stop_clock();
    let calls = (0..CALLS).map(|_| services.call("quick", &request, &fence, &span));
    assert!(join_all(calls).await.iter().all(Result::is_ok));
    stopped.end().await;
    assert!(accepted.load(Ordering::Relaxed) < CALLS, "{accepted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_messages_is_no_burst_of_connections() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let (address, accepted) = peer().await;
    let telegram = telegram(address);
    let (abort, halt) = <(CancellationToken, CancellationToken)>::default();
    let (messages, going) = (messages(CALLS), going(&abort, &halt));
    let stopped = stop_clock();
    let sent = join_all(messages.iter().map(|message| telegram.send(message, &going))).await;
    stopped.end().await;
    assert!(sent.iter().all(|sent| *sent == Sent::Yes), "{sent:?}");
    assert!(accepted.load(Ordering::Relaxed) < CALLS, "{accepted:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_connection_sends_nothing_after_the_end() {
    rustls::crypto::ring::default_provider().install_default().ok();
    // Nobody answers there.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let telegram = telegram(format!("http://{}", silent.local_addr().unwrap()));
    let (abort, halt) = <(CancellationToken, CancellationToken)>::default();
    let (messages, one_more) = (messages(FEW), messages(1));
    let goes_on = going(&halt, &halt);
    let before = join_all(messages.iter().map(|message| telegram.send(message, &goes_on)));
    let one_more = async {
        let going = going(&abort, &halt);
        let begun = Instant::now();
        let mut sending = pin!(telegram.send(one_more.first().unwrap(), &going));
        assert!(futures_util::poll!(sending.as_mut()).is_pending());
        abort.cancel();
        (sending.await, begun.elapsed())
    };
    tokio::select! {
        biased;
        _ = before => panic!("nobody answers"),
        // One that is sent all the same has its time-out first.
        (sent, took) = one_more => assert!(sent == Sent::Aborted && took < WAIT * 2, "{sent:?} after {took:?}"),
    }
}

fn telegram(address: String) -> Telegram {
    let values = [
        ("TELEGRAM_API_URL", address),
        ("TELEGRAM_BOT_TOKEN", "1:a".to_owned()),
        ("CHAT_BURST", "100".to_owned()),
    ];
    Telegram::new(Settings::read(&Values::of(values)).unwrap(), Fence::default()).unwrap()
}

/// Each to a chat of its own.
fn messages(count: usize) -> Vec<Call> {
    (1..=count).map(|chat| Call::new("sendMessage").with("chat_id", chat).with("text", "hello")).collect()
}

fn going<'a>(abort: &'a CancellationToken, halt: &'a CancellationToken) -> Going<'a> {
    Going { abort, halt, note: None, bulk: false, once: false }
}
