//! From two observations to what is told: what is, and how fast it goes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use shared::clock;
use shared::snapshot::Snapshot;

use super::metrics::{by, sum};
use super::observe::{Observed, Queues, held, is_ingress, is_worker};

/// What `--json` prints. Rates are over the time between the two observations.
#[derive(Debug, Serialize)]
pub struct View {
    pub at: String,
    pub seconds: f64,
    pub flow: Flow,
    pub lag: Lag,
    /// Ready in the queues; none where they can't be seen.
    pub ready: Option<u64>,
    pub in_hand: u64,
    /// Of the oldest update in a worker's hand or in a spool, or in the file of a gateway that does not run. What waits at
    /// the broker has no age here: it could not be told without taking it.
    pub oldest_seconds: Option<u64>,
    pub dead_letters: Option<u64>,
    /// A tool has them in hand, so that the broker can't count them.
    pub dead_letters_held: bool,
    pub parked_chats: u64,
    pub bulk: Bulk,
    pub spool: Spool,
    pub services: Vec<Service>,
    pub workers: Vec<Worker>,
    pub ingresses: Vec<Ingress>,
    pub partitions: Vec<Partition>,
    /// What could not be seen.
    pub missing: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Flow {
    /// Updates that were taken from Telegram.
    pub in_per_second: f64,
    /// Updates that ended, as done or as dead.
    pub out_per_second: f64,
    pub dead_per_second: f64,
    /// Calls of the Bot API.
    pub calls_per_second: f64,
}

/// From an update's receipt to its turn, of those that had it between the observations.
#[derive(Debug, Serialize)]
pub struct Lag {
    pub mean_seconds: Option<f64>,
    /// 99 of 100 waited no longer than this bound of the histogram.
    pub p99_seconds: Option<f64>,
}

/// Services' messages that wait for Telegram's limit on bulk; 0 while no worker dispatches them.
#[derive(Debug, Serialize)]
pub struct Bulk {
    pub notifications: u64,
    pub broadcasts: u64,
}

#[derive(Debug, Default, Serialize)]
pub struct Spool {
    pub updates: u64,
    pub letters: u64,
    pub bytes: u64,
    pub oldest_seconds: u64,
}

#[derive(Debug, Serialize)]
pub struct Service {
    pub service: String,
    /// Of how many workers its breaker is open.
    pub breakers_open: u64,
    pub calls_per_second: f64,
    pub failed_per_second: f64,
    pub mean_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
pub struct Worker {
    pub name: String,
    pub ready: bool,
    /// What it leans on and is not well.
    pub trouble: Vec<String>,
    pub partitions: Vec<u16>,
    pub in_hand: u64,
    pub out_per_second: f64,
    pub parked_chats: u64,
    pub oldest_seconds: u64,
    pub up_seconds: u64,
}

#[derive(Debug, Serialize)]
pub struct Ingress {
    pub name: String,
    pub ready: bool,
    pub trouble: Vec<String>,
    pub in_per_second: f64,
    pub spool: Spool,
    pub up_seconds: u64,
}

#[derive(Debug, Serialize)]
pub struct Partition {
    pub partition: u16,
    pub ready: Option<u64>,
    pub in_hand: Option<u64>,
    /// The worker that has it, if it answered.
    pub owner: Option<String>,
    /// None where that can't be seen.
    pub is_owned: Option<bool>,
}

/// The processes that were there both times, and the time between.
struct Rates<'a> {
    pairs: Vec<(&'a Snapshot, &'a Snapshot)>,
    seconds: f64,
}

impl<'a> Rates<'a> {
    fn new(before: &'a Observed, now: &'a Observed) -> Self {
        let earlier = |it: &Snapshot| before.processes.iter().find(|known| known.id == it.id);
        let pairs = now.processes.iter().filter_map(|it| Some((earlier(it)?, it))).collect();
        Self { pairs, seconds: (now.at - before.at).as_secs_f64().max(0.001) }
    }

    /// How much a counter grew, over all processes.
    fn grew(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.pairs.iter().map(|(before, now)| growth(before, now, name, labels)).sum()
    }

    fn of(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        rounded(self.grew(name, labels) / self.seconds)
    }

    fn of_one(&self, process: &Snapshot, name: &str, labels: &[(&str, &str)]) -> f64 {
        let pair = self.pairs.iter().find(|(_, now)| now.id == process.id);
        rounded(pair.map_or(0.0, |(before, now)| growth(before, now, name, labels)) / self.seconds)
    }

    fn mean(&self, histogram: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let count = self.grew(&format!("{histogram}_count"), labels);
        (count > 0.0).then(|| thousandths(self.grew(&format!("{histogram}_sum"), labels) / count))
    }

