//! How many updates a second the simulator delivers, so that a benchmark knows that it measures something else.
//! Two processes: this one, and itself again as a webhook that says 200 and does nothing else. In turns with the
//! simulator a bare loop posts the same bytes over as many connections: no more is possible, and the share of it that
//! the simulator reaches says more than the rate does where others use the machine too.
//!
//!     cargo run --release -p telegram-simulator --example throughput -- [max_connections, 40 if not said]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, not a part of the simulator")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::json;
use simulator::{Application, Control, NewMessage, Settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

const UPDATES: usize = 100_000;
const CHATS: i64 = 1_000;
const ROUNDS: usize = 5;
/// About the length of an update with a short text.
const BODY: usize = 260;

fn main() {
    let argument = std::env::args().nth(1);
    match argument.as_deref() {
        Some("webhook") => actix_web::rt::System::new().block_on(webhook()),
        count => tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(measure(count.map_or(40, |it| it.parse().unwrap()))),
    }
}

async fn webhook() {
    let app = || App::new().default_service(web::to(async |_body: web::Bytes| HttpResponse::Ok().finish()));
    let server = HttpServer::new(app).workers(1).keep_alive(Duration::from_secs(75));
    let server = server.bind("127.0.0.1:0").unwrap();
    println!("http://{}/webhook", server.addrs()[0]);
    server.run().await.unwrap();
}

async fn measure(max_connections: usize) {
    let (mut child, url) = start_webhook();
    let settings =
        Settings { listen: "127.0.0.1:0".parse().unwrap(), page: false, threads: 1, ..Settings::default() };
    let application = Application::build(settings).unwrap();
    let (control, base) = (application.control(), format!("http://{}/bot42:token", application.address()));
    let stop = CancellationToken::new();
    let running = tokio::spawn(application.run(stop.clone()));
    let hook = json!({"url": url, "max_connections": max_connections}).to_string();
    let set =
        reqwest::Client::new().post(format!("{base}/setWebhook")).header("Content-Type", "application/json");
    set.body(hook).send().await.unwrap().error_for_status().unwrap();
    // The connections open one after another, as Telegram's do (facts T7): that is not what is measured.
    deliver(&control, Duration::from_secs(5)).await;
    let (mut rates, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let bare = post(&url, max_connections, |_| "x".repeat(BODY)).await;
        let rate = deliver(&control, Duration::ZERO).await;
        println!(
            "{rate:.0} deliveries/s over at most {max_connections} connections, {bare:.0} by the bare loop"
        );
        rates.push(rate);
        bares.push(bare);
    }
    // A test in another process hands them in one by one.
    let injection = format!("{}/control/message", base.trim_end_matches("/bot42:token"));
    let begun = Instant::now();
    post(&injection, 32, |it| json!({"chat_id": it + 1, "text": "a message of some length"}).to_string())
        .await;
    while control.pending() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("{:.0} deliveries/s handed in by HTTP", UPDATES as f64 / begun.elapsed().as_secs_f64());
    let ([min, median, max], [.., bare]) = (spread(rates), spread(bares));
    println!("deliveries/s of {ROUNDS} rounds: min {min:.0}, median {median:.0}, max {max:.0}");
    println!("best: {max:.0} deliveries/s, {:.2} of the bare loop's {bare:.0}", max / bare);
    stop.cancel();
    running.await.unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The least, the middle one and the most.
fn spread(mut rates: Vec<f64>) -> [f64; 3] {
    rates.sort_by(f64::total_cmp);
    [rates[0], rates[rates.len() / 2], rates[rates.len() - 1]]
}

fn start_webhook() -> (Child, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut child = command.arg("webhook").stdout(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    (child, url.trim().to_owned())
}

/// Posts a second of a loop that has nothing to decide and nothing to remember.
async fn post(url: &str, connections: usize, body: impl Fn(usize) -> String) -> f64 {
    let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let request = |connection| {
        let body = body(connection);
        format!(
            "POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: keep-alive\r\nAccept-Encoding: gzip, deflate\r\n\r\n{body}",
            body.len()
        )
    };
    let begun = Instant::now();
    let loops: Vec<_> = (0..connections)
        .map(|it| tokio::spawn(post_on_one(host.to_owned(), request(it), UPDATES / connections)))
        .collect();
    for one in loops {
        one.await.unwrap();
    }
    (UPDATES / connections * connections) as f64 / begun.elapsed().as_secs_f64()
}

async fn post_on_one(host: String, request: String, count: usize) {
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answer = vec![0; 1024];
    for _ in 0..count {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut read = 0;
        // The answers are short: one comes whole, and ends as JSON does or has no body.
        while !answer[..read].ends_with(b"\r\n\r\n") && !answer[..read].ends_with(b"}") {
            read += stream.read(&mut answer[read..]).await.unwrap();
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
}

/// Updates a second, from the first one's injection to the last one's delivery; goes on for at least this long.
async fn deliver(control: &Control, least: Duration) -> f64 {
    let (begun, mut sent) = (Instant::now(), 0);
    while sent < UPDATES || begun.elapsed() < least {
        for _ in 0..500 {
            let chat_id = 1 + (sent as i64 % CHATS);
            let text = Some("a message of some length, as people write them".to_owned());
            control.message(NewMessage { chat_id, text, ..NewMessage::default() }).unwrap();
            sent += 1;
        }
        while control.pending() > 5_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    while control.pending() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let rate = sent as f64 / begun.elapsed().as_secs_f64();
    // The journal is long enough for the last of them: each was taken at its first attempt.
    let deliveries = control.deliveries(0);
    let last = &deliveries[deliveries.len() - UPDATES..];
    assert!(last.iter().all(|delivery| delivery.status == Some(200) && delivery.attempt == 1));
    rate
}
