//! What a Redis says of itself, as somebody sees it who writes nothing: for `tgw doctor`.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, cmd};

use super::Settings;
use super::connection::Connector;
use crate::clock;

/// A Redis that takes longer is as good as away; a worker gives it a quarter of a second.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    One(Seen),
    /// The one that the sentinels call the master.
    Master(Seen),
    /// The masters that answer.
    Cluster(Vec<Seen>),
}

/// What a server does not tell is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its host and port.
    pub at: String,
    pub version: String,
    /// `master` or `slave`.
    pub role: String,
    /// In bytes; 0 is no limit.
    pub maxmemory: u64,
    pub policy: String,
    pub loading: bool,
    /// It is a node of a cluster.
    pub cluster: bool,
    /// `ok`, or `fail` where some slots have no server; asked of a cluster only.
    pub cluster_state: String,
    /// Whether each write goes to its log.
    pub appends: bool,
    /// When it saves all; none where it does not tell.
    pub saves: Option<String>,
    /// How far its clock is ahead of ours, in milliseconds.
    pub ahead_ms: i64,
}

/// The error is why Redis can't be asked.
pub async fn look(settings: Settings) -> Result<Looked, String> {
    let asked = async {
        let connector = Connector::new(settings)?;
        match &connector {
            Connector::One(client) => one(client).await.map(Looked::One),
            Connector::Sentinels(_) => one(&connector.master().await?).await.map(Looked::Master),
            Connector::Cluster(client) => {
                cluster(client.get_async_connection().await?).await.map(Looked::Cluster)
            }
        }
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(looked)) => Ok(looked),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

async fn one(client: &Client) -> Result<Seen, RedisError> {
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await?;
    let info: String = cmd("INFO").query_async(&mut connection).await?;
    // A rented one often forbids it.
    let saves: Result<Vec<String>, _> = save().query_async(&mut connection).await;
    let before = clock::now_ms();
    let time = cmd("TIME").query_async(&mut connection).await?;
    let ahead_ms = ahead(time, before);
    let at = client.get_connection_info().addr().to_string();
    Ok(Seen { at, saves: saves.ok().and_then(|pair| pair.into_iter().nth(1)), ahead_ms, ..read(&info) })
}

async fn cluster(mut connection: ClusterConnection) -> Result<Vec<Seen>, RedisError> {
    let info: BTreeMap<String, String> = of_each(&mut connection, cmd("INFO")).await?;
    let state: BTreeMap<String, String> = of_each(&mut connection, cmd("CLUSTER").arg("INFO").take()).await?;
    let saves: BTreeMap<String, Vec<String>> = of_each(&mut connection, save()).await.unwrap_or_default();
    let before = clock::now_ms();
    let times: BTreeMap<String, (u64, u64)> = of_each(&mut connection, cmd("TIME")).await?;
    let seen = info.into_iter().map(|(at, info)| Seen {
        cluster_state: state.get(&at).map(|state| field(state, "cluster_state")).unwrap_or_default(),
        saves: saves.get(&at).and_then(|pair| pair.get(1).cloned()),
        ahead_ms: times.get(&at).map_or(0, |time| ahead(*time, before)),
        at,
        ..read(&info)
    });
    Ok(seen.collect())
}

/// Each master's answer, by its address.
async fn of_each<T: FromRedisValue>(
    connection: &mut ClusterConnection,
    command: Cmd,
) -> Result<BTreeMap<String, T>, RedisError> {
    let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    Ok(BTreeMap::from_redis_value(connection.route_command(command, masters).await?)?)
}

fn save() -> Cmd {
    cmd("CONFIG").arg("GET").arg("save").take()
}

/// Its answer was given somewhere between `before_ms` and now.
fn ahead((seconds, micros): (u64, u64), before_ms: u64) -> i64 {
    let ours = before_ms.midpoint(clock::now_ms());
    (seconds * 1000 + micros / 1000) as i64 - ours as i64
}

fn field(info: &str, name: &str) -> String {
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_default().trim().to_owned()
}

fn read(info: &str) -> Seen {
    let field = |name| field(info, name);
    Seen {
        version: field("redis_version"),
        role: field("role"),
        maxmemory: field("maxmemory").parse().unwrap_or_default(),
        policy: field("maxmemory_policy"),
        loading: field("loading") == "1",
        cluster: field("cluster_enabled") == "1",
        appends: field("aof_enabled") == "1",
        ..Seen::default()
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
