//! A buried letter is there with all that it carried, whichever room is behind the door. RabbitMQ's is
//! read here from the wire itself: what stands there is read by versions to come.

use bytes::Bytes;
use lapin::options::BasicGetOptions;
use lapin::types::AMQPValue;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use shared::queue::{Letter, Reason};

use crate::backend::{Place, Queue};

crate::over_both!(Queue, rabbitmq: a_letter_keeps_all_that_it_carries);

async fn a_letter_keeps_all_that_it_carries(queue: Queue) {
    let full = Letter {
        reason: Reason::Telegram,
        error: "sendMessage: 502 Bad Gateway".to_owned(),
        update_id: Some(i64::MAX as u64),
        bot: Some(4321),
        kind: "message".to_owned(),
        lane: Some(-100_123),
        chat_id: Some(-100_123),
        user_id: Some(77),
        route: Some("text".to_owned()),
        service: Some("conversation".to_owned()),
        attempts: 2,
        received_ms: 1_790_000_000_001,
        first_failed_ms: 1_790_000_000_002,
        last_failed_ms: 1_790_000_000_003,
        replays: 4,
        replayed: None,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        body: Bytes::from_static(b"{\"update_id\":1}\xff\0"),
        rest: Some(Bytes::from_static(b"\0rest\xfe")),
    };
    let bare = Letter {
        reason: Reason::Malformed,
        update_id: None,
        bot: None,
        kind: String::new(),
        lane: None,
        chat_id: None,
        user_id: None,
        route: None,
        service: None,
        traceparent: None,
        body: Bytes::new(),
        rest: None,
        ..full.clone()
    };
    let large = Letter { rest: Some(vec![7; 300_000].into()), body: vec![8; 400_000].into(), ..full.clone() };
    let letters = [full, bare, large];
    for letter in &letters {
        queue.publisher.bury(letter).await.unwrap();
    }
    assert!(buried(&queue.place).await == letters);
}

/// The letters, in order.
async fn buried(place: &Place) -> Vec<Letter> {
    match place {
        Place::Embedded { letters, .. } => {
            let page = letters.page(None, 100).await.unwrap();
            page.into_iter().map(|buried| buried.letter.unwrap()).collect()
        }
        Place::RabbitMq { settings, url } => {
            let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
            let channel = connection.create_channel().await.unwrap();
            let mut letters = Vec::new();
            let queue = format!("{}.dead", settings.prefix);
            while let Some(message) =
                channel.basic_get(queue.clone().into(), BasicGetOptions { no_ack: true }).await.unwrap()
            {
                letters.push(on_the_wire(&message.delivery.properties, message.delivery.data.into()));
            }
            letters
        }
    }
}

fn on_the_wire(properties: &BasicProperties, mut body: Bytes) -> Letter {
    let headers = properties.headers().as_ref().unwrap().inner();
    let text = |name: &str| headers.get(name).map(|value| value.as_long_string().unwrap().to_string());
    let number = |name: &str| match headers.get(name)? {
        AMQPValue::LongLongInt(number) => Some(*number),
        other => panic!("{name} is {other:?}"),
    };
    assert_eq!(number("tgw-version"), Some(1));
    assert_eq!(*properties.delivery_mode(), Some(2));
    let reason = text("tgw-reason").unwrap();
    let rest = body.split_off(number("tgw-update-bytes").unwrap() as usize);
    Letter {
        reason: Reason::ALL.into_iter().find(|known| known.as_str() == reason).unwrap(),
        error: text("tgw-error").unwrap(),
        update_id: number("tgw-update-id").map(|id| id as u64),
        bot: number("tgw-bot").map(|bot| bot as u64),
        kind: text("tgw-kind").unwrap(),
        lane: number("tgw-lane"),
        chat_id: number("tgw-chat"),
        user_id: number("tgw-user"),
        route: text("tgw-route"),
        service: text("tgw-service"),
        attempts: number("tgw-attempts").unwrap() as u32,
        received_ms: number("tgw-received").unwrap() as u64,
        first_failed_ms: number("tgw-first-failed").unwrap() as u64,
        last_failed_ms: number("tgw-last-failed").unwrap() as u64,
        replays: number("tgw-replays").unwrap() as u32,
        replayed: None,
        traceparent: text("traceparent"),
        body,
        rest: (!rest.is_empty()).then_some(rest),
    }
}
