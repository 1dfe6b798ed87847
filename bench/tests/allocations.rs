//! How often an update makes the allocator work, on its way through the pure and hot parts. These are exact, where
//! times are not: a bound here fails when something creeps in, on however busy a machine.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;

use allocation_counter::measure;
use bytes::Bytes;
use shared::queue::{Envelope, Publisher, rabbitmq};
use shared::readiness::Readiness;
use shared::update::peek;
use worker::measure::{Routes, format, read};

const TEXT: &[u8] = include_bytes!("../benches/text.json");
const ANSWER: &[u8] = br#"{"type":"text","content":"The answer is yes."}"#;

/// Allocations of the second run: what is made once is made in the first.
fn allocations(mut run: impl FnMut()) -> u64 {
    run();
    let count = measure(run).count_total;
    println!("{count} allocations");
    count
}

#[test]
fn peeking_at_an_update_takes_few_allocations() {
    let count = allocations(|| drop(black_box(peek(TEXT))));
    assert!(count <= 3, "{count}");
}

/// All that the ingress does beside HTTP and lapin: the look, the envelope, its partition and its headers. The broker
/// is away, so lapin gets none.
#[tokio::test]
async fn an_update_is_ready_to_be_published_after_few_allocations() {
    let settings = rabbitmq::Settings::new("amqp://127.0.0.1:1/%2f", "count", 32).unwrap();
    let publisher = Publisher::RabbitMq(rabbitmq::publisher(settings, Readiness::default(), "broker"));
    let body = Bytes::from_static(TEXT);
    let count = allocations(|| {
        let peeked = peek(&body).unwrap();
        let envelope = Envelope::received(peeked, Some(42), None, body.clone());
        drop(black_box(publisher.begin(&envelope)));
    });
    assert!(count <= 13, "{count}");
}

/// The worker's pure parts: reads the update, finds its route, makes the call of the Bot API out of the answer.
#[test]
fn an_update_is_read_routed_and_answered_with_few_allocations() {
    let (routes, body) = (Routes::builtin(), Bytes::from_static(TEXT));
    let count = allocations(|| {
        let update = read(body.clone());
        assert!(routes.find(&update));
        assert_eq!(format(&update, ANSWER), 1);
    });
    assert!(count <= 28, "{count}");
}
