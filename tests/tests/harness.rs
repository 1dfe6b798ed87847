//! The harness holds what it says: brokers that stop and come back, a proxy that cuts and freezes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{
    Answer, FakeService, Proxy, Rabbit, Redis, SHORT, dead_letters, http_client, wait_for, wait_until,
};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::time::timeout;

async fn confirming_channel(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare("h.dead".into(), durable, FieldTable::default()).await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    (connection, channel)
}

async fn publish(channel: &Channel) -> bool {
    let properties = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let confirm =
        channel.basic_publish("".into(), "h.dead".into(), options, b"{}", properties).await.unwrap();
    timeout(Duration::from_secs(2), confirm).await.is_ok_and(|confirmed| confirmed.is_ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_rabbitmq_blocks_dies_and_comes_back_with_its_data() {
    let mut rabbit = Rabbit::private().await;
    let url = rabbit.url().to_owned();
    let (connection, channel) = confirming_channel(&url).await;
    assert!(publish(&channel).await);

    rabbit.block();
    assert!(!publish(&channel).await, "a blocked broker confirms nothing");
    rabbit.unblock();
    drop((connection, channel));

    rabbit.kill();
    assert!(Connection::connect(&url, ConnectionProperties::default()).await.is_err());
    rabbit.start().await;
    assert!(!dead_letters(&url, "h").await.is_empty(), "what was confirmed survives a kill");
    assert!(!dead_letters(&url, "h").await.is_empty(), "and looking takes nothing away");
    rabbit.stop().await;
}

#[tokio::test]
async fn a_private_redis_dies_and_comes_back_with_its_data() {
    let mut redis = Redis::private().await;
    let set = redis::cmd("SET").arg("tgw:k").arg("v").to_owned();
    set.query_async::<()>(&mut redis.connect().await).await.unwrap();
    redis.kill();
    redis.start().await;
    assert_eq!(redis.keys("tgw").await, [("tgw:k".to_owned(), -1)]);
}

#[tokio::test]
async fn what_a_killed_test_process_started_ends_with_it() {
    let beside = std::env::current_exe().unwrap();
    let brokers = beside.ancestors().nth(2).unwrap().join("test-brokers");
    let mut brokers = Command::new(brokers).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(brokers.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ports: Vec<&str> = line.split("127.0.0.1:").skip(1).map(|rest| &rest[..5]).collect();
    // RabbitMQ, Redis, and the three nodes of a cluster.
    assert_eq!(ports.len(), 5, "{line}");
    brokers.kill().unwrap();
    brokers.wait().unwrap();
    for port in ports {
        let address = format!("127.0.0.1:{port}");
        wait_until("nobody listens", SHORT, || std::net::TcpStream::connect(&address).is_err()).await;
    }
}

#[tokio::test]
async fn a_proxy_passes_freezes_cuts_and_passes_again() {
    let service = FakeService::start().await;
    let address = service.url().replace("http://", "").replace("/ask", "");
    let proxy = Proxy::to(&address).await;
    let url = proxy.before(&service.url(), &address);
    let get = || async { http_client().get(&url).timeout(Duration::from_millis(500)).send().await };

    assert_eq!(get().await.unwrap().status(), 200);
    proxy.freeze();
    assert!(get().await.unwrap_err().is_timeout());
    proxy.cut();
    wait_for("refused", SHORT, || async { get().await.err().filter(reqwest::Error::is_connect) }).await;
    proxy.resume();
    wait_for("through again", SHORT, || async { get().await.ok() }).await;
}

#[tokio::test]
async fn a_fake_answers_by_its_script_and_remembers() {
    let service = FakeService::start().await;
    service.answer_first([Answer::Close, Answer::html()]);
    let post = || async { http_client().post(service.url()).body("{\"a\":1}").send().await };
    post().await.unwrap_err();
    assert!(post().await.unwrap().text().await.unwrap().contains("<html>"));
    assert!(post().await.unwrap().text().await.unwrap().contains("\"ok\""));
    assert_eq!(service.bodies().len(), 3);
    assert_eq!(service.bodies()[2]["a"], 1);
}
