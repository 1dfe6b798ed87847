//! Micro-benchmarks of what each update costs before and after all that waits: `cargo bench --workspace --bench parts`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fmt::Write as _;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shared::queue::{Envelope, partition_of};
use shared::update::peek;
use worker::measure::{Routes, format, read, split};

const TEXT: &str = include_str!("text.json");
const ANSWER: &[u8] = br#"{"type":"text","content":"Shall I look for somebody?",
 "buttons":[[{"text":"Yes","callback_data":"CONNECT:17"},{"text":"No","callback_data":"SKIP:17"}]]}"#;

fn ingress(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ingress");
    group.throughput(Throughput::Bytes(TEXT.len() as u64));
    group.bench_function("peek", |bencher| bencher.iter(|| peek(black_box(TEXT.as_bytes()))));
    let (peeked, body) = (peek(TEXT.as_bytes()).unwrap(), Bytes::from_static(TEXT.as_bytes()));
    group.bench_function("envelope", |bencher| {
        bencher.iter(|| {
            let envelope = Envelope::received(black_box(peeked.clone()), Some(42), None, body.clone());
            partition_of(envelope.lane.unwrap_or_default(), 32)
        });
    });
    group.finish();
}

fn worker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("worker");
    let body = Bytes::from_static(TEXT.as_bytes());
    group.bench_function("read", |bencher| bencher.iter(|| read(black_box(body.clone()))));
    let update = read(body);
    let (builtin, large) = (Routes::builtin(), large(1000));
    group
        .bench_function("route, built-in table", |bencher| bencher.iter(|| builtin.find(black_box(&update))));
    group.bench_function("route, 1000 patterns", |bencher| bencher.iter(|| large.find(black_box(&update))));
    group.bench_function("format", |bencher| bencher.iter(|| format(black_box(&update), ANSWER)));
    let text = "A sentence of nine words or so, again and again. ".repeat(500);
    group.bench_function("split 24,500 characters", |bencher| {
        bencher.iter(|| split(&update, black_box(&text)))
    });
    group.finish();
}

fn large(patterns: usize) -> Routes {
    let mut text = String::new();
    for number in 0..patterns {
        write!(text, "[[routes]]\ntext = \"^word{number} .*\"\nreply = \"x\"\n").unwrap();
    }
    Routes::parse(&text).unwrap()
}

criterion_group!(parts, ingress, worker);
criterion_main!(parts);
