//! What the figures were measured on, and a process's memory and start.

use std::process::Command;
use std::time::{Duration, Instant};

use harness::{Process, ProcessBuilder};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::message::{Wire, find};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
    pub rabbitmq: String,
    pub redis: String,
    pub date: String,
}

impl Machine {
    pub fn look(rabbitmq: String) -> Self {
        let field = |file: &str, name: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = field("/proc/meminfo", "MemTotal");
        let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        let says = |command: &str, arguments: &[&str]| {
            let output = Command::new(command).args(arguments).output().ok();
            output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
        };
        let redis = says("redis-server", &["--version"]);
        let redis = redis.split("v=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        Self {
            processor: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: (kib + (1 << 19)) >> 20,
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            rabbitmq,
            redis: redis.to_owned(),
            date: says("date", &["-u", "+%Y-%m-%d"]),
        }
    }
}

/// The CPU seconds until now of the processes whose command line or environment has these words: the broker's and the
/// store's, which are not ours to ask.
pub fn cpu_of(words: &str) -> f64 {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let ticks = processes.filter_map(|process| {
        let mut said = std::fs::read(process.join("cmdline")).ok()?;
        said.extend(std::fs::read(process.join("environ")).unwrap_or_default());
        find(&said, words.as_bytes())?;
        let stat = std::fs::read_to_string(process.join("stat")).ok()?;
        let fields = stat.rsplit_once(") ")?.1.split(' ');
        Some(fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>())
    });
    // 100 to the second, on every Linux that there is.
    ticks.sum::<f64>() / 100.0
}

/// Starts it, and waits until it listens.
pub async fn listening(who: &str, builder: ProcessBuilder) -> Process {
    let mut process = builder.start();
    let begun = Instant::now();
    while Wire::connect(&process.address()).await.is_err() {
        let ended = !process.is_running() || begun.elapsed() > Duration::from_secs(30);
        assert!(!ended, "{who} does not listen:\n{}{}", process.stdout(), process.stderr());
        sleep(Duration::from_millis(20)).await;
    }
    process
}

/// Starts it, and waits until `/ready` says 200 and that all it leans on is there, for an ingress with a spool is ready
/// without a broker; how long that took, in ms.
pub async fn start(builder: ProcessBuilder) -> (Process, f64) {
    let begun = Instant::now();
    let mut process = builder.start();
    let address = process.address();
    let request = format!("GET /ready HTTP/1.1\r\nHost: {address}\r\n\r\n");
    loop {
        assert!(
            process.is_running(),
            "it ended before it was ready:\n{}{}",
            process.stdout(),
            process.stderr()
        );
        assert!(begun.elapsed() < Duration::from_secs(30), "not ready:\n{}", process.stdout());
        if let Ok(mut wire) = Wire::connect(&address).await
            && wire.send(request.as_bytes()).await.is_ok()
            && wire.receive().await.is_ok_and(|answer| {
                answer.status() == Some(200) && find(answer.body, br#""state":"away""#).is_none()
            })
        {
            return (process, begun.elapsed().as_secs_f64() * 1000.0);
        }
        sleep(Duration::from_millis(1)).await;
    }
}