    /// The least bound under which 99 of 100 were; none where none was, or they were over the last one.
    fn p99(&self, histogram: &str) -> Option<f64> {
        let bucket = format!("{histogram}_bucket");
        let all = self.grew(&format!("{histogram}_count"), &[]);
        let bounds = self.pairs.iter().flat_map(|(_, now)| by(&now.metrics, &bucket, "le", &[]).into_keys());
        let bounds: BTreeSet<String> = bounds.collect();
        let enough = |bound: &&String| self.grew(&bucket, &[("le", bound)]) >= all * 0.99;
        let least = bounds.iter().filter(enough).filter_map(|bound| bound.parse::<f64>().ok());
        least.filter(|bound| bound.is_finite()).min_by(f64::total_cmp).filter(|_| all > 0.0)
    }
}

/// A counter of a process; the process is the same, so it never goes back.
fn growth(before: &Snapshot, now: &Snapshot, name: &str, labels: &[(&str, &str)]) -> f64 {
    (sum(&now.metrics, name, labels) - sum(&before.metrics, name, labels)).max(0.0)
}

fn rounded(rate: f64) -> f64 {
    // The sum of nothing is -0.0, and would be printed so.
    (rate * 10.0).round() / 10.0 + 0.0
}

fn thousandths(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// What an ingress answered 200 to and kept.
const TAKEN: [&str; 3] = ["accepted", "spooled", "malformed"];

impl View {
    pub fn of(before: &Observed, now: &Observed) -> Self {
        let rates = Rates::new(before, now);
        let total =
            |name: &str| now.processes.iter().map(|it| sum(&it.metrics, name, &[])).sum::<f64>() as u64;
        let workers: Vec<Worker> =
            now.processes.iter().filter(|it| is_worker(it)).map(|it| worker(it, &rates, now.at_ms)).collect();
        let ingresses: Vec<Ingress> = now
            .processes
            .iter()
            .filter(|it| is_ingress(it))
            .map(|it| ingress(it, &rates, now.at_ms))
            .collect();
        let partitions = partitions(now);
        let ready = partitions.iter().map(|it| it.ready).collect::<Vec<_>>();
        let spooled = ingresses.iter().map(|it| it.spool.oldest_seconds);
        let at_rest = match &now.queues {
            Queues::Embedded(depth) => depth.oldest_ms.map(|ms| now.at_ms.saturating_sub(ms) / 1000),
            _ => None,
        };
        let oldest = workers.iter().map(|it| it.oldest_seconds).chain(spooled).chain(at_rest).max();
        let (dead_letters, dead_letters_held) = match &now.queues {
            Queues::RabbitMq { depths, .. } => (depths.letters.map(u64::from), depths.letters_held),
            Queues::Embedded(depth) => (Some(depth.letters), false),
            Queues::Unseen => (None, false),
        };
        Self {
            at: clock::rfc3339(now.at_ms),
            seconds: thousandths(rates.seconds),
            flow: Flow {
                in_per_second: rounded(
                    TAKEN.iter().map(|it| rates.of("tgw_ingress_requests_total", &[("outcome", it)])).sum(),
                ),
                out_per_second: rates.of("tgw_updates_total", &[]),
                dead_per_second: rates.of("tgw_updates_total", &[("outcome", "dead")]),
                calls_per_second: rates.of("tgw_telegram_seconds_count", &[]),
            },
            lag: Lag {
                mean_seconds: rates.mean("tgw_update_wait_seconds", &[]),
                p99_seconds: rates.p99("tgw_update_wait_seconds"),
            },
            ready: (!ready.is_empty()).then(|| ready.into_iter().flatten().sum()),
            in_hand: workers.iter().map(|it| it.in_hand).sum(),
            oldest_seconds: oldest,
            dead_letters,
            dead_letters_held,
            parked_chats: total("tgw_chats_parked"),
            bulk: Bulk { notifications: bulk(now, "notifications"), broadcasts: bulk(now, "broadcasts") },
            spool: Spool {
                updates: ingresses.iter().map(|it| it.spool.updates).sum(),
                letters: ingresses.iter().map(|it| it.spool.letters).sum(),
                bytes: ingresses.iter().map(|it| it.spool.bytes).sum(),
                oldest_seconds: ingresses.iter().map(|it| it.spool.oldest_seconds).max().unwrap_or(0),
            },
            services: services(now, &rates),
            workers,
            ingresses,
            partitions,
            missing: now.missing.clone(),
        }
    }
}

fn bulk(now: &Observed, queue: &str) -> u64 {
    now.processes.iter().map(|it| sum(&it.metrics, "tgw_bulk_waiting", &[("queue", queue)])).sum::<f64>()
        as u64
}

fn name(process: &Snapshot) -> String {
    format!("{}:{}", process.host, process.pid)
}

fn is_ready(process: &Snapshot) -> bool {
    process.readiness["status"] == "ready"
}

/// What a process leans on and that is not as it should be, in the words of its `/ready`.
fn trouble(process: &Snapshot) -> Vec<String> {
    let all = process.readiness["dependencies"].as_object();
    let all = all.into_iter().flatten().filter_map(|(name, it)| Some((name, it["state"].as_str()?)));
    let well = |state: &str| matches!(state, "up" | "embedded" | "empty" | "right" | "ok");
    all.filter(|(_, state)| !well(state)).map(|(name, state)| format!("{name} {state}")).collect()
}

fn worker(process: &Snapshot, rates: &Rates<'_>, now_ms: u64) -> Worker {
    let metrics = &process.metrics;
    let mut partitions = held(process);
    partitions.sort_unstable();
    Worker {
        name: name(process),
        ready: is_ready(process),
        trouble: trouble(process),
        partitions,
        in_hand: sum(metrics, "tgw_partition_updates", &[("state", "in_hand")]) as u64,
        out_per_second: rates.of_one(process, "tgw_updates_total", &[]),
        parked_chats: sum(metrics, "tgw_chats_parked", &[]) as u64,
        oldest_seconds: sum(metrics, "tgw_update_oldest_seconds", &[]) as u64,
        up_seconds: now_ms.saturating_sub(process.since_ms) / 1000,
    }
}

fn ingress(process: &Snapshot, rates: &Rates<'_>, now_ms: u64) -> Ingress {
    let metrics = &process.metrics;
    let taken =
        TAKEN.iter().map(|it| rates.of_one(process, "tgw_ingress_requests_total", &[("outcome", it)]));
    let number = |name: &str, labels: &[(&str, &str)]| sum(metrics, name, labels) as u64;
    Ingress {
        name: name(process),
        ready: is_ready(process),
        trouble: trouble(process),
        in_per_second: rounded(taken.sum()),
        spool: Spool {
            updates: number("tgw_spool_records", &[("what", "updates")]),
            letters: number("tgw_spool_records", &[("what", "letters")]),
            bytes: number("tgw_spool_bytes", &[]),
            oldest_seconds: number("tgw_spool_oldest_seconds", &[]),
        },
        up_seconds: now_ms.saturating_sub(process.since_ms) / 1000,
    }
}

fn services(now: &Observed, rates: &Rates<'_>) -> Vec<Service> {
    let called = |it: &Snapshot| by(&it.metrics, "tgw_service_seconds_count", "service", &[]).into_keys();
    let names: BTreeSet<String> = now.processes.iter().flat_map(called).collect();
    let service = |service: String| {
        let label = ("service", service.as_str());
        let open = now.processes.iter().map(|it| sum(&it.metrics, "tgw_service_breaker_open", &[label]));
        Service {
            breakers_open: open.sum::<f64>() as u64,
            calls_per_second: rates.of("tgw_service_seconds_count", &[label]),
            failed_per_second: rates.of("tgw_service_seconds_count", &[label, ("outcome", "failed")]),
            mean_seconds: rates.mean("tgw_service_seconds", &[label]),
            service: service.clone(),
        }
    };
    names.into_iter().map(service).collect()
}

fn partitions(now: &Observed) -> Vec<Partition> {
    let mut owners: BTreeMap<u16, (&Snapshot, u64)> = BTreeMap::new();
    for process in &now.processes {
        let in_hand = by(&process.metrics, "tgw_partition_updates", "partition", &[("state", "in_hand")]);
        let numbered =
            in_hand.into_iter().filter_map(|(number, many)| Some((number.parse().ok()?, many as u64)));
        owners.extend(numbered.map(|(number, many): (u16, u64)| (number, (process, many))));
    }
    let waiting: Vec<Option<u64>> = match &now.queues {
        Queues::RabbitMq { depths, .. } => depths.ready.iter().map(|ready| ready.map(u64::from)).collect(),
        Queues::Embedded(depth) => depth.waiting.iter().copied().map(Some).collect(),
        Queues::Unseen => Vec::new(),
    };
    let partition = |(number, waiting): (usize, Option<u64>)| {
        let number = number as u16;
        let owner = owners.get(&number);
        let in_hand = owner.map(|(_, in_hand)| *in_hand);
        let (ready, is_owned) = match &now.queues {
            Queues::RabbitMq { ownerless, .. } => (waiting, Some(!ownerless.contains(&number))),
            // Its file counts what is in hand too.
            _ => (waiting.map(|all| all.saturating_sub(in_hand.unwrap_or(0))), Some(owner.is_some())),
        };
        Partition { partition: number, ready, in_hand, owner: owner.map(|(it, _)| name(it)), is_owned }
    };
    waiting.into_iter().enumerate().map(partition).collect()
}
