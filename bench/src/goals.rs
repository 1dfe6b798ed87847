//! What the figures are wanted to be, and what they are.

use crate::figures::{Results, spread};

/// The gateway, over RabbitMQ and on its embedded queue.
pub const OURS: &str = "tgw";
pub const EMBEDDED: &str = "tgw run, embedded";
pub const LAPIN: &str = "lapin alone";
/// The same, written as the gateway does it.
pub const LAPIN_BATCHED: &str = "lapin alone, writes gathered";

/// A queue in a file that does no more than it must.
pub const BARE_QUEUE: &str = "a bare queue";
/// An ingress and a worker that do no more than they must, and both of them together.
pub const BARE_INGRESS: &str = "a bare ingress";
pub const BARE_WORKER: &str = "a bare worker";
pub const BARE: &str = "both bare";
/// The same, with a worker that keeps what is to be sent and that it was.
pub const RECORDING_WORKER: &str = "a bare worker with records";
pub const RECORDING: &str = "both bare, with records";

/// One wanted thing: a figure of ours, or its ratio to another one, at least or at most so much.
pub struct Goal {
    pub row: &'static str,
    pub who: &'static str,
    /// What it is divided by.
    pub to: Option<(&'static str, &'static str)>,
    pub at_least: bool,
    pub bound: f64,
}

const fn at_least(
    row: &'static str,
    who: &'static str,
    to: (&'static str, &'static str),
    bound: f64,
) -> Goal {
    Goal { row, who, to: Some(to), at_least: true, bound }
}

const fn at_most(row: &'static str, who: &'static str, bound: f64) -> Goal {
    Goal { row, who, to: None, at_least: false, bound }
}

pub const GOALS: [Goal; 30] = [
    at_least("ingress, 40 connections", OURS, ("ingress, 40 connections", LAPIN), 0.95),
    at_least("ingress, 100 connections", OURS, ("ingress, 100 connections", LAPIN), 0.95),
    at_least("ingress, 256 connections", OURS, ("ingress, 256 connections", LAPIN), 0.95),
    at_least("ingress, 40 connections", OURS, ("ingress, 40 connections", "FastAPI, no service"), 4.0),
    at_least("ingress, 100 connections", OURS, ("ingress, 100 connections", "FastAPI, no service"), 4.0),
    at_least("ingress, 256 connections", OURS, ("ingress, 256 connections", "FastAPI, no service"), 4.0),
    at_least("ingress, embedded, 256", EMBEDDED, ("ingress, embedded, 256", "actix-web, empty"), 0.5),
    Goal {
        row: "latency p99 at half load, ms",
        who: OURS,
        to: Some(("latency p99 at half load, ms", LAPIN)),
        at_least: false,
        bound: 1.3,
    },
    at_least("whole way, sends/s", OURS, ("whole way, sends/s", "aiogram inline"), 12.0),
    at_least("whole way, sends/s", OURS, ("whole way, sends/s", "teloxide, not durable"), 4.0),
    at_least("whole way, sends/s", EMBEDDED, ("whole way, sends/s", OURS), 1.5),
    at_most("CPU s per 1,000: worker", OURS, 0.13),
    // What the goal above is to a bare prototype's 0.12 s.
    Goal {
        row: "CPU s per 1,000: worker",
        who: OURS,
        to: Some(("CPU s per 1,000: worker", BARE_WORKER)),
        at_least: false,
        bound: 1.08,
    },
    at_most("CPU s per 1,000: ingress", OURS, 0.035),
    at_most("memory, MB: ingress, most", OURS, 25.0),
    at_most("memory, MB: worker, at rest", OURS, 40.0),
    at_most("memory, MB: worker, most", OURS, 80.0),
    at_most("memory, MB: tgw run, most", EMBEDDED, 50.0),
    at_most("start to ready, ms: ingress", OURS, 100.0),
    at_most("start to ready, ms: worker", OURS, 100.0),
    at_most("start to ready, ms: tgw run", EMBEDDED, 100.0),
    at_least("spool drain, 1/s", OURS, ("spool drain, 1/s", "ingress, publishing"), 0.8),
    flat("worker CPU, 1 partition"),
    flat("worker CPU, 16 partitions"),
    flat("worker CPU, 10 chats"),
    flat("worker CPU, 100000 chats"),
    flat("worker CPU, a long backlog"),
    flat("ingress CPU, 1 partition"),
    flat("ingress CPU, 16 partitions"),
    flat("ingress CPU, 100000 chats"),
];

/// Within a tenth of what it is in the middle of the scale, measured in the same round.
const fn flat(row: &'static str) -> Goal {
    let middle = match row.as_bytes() {
        [b'i', ..] => "ingress CPU, 4 partitions",
        [.., b'l', b'o', b'g'] => "worker CPU, a short backlog",
        _ => "worker CPU, 4 partitions",
    };
    Goal { row, who: OURS, to: Some((middle, OURS)), at_least: false, bound: 1.1 }
}

impl Goal {
    /// What it came to, and whether that is as wanted; none where it was not measured.
    pub fn reached(&self, results: &Results) -> Option<(f64, bool)> {
        let values = match self.to {
            Some(to) => results.ratios(self.row, self.who, to)?,
            None => results.get(self.row, self.who)?.to_vec(),
        };
        let median = spread(&values)?.median;
        Some((median, if self.at_least { median >= self.bound } else { median <= self.bound }))
    }
}
