//! A bare worker: what the whole way costs at least, with the same libraries. It takes updates from a gateway's queues, asks
//! Redis for a session, asks the service, writes to Telegram and acks; without order, limits, routes, retries, metrics or
//! a log. If it is told to it keeps records, without which nobody knows after a crash what was sent. A process of its own,
//! as all that is measured.

use std::sync::Arc;

use bytes::Bytes;
use clap::{Arg, ArgMatches, Command};
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Of each partition: 512 of eight, where the gateway's worker has up to 1,024 (CONCURRENCY) in hand of all.
const PREFETCH: u16 = 64;

/// What it is told, all as its environment.
const SETTINGS: [&str; 9] = [
    "LISTEN_ADDR",
    "AMQP_URL",
    "AMQP_PREFIX",
    "PARTITIONS",
    "REDIS_URL",
    "SERVICE_URL",
    "SEND_URL",
    "AT_ONCE",
    "RECORDS",
];

/// For how long a record is kept, in seconds: as the gateway's.
const KEPT: u64 = 90_000;

pub fn command() -> Command {
    let settings = SETTINGS.map(|name| Arg::new(name).long(name).env(name).required(true));
    Command::new("bare-worker").hide(true).args(settings)
}

/// Where an update's way leads, and how many are on it at once.
struct Way {
    at_once: Semaphore,
    keeps_records: bool,
    redis: MultiplexedConnection,
    http: reqwest::Client,
    service: String,
    send: String,
}

#[tokio::main]
pub async fn serve(flags: &ArgMatches) {
    let text = |name: &str| flags.get_one::<String>(name).cloned().expect("it is required");
    rustls::crypto::ring::default_provider().install_default().ok();
    let redis = redis::Client::open(text("REDIS_URL")).expect("an address of Redis");
    let redis = redis.get_multiplexed_async_connection().await.expect("Redis runs");
    let way = Arc::new(Way {
        at_once: Semaphore::new(text("AT_ONCE").parse().expect("a number")),
        keeps_records: text("RECORDS").parse().expect("true or false"),
        redis,
        http: reqwest::Client::new(),
        service: text("SERVICE_URL"),
        send: text("SEND_URL"),
    });
    let connection = Connection::connect(&text("AMQP_URL"), ConnectionProperties::default()).await;
    let connection = connection.expect("the broker runs");
    let mut consumers = JoinSet::new();
    for partition in 0..text("PARTITIONS").parse::<u16>().expect("a number") {
        let channel = connection.create_channel().await.expect("a channel");
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.expect("a prefetch");
        let queue = format!("{}.p.{partition}", text("AMQP_PREFIX"));
        let options = BasicConsumeOptions::default();
        let consuming = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        let mut consumer = consuming.await.expect("nobody else has it");
        let way = way.clone();
        consumers.spawn(async move {
            while let Some(Ok(delivery)) = consumer.next().await {
                tokio::spawn(way.clone().go(delivery));
            }
            drop(channel);
        });
    }
    // Whoever can connect knows that it consumes.
    let _listener = TcpListener::bind(text("LISTEN_ADDR")).await.expect("a free address");
    while consumers.join_next().await.is_some() {}
}

impl Way {
    async fn go(self: Arc<Self>, delivery: Delivery) {
        let _permit = self.at_once.acquire().await.expect("it is never closed");
        let update: Value = serde_json::from_slice(&delivery.data).expect("an update");
        let message = &update["message"];
        let (user, chat) = (&message["from"]["id"], &message["chat"]["id"]);
        let mut ask = redis::cmd("SET");
        ask.arg(format!("bare:session:{user}")).arg(user.to_string()).arg("EX").arg(3600).arg("GET");
        let session: Option<String> = ask.query_async(&mut self.redis.clone()).await.expect("Redis answers");
        let asked = json!({"user_id": session, "chat_id": chat, "text": message["text"]});
        let answer: Value = serde_json::from_slice(&self.post(&self.service, &asked).await)
            .expect("an answer of the service");
        let message = json!({"chat_id": chat, "text": answer["content"]});
        self.keep(&update["update_id"], || message.to_string()).await;
        self.post(&self.send, &message).await;
        self.keep(&update["update_id"], || "done".to_owned()).await;
        delivery.acker.ack(BasicAckOptions::default()).await.expect("the broker runs");
    }

    /// Where it keeps records.
    async fn keep(&self, id: &Value, record: impl FnOnce() -> String) {
        if self.keeps_records {
            let mut set = redis::cmd("SET");
            set.arg(format!("bare:update:{id}")).arg(record()).arg("EX").arg(KEPT);
            set.exec_async(&mut self.redis.clone()).await.expect("Redis answers");
        }
    }

    async fn post(&self, url: &str, body: &Value) -> Bytes {
        let request = self.http.post(url).header("content-type", "application/json").body(body.to_string());
        request.send().await.expect("an answer").bytes().await.expect("a body")
    }
}
