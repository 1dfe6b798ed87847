//! The load: closed loops for throughput, where each connection has one request under way, as Telegram's have (facts
//! T1); and an open loop for latencies, where requests fall due at a fixed rate whatever becomes of those before, and
//! are timed from when they fell due: who is slow is not asked less often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use crate::message::Wire;
use crate::updates::{MANY, PATH, Updates};

/// Not counted, before what is.
const WARM_UP: Duration = Duration::from_millis(400);

/// Posts to one address. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Target {
    pub who: String,
    pub address: String,
}

impl Target {
    pub fn new(who: &str, address: &str) -> Self {
        Self { who: who.to_owned(), address: address.to_owned() }
    }

    /// Answers a second, over so many connections for so long; and how many it answered in all.
    pub async fn throughput(&self, connections: u64, time: Duration) -> (f64, u64) {
        let updates = Arc::new(Updates::new(MANY, 1000));
        let (next, answered, stop) = Default::default();
        let (next, answered): (Arc<AtomicU64>, Arc<AtomicU64>) = (next, answered);
        let stop: Arc<AtomicBool> = stop;
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let (it, updates) = (self.clone(), updates.clone());
            let (next, answered, stop) = (next.clone(), answered.clone(), stop.clone());
            tasks.spawn(async move {
                let mut wire = it.connect().await;
                while !stop.load(Ordering::Relaxed) {
                    let request = updates.request(next.fetch_add(1, Ordering::Relaxed), PATH);
                    it.post(&mut wire, &request).await;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        sleep(WARM_UP).await;
        let (begun, before) = (Instant::now(), answered.load(Ordering::Relaxed));
        sleep(time).await;
        let rate = (answered.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        all(tasks).await;
        (rate, answered.load(Ordering::Relaxed))
    }

    /// Posts them all, each until it is answered.
    pub async fn post_all(&self, updates: &Updates, count: u64, connections: u64) {
        let (updates, next) = (Arc::new(updates.clone()), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let (it, updates, next) = (self.clone(), updates.clone(), next.clone());
            tasks.spawn(async move {
                let mut wire = it.connect().await;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    it.post(&mut wire, &updates.request(number, PATH)).await;
                }
            });
        }
        all(tasks).await;
    }

    /// Latencies at so many requests a second.
    pub async fn latencies(&self, rate: f64, time: Duration, connections: u64) -> Latencies {
        let schedule = Schedule::new(rate, time);
        let updates = Arc::new(Updates::new(schedule.count, 1000));
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let (it, updates, schedule) = (self.clone(), updates.clone(), schedule.clone());
            tasks.spawn(async move {
                let mut wire = it.connect().await;
                let mut latencies = Vec::new();
                while let Some((number, due)) = schedule.next().await {
                    it.post(&mut wire, &updates.request(number, PATH)).await;
                    latencies.push(due.elapsed());
                }
                latencies
            });
        }
        Latencies::of(all(tasks).await.concat())
    }

    async fn connect(&self) -> Wire {
        Wire::connect(&self.address).await.unwrap_or_else(|error| panic!("{}: {error}", self.who))
    }

    async fn post(&self, wire: &mut Wire, request: &[u8]) {
        wire.send(request).await.unwrap_or_else(|error| panic!("{}: {error}", self.who));
        let answer = wire.receive().await.unwrap_or_else(|error| panic!("{}: {error}", self.who));
        assert_eq!(answer.status(), Some(200), "{}: {}", self.who, answer.line);
    }
}

async fn all<T: Send + 'static>(mut tasks: JoinSet<T>) -> Vec<T> {
    let mut results = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        results.push(ended.expect("no connection's task panics"));
    }
    results
}

/// When requests fall due: so many in each millisecond, which is what timers can do. Shared by all who make them.
#[derive(Clone, Debug)]
pub struct Schedule {
    begins: Instant,
    rate: f64,
    pub count: u64,
    next: Arc<AtomicU64>,
}

impl Schedule {
    pub fn new(rate: f64, time: Duration) -> Self {
        // After the connections are made.
        let begins = Instant::now() + Duration::from_millis(300);
        Self { begins, rate, count: (rate * time.as_secs_f64()) as u64, next: Arc::default() }
    }

    /// The next one's number, and when it fell due; waits for that.
    pub async fn next(&self) -> Option<(u64, Instant)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.count {
            return None;
        }
        let millis = (number as f64 / self.rate * 1000.0) as u64;
        let due = self.begins + Duration::from_millis(millis);
        sleep_until(due.into()).await;
        Some((number, due))
    }
}

/// In milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latencies {
    pub p50: f64,
    pub p99: f64,
}

impl Latencies {
    pub fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
        Self { p50: at(0.5), p99: at(0.99) }
    }
}
