//! A bare ingress: what a durable 200 costs at least, with the same libraries. It looks at the secret, reads the update's
//! chat, publishes to a gateway's queues, and says 200 when that is confirmed; without a deadline, a spool, dead
//! letters, returned messages, records, metrics or a log. A process of its own, as all that is measured.

use actix_web::rt::System;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use clap::{Arg, ArgMatches, Command};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::broker::confirming;
use crate::updates::{PATH, SECRET, SECRET_HEADER};

/// What it is told, all as its environment.
const SETTINGS: [&str; 4] = ["LISTEN_ADDR", "AMQP_URL", "AMQP_PREFIX", "PARTITIONS"];

pub fn command() -> Command {
    let settings = SETTINGS.map(|name| Arg::new(name).long(name).env(name).required(true));
    Command::new("bare-ingress").hide(true).args(settings)
}

/// Of an update, all that is looked at.
#[derive(Deserialize)]
struct Update {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    chat: Chat,
}

#[derive(Deserialize)]
struct Chat {
    id: u64,
}

/// What one of the server's threads has. Its requests share a channel: none of them is interrupted between the number
/// that a publish takes and its place in the order of confirms (facts L1), for that is one poll.
struct Way {
    connection: web::Data<Connection>,
    channel: OnceCell<Channel>,
    exchange: String,
    partitions: u64,
}

pub fn serve(flags: &ArgMatches) -> std::io::Result<()> {
    let text = |name: &str| flags.get_one::<String>(name).cloned().expect("it is required");
    rustls::crypto::ring::default_provider().install_default().ok();
    let partitions = text("PARTITIONS").parse::<u64>().expect("a number");
    let exchange = format!("{}.updates", text("AMQP_PREFIX"));
    let (amqp, address) = (text("AMQP_URL"), text("LISTEN_ADDR"));
    System::new().block_on(async move {
        let connection = Connection::connect(&amqp, ConnectionProperties::default()).await;
        let connection = web::Data::new(connection.expect("the broker runs"));
        let app = move || {
            let (connection, exchange) = (connection.clone(), exchange.clone());
            let way = Way { connection, channel: OnceCell::new(), exchange, partitions };
            App::new().app_data(web::Data::new(way)).route(PATH, web::post().to(handle))
        };
        HttpServer::new(app).bind(address)?.run().await
    })
}

/// The chat of an update that was posted with the secret.
pub fn chat_of(request: &HttpRequest, body: &[u8]) -> u64 {
    let secret = request.headers().get(SECRET_HEADER).map(|value| value.as_bytes());
    assert_eq!(secret, Some(SECRET.as_bytes()), "the load knows the secret");
    let update: Update = serde_json::from_slice(body).expect("an update");
    update.message.chat.id
}

async fn handle(way: web::Data<Way>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let chat = chat_of(&request, &body);
    let channel = way.channel.get_or_init(|| confirming(&way.connection)).await;
    let partition = (chat % way.partitions).to_string();
    let properties = BasicProperties::default().with_delivery_mode(2);
    let (exchange, options) = (way.exchange.as_str().into(), BasicPublishOptions::default());
    let publishing = channel.basic_publish(exchange, partition.into(), options, &body, properties);
    let confirmed = publishing.await.expect("the broker takes it").await;
    assert!(matches!(confirmed, Ok(Confirmation::Ack(None))), "not confirmed: {confirmed:?}");
    HttpResponse::Ok().finish()
}
