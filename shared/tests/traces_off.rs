//! Off means off: without a collector the spans of an update cost nothing that is counted, no allocation at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use shared::traces::{Kind, Span, are_on};

const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// All that is done for an update, of the ingress and of the worker.
fn spans_of_an_update(number: u64) {
    let accept = Span::begin("accept", Kind::Server, Some(GIVEN));
    accept.update(number);
    let publish = accept.child("publish", Kind::Producer);
    publish.outcome("confirmed");
    publish.end();
    assert!(accept.traceparent().is_none());
    Span::over("wait", Kind::Consumer, Some(GIVEN), 1, || panic!("an id is asked for"));
    let handle = Span::begin_own("handle", Kind::Consumer, Some(GIVEN), || panic!("an id is asked for"));
    handle.update(number);
    handle.replay(1);
    handle.request("01234567-89ab-cdef-0123-456789abcdef");
    handle.route("text");
    for name in ["begin", "call", "plan", "send", "finish"] {
        let step = handle.child(name, Kind::Client);
        step.service("conversation");
        step.failed("timeout");
        step.end();
    }
    Span::begin_again("handle", Kind::Consumer, Some(GIVEN), || panic!("an id is asked for")).end_failed("x");
}

#[test]
fn without_a_collector_spans_allocate_nothing() {
    assert!(!are_on());
    let counted = allocation_counter::measure(|| (0..10_000).for_each(spans_of_an_update));
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
    // And what is counted would be seen.
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(String::from(GIVEN))));
    assert_eq!(counted.count_total, 1);
}
