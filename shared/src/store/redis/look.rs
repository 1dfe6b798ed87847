//! What a Redis says of itself, as somebody sees it who writes nothing: for `tgw doctor`.

use std::time::Duration;

use redis::RedisError;

use super::Settings;
use crate::clock;

/// A Redis that takes longer is as good as away; a worker gives it a quarter of a second.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was found. What a server does not tell is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub version: String,
    /// `master` or `slave`.
    pub role: String,
    /// In bytes; 0 is no limit.
    pub maxmemory: u64,
    pub policy: String,
    pub loading: bool,
    pub cluster: bool,
    /// Whether each write goes to its log.
    pub appends: bool,
    /// When it saves all; none where it does not tell.
    pub saves: Option<String>,
    /// How far its clock is ahead of ours, in milliseconds.
    pub ahead_ms: i64,
}

/// The error is why Redis can't be asked.
pub async fn look(settings: Settings) -> Result<Seen, String> {
    let asked = async {
        let client = redis::Client::open(settings.0)?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let info: String = redis::cmd("INFO").query_async(&mut connection).await?;
        // A rented one often forbids it.
        let saves = redis::cmd("CONFIG").arg("GET").arg("save").query_async(&mut connection).await;
        let saves: Result<Vec<String>, RedisError> = saves;
        let before = clock::now_ms();
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut connection).await?;
        // Its answer was given somewhere between the two.
        let ours = before.midpoint(clock::now_ms());
        let ahead_ms = (seconds * 1000 + micros / 1000) as i64 - ours as i64;
        let saves = saves.ok().and_then(|pair| pair.into_iter().nth(1));
        Ok::<_, RedisError>(Seen { saves, ahead_ms, ..read(&info) })
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

fn read(info: &str) -> Seen {
    let field = |name: &str| {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_default().trim().to_owned()
    };
    Seen {
        version: field("redis_version"),
        role: field("role"),
        maxmemory: field("maxmemory").parse().unwrap_or_default(),
        policy: field("maxmemory_policy"),
        loading: field("loading") == "1",
        cluster: field("cluster_enabled") == "1",
        appends: field("aof_enabled") == "1",
        saves: None,
        ahead_ms: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_says_of_itself_is_read() {
        let info = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\nmaxmemory:1000\r\nmaxmemory_human:1K\r\n\
                    maxmemory_policy:allkeys-lru\r\nloading:0\r\naof_enabled:1\r\n";
        let seen = read(info);
        assert_eq!(
            (seen.version.as_str(), seen.maxmemory, seen.policy.as_str()),
            ("7.0.15", 1000, "allkeys-lru")
        );
        assert!(seen.appends && !seen.loading && seen.role == "master");
        assert_eq!(read(""), Seen::default());
    }
}
