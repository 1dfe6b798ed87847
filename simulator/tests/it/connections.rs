//! The connections to the webhook (facts T6, T7): how many, how fast, for how long; and what comes back on them.

use std::time::Duration;

use serde_json::json;
use simulator::{NewMessage, Settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::{Bench, Reply, Webhook, until};

const SECOND: Duration = Duration::from_secs(1);

fn write(bench: &Bench, chat_id: i64) -> i64 {
    let text = Some("a".to_owned());
    bench.control.message(NewMessage { chat_id, text, ..NewMessage::default() }).unwrap().update_id
}

async fn taken(bench: &Bench) {
    until("all are taken", || bench.control.pending() == 0).await;
}

/// The webhook has just taken its first update; the clock stands still.
async fn active() -> (Bench, Webhook) {
    let (bench, webhook) = (Bench::start(), Webhook::start());
    bench.control.stop_clock(true);
    bench.set_webhook(&webhook).await;
    write(&bench, 1);
    taken(&bench).await;
    (bench, webhook)
}

#[tokio::test]
async fn one_connection_is_kept_alive_for_one_update_after_another() {
    let (bench, webhook) = active().await;
    for _ in 0..20 {
        write(&bench, 7);
        taken(&bench).await;
    }
    assert_eq!((webhook.received().len(), webhook.connections()), (21, 1));
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_60_seconds() {
    let (bench, webhook) = active().await;
    bench.control.advance(59 * SECOND);
    write(&bench, 7);
    taken(&bench).await;
    assert_eq!(webhook.connections(), 1);
    bench.control.advance(61 * SECOND);
    // By then the connection has ended, or ends before it takes this.
    write(&bench, 7);
    taken(&bench).await;
    assert_eq!(webhook.connections(), 2);
}

#[tokio::test]
async fn until_its_first_success_a_webhook_has_one_connection() {
    let (bench, webhook) = (Bench::start(), Webhook::start());
    bench.control.stop_clock(true);
    let gate = webhook.hold();
    bench.set_webhook(&webhook).await;
    for chat_id in 1..=20 {
        write(&bench, chat_id);
    }
    webhook.wait_for(1).await;
    bench.control.advance(30 * SECOND);
    assert_eq!((webhook.received().len(), webhook.connections()), (1, 1));
    gate.add_permits(1);
    // One success later it has ten more.
    webhook.wait_for(12).await;
    assert_eq!((webhook.received().len(), webhook.connections()), (12, 11));
}

#[tokio::test]
async fn an_active_webhook_gets_ten_connections_at_once_and_twenty_a_second_after() {
    let (bench, webhook) = active().await;
    webhook.hold();
    for chat_id in 1..=60 {
        write(&bench, chat_id);
    }
    // The first update, then one on the connection that is open and one on each of ten new ones.
    webhook.wait_for(12).await;
    assert_eq!(webhook.connections(), 11);
    // No more than its `max_connections`, 40 if not said, however many keys there are.
    for expected in [21, 31, 40] {
        bench.control.advance(SECOND / 2);
        until(&format!("there are {expected}"), || webhook.connections() == expected).await;
    }
    bench.control.advance(5 * SECOND);
    webhook.wait_for(41).await;
    assert_eq!((webhook.received().len(), webhook.connections()), (41, 40));
}

#[tokio::test]
async fn an_answer_that_closes_its_connection_costs_a_new_one() {
    let (bench, webhook) = active().await;
    let close = || Reply { status: 200, close: true, ..Reply::default() };
    for before in 1..=3 {
        webhook.reply(close());
        write(&bench, 7);
        taken(&bench).await;
        write(&bench, 7);
        taken(&bench).await;
        assert_eq!(webhook.connections(), before + 1);
    }
}

#[tokio::test]
async fn an_answer_in_an_unknown_encoding_is_a_failure() {
    let (bench, webhook) = active().await;
    webhook.reply(Reply {
        status: 200,
        headers: vec![("Content-Encoding", "br".to_owned())],
        ..Reply::default()
    });
    let update_id = write(&bench, 7);
    taken(&bench).await;
    assert_eq!(webhook.update_ids()[1..], [update_id, update_id]);
    let info = bench.ok("getWebhookInfo", json!({})).await;
    assert_eq!(info["last_error_message"], "Unsupported Media Type: unsupported content-encoding");
}

#[tokio::test]
async fn a_call_in_the_answer_is_carried_out() {
    let (bench, webhook) = active().await;
    let body = json!({"method": "sendMessage", "chat_id": 7, "text": "hello"}).to_string();
    let headers = vec![("Content-Type", "application/json".to_owned())];
    webhook.reply(Reply { status: 200, headers: headers.clone(), body, close: false });
    // Telegram takes no call like this one from there.
    let body = json!({"method": "deleteWebhook"}).to_string();
    webhook.reply(Reply { status: 200, headers, body, close: false });
    write(&bench, 7);
    write(&bench, 7);
    taken(&bench).await;
    until("the bot has answered", || bench.control.chat(7).messages.len() == 3).await;
    assert_eq!(bench.control.calls(0).iter().filter(|call| call.method == "sendMessage").count(), 1);
    assert!(bench.control.bot().webhook);
}

/// Reads a request and answers with these bytes, once for each connection; without any it hangs up.
async fn raw_webhook(answers: &'static [&'static str]) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/webhook?a=b", listener.local_addr().unwrap());
    let requests = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            requests.push(String::from_utf8_lossy(&request[..length]).into_owned());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        requests
    });
    (url, requests)
}

#[tokio::test]
async fn a_request_has_telegrams_headers() {
    let (url, requests) = raw_webhook(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]).await;
    let bench = Bench::start();
    bench.ok("setWebhook", json!({"url": url.replace("//", "//user:pass@"), "secret_token": "s"})).await;
    let update_id = bench.control.update(r#"{"message":{"chat":{"id":7}}}"#).unwrap();
    let request = requests.await.unwrap().remove(0);
    let host = url.trim_start_matches("http://").split('/').next().unwrap();
    let body = format!("{{\"update_id\":{update_id},\"message\":{{\"chat\":{{\"id\":7}}}}}}");
    let length = body.len();
    let expected = format!(
        "POST /webhook?a=b HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic dXNlcjpwYXNz\r\n\
         X-Telegram-Bot-Api-Secret-Token: s\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: keep-alive\r\nAccept-Encoding: gzip, deflate\r\n\r\n{body}"
    );
    assert_eq!(request, expected);
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_is_a_failure_that_nobody_is_told_of() {
    let (url, requests) =
        raw_webhook(&["", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"]).await;
    let bench = Bench::with(Settings { limit_connections: false, ..Settings::default() });
    bench.ok("setWebhook", json!({"url": url})).await;
    write(&bench, 7);
    taken(&bench).await;
    assert_eq!(requests.await.unwrap().len(), 2);
    let deliveries = bench.control.deliveries(0);
    let ended: Vec<_> = deliveries.iter().map(|it| (it.status, it.error.as_deref())).collect();
    assert_eq!(ended, [(None, Some("Webhook connection closed")), (Some(200), None)]);
    assert_eq!(bench.ok("getWebhookInfo", json!({})).await.get("last_error_message"), None);
}
