//! What a process tells of itself to an operator who asks (`tgw status`): who it is, how it is, and its metrics. It is
//! taken when somebody asks, and costs nothing else.

use std::sync::LazyLock;

use prometheus::TextEncoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::clock;
use crate::readiness::Readiness;

/// The version of these words. A reader takes this and every earlier one.
const VERSION: u32 = 1;

/// The one histogram of which the buckets are told: how long updates waited.
const TOLD_WHOLE: &str = "tgw_update_wait_seconds_bucket";

struct Process {
    id: Uuid,
    host: String,
    since_ms: u64,
}

static PROCESS: LazyLock<Process> = LazyLock::new(|| {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Process { id: Uuid::new_v4(), host: host.trim().to_owned(), since_ms: clock::now_ms() }
});

/// One process, at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    v: u32,
    /// Another one with each start.
    pub id: Uuid,
    pub host: String,
    pub pid: u32,
    /// When it was first asked, or was started: milliseconds since the epoch.
    pub since_ms: u64,
    pub at_ms: u64,
    /// As `/ready` tells it.
    pub readiness: Value,
    /// Our own metrics, in Prometheus' text format without comments.
    pub metrics: String,
    /// Of each secret that it takes from Telegram, where somebody asked for that (`proof`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
}

impl Snapshot {
    /// This process now.
    pub fn take(readiness: &Readiness) -> Self {
        let process = &*PROCESS;
        let metrics = TextEncoder::new().encode_to_string(&prometheus::gather()).unwrap_or_default();
        let ours = metrics.lines().filter(|line| {
            line.starts_with("tgw_") && (!line.contains("_bucket{") || line.starts_with(TOLD_WHOLE))
        });
        Self {
            v: VERSION,
            id: process.id,
            host: process.host.clone(),
            pid: std::process::id(),
            since_ms: process.since_ms,
            at_ms: clock::now_ms(),
            readiness: readiness.to_json(),
            metrics: ours.collect::<Vec<_>>().join("\n"),
            secrets: None,
        }
    }

    /// None where it is of a version that is not known yet.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(bytes).ok().filter(|snapshot| snapshot.v <= VERSION)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// From now on its age counts.
pub fn begin() {
    LazyLock::force(&PROCESS);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by version 1: commands of one version ask processes of another.
    const GOLDEN: &str = r#"{"v":1,"id":"00000000-0000-0000-0000-000000000007","host":"h","pid":3,"since_ms":1,"at_ms":2,"readiness":{"status":"ready"},"metrics":"tgw_x 1"}"#;

    #[test]
    fn a_snapshot_is_read_again_for_ever() {
        let snapshot = Snapshot::from_bytes(GOLDEN.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(snapshot.to_bytes()).unwrap(), GOLDEN);
        assert!(Snapshot::from_bytes(GOLDEN.replace(r#""v":1"#, r#""v":2"#).as_bytes()).is_none());
        assert!(Snapshot::from_bytes(b"{}").is_none());
    }
}
