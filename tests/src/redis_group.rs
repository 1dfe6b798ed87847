//! Redis on more than one server: a cluster, and a master with a replica that sentinels watch. All of a test's own.

use std::process::{Command, Stdio};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::group::{Group, temporary_folder};
use crate::ports::free_port;
use crate::redis_server::{Redis, RedisOptions};
use crate::wait::{LONG, wait_for};

/// A server of these that does not answer for so long is counted as down: short for a test, long for a busy machine.
const DOWN_AFTER: Duration = Duration::from_secs(3);

const SLOTS: usize = 16_384;

/// A cluster's name for one of its nodes.
#[derive(Debug)]
struct Node {
    id: String,
    bus: u16,
}

#[derive(Debug)]
pub struct RedisCluster {
    url: String,
    /// The masters, then a replica of each, where there are any; none of the one that is shared.
    pub nodes: Vec<Redis>,
    masters: usize,
}

impl RedisCluster {
    /// The one of `tests/run`, else one for this test process. Not to be stopped by a test.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<RedisCluster> = OnceCell::const_new();
        let make = || async {
            match std::env::var("TGW_TEST_REDIS_CLUSTER_URL") {
                Ok(url) => Self { url, nodes: Vec::new(), masters: 0 },
                Err(_) => Self::private(false, RedisOptions::default()).await,
            }
        };
        SHARED.get_or_init(make).await
    }

    /// Three masters, with a replica each or without.
    pub async fn private(replicas: bool, options: RedisOptions) -> Self {
        let masters = 3;
        let (mut nodes, mut names) = (Vec::new(), Vec::new());
        for _ in 0..if replicas { 2 * masters } else { masters } {
            let (node, name) = node(&options).await;
            nodes.push(node);
            names.push(name);
        }
        let scheme = nodes[0].url().split("://").next().expect("a URL");
        let user = options.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        let addresses: Vec<_> = nodes.iter().map(Redis::address).collect();
        let url = format!("{scheme}+cluster://{user}{}", addresses.join(","));
        let cluster = Self { url, nodes, masters };
        cluster.join(&names).await;
        cluster
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    async fn join(&self, names: &[Node]) {
        let share = SLOTS.div_ceil(self.masters);
        for (n, master) in self.nodes[..self.masters].iter().enumerate() {
            let (first, last) = (n * share, ((n + 1) * share).min(SLOTS) - 1);
            master.order(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await;
            master.order(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]).await;
        }
        for (other, name) in self.nodes.iter().zip(names).skip(1) {
            let (host, port) = other.address().split_once(':').expect("host:port");
            self.nodes[0].order(&["CLUSTER", "MEET", host, port, &name.bus.to_string()]).await;
        }
        let all = self.nodes.len();
        let met = |nodes: &str| nodes.lines().count() == all && !nodes.contains("handshake");
        self.each("every node knows every other", |nodes, _| met(nodes)).await;
        for (replica, name) in self.nodes[self.masters..].iter().zip(names) {
            replica.order(&["CLUSTER", "REPLICATE", &name.id]).await;
        }
        self.wait_whole().await;
    }

    /// Until every node says that all slots are served, and each replica has its master's data.
    pub async fn wait_whole(&self) {
        let replicas = self.nodes.len() - self.masters;
        self.each("the cluster is whole", |nodes, info| {
            let of_kind = |kind| nodes.lines().filter(|line| line.contains(kind)).count();
            info.contains("cluster_state:ok") && of_kind("slave") == replicas && of_kind("fail") == 0
        })
        .await;
        for replica in &self.nodes[self.masters..] {
            wait_for("a replica has its master's data", LONG, || async {
                replica.replication().await?.contains("master_link_status:up").then_some(())
            })
            .await;
        }
    }

    async fn each(&self, what: &str, holds: impl Fn(&str, &str) -> bool) {
        for node in &self.nodes {
            wait_for(what, LONG, || async {
                let nodes = node.order(&["CLUSTER", "NODES"]).await;
                let info = node.order(&["CLUSTER", "INFO"]).await;
                holds(&nodes, &info).then_some(())
            })
            .await;
        }
    }

    /// The number of the master that has the slot of this key.
    pub async fn master_of(&self, key: &str) -> usize {
        let slot = self.slot_of(key).await;
        usize::from(slot) / SLOTS.div_ceil(self.masters)
    }

    pub async fn slot_of(&self, key: &str) -> u16 {
        let mut connection: MultiplexedConnection = self.nodes[0].connect().await;
        redis::cmd("CLUSTER").arg("KEYSLOT").arg(key).query_async(&mut connection).await.expect("a slot")
    }

    /// Until that replica has taken its master's place.
    pub async fn wait_promoted(&self, replica: usize) {
        wait_for("the replica is the master", LONG, || async {
            self.nodes[replica].replication().await?.contains("role:master").then_some(())
        })
        .await;
    }

    /// Gives a slot with all its keys to another master, one step after the other, as a tool does that balances it.
    pub async fn move_slot(&self, slot: u16, from: usize, to: usize, half_way: impl AsyncFnOnce()) {
        let id = async |node: usize| {
            let id = self.nodes[node].order(&["CLUSTER", "MYID"]).await;
            id.trim_matches('"').to_owned()
        };
        let (from_id, to_id) = (id(from).await, id(to).await);
        let set = async |node: usize, words: &[&str]| {
            let slot = slot.to_string();
            let words = [&["CLUSTER", "SETSLOT", &slot], words].concat();
            self.nodes[node].order(&words).await
        };
        set(to, &["IMPORTING", &from_id]).await;
        set(from, &["MIGRATING", &to_id]).await;
        half_way().await;
        let (host, port) = self.nodes[to].address().split_once(':').expect("host:port");
        let mut connection = self.nodes[from].connect().await;
        loop {
            let mut some = redis::cmd("CLUSTER");
            some.arg("GETKEYSINSLOT").arg(slot).arg(100);
            let keys: Vec<String> = some.query_async(&mut connection).await.expect("keys");
            if keys.is_empty() {
                break;
            }
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg(host).arg(port).arg("").arg(0).arg(5000).arg("KEYS").arg(&keys);
            migrate.query_async::<()>(&mut connection).await.expect("MIGRATE");
        }
        set(to, &["NODE", &to_id]).await;
        set(from, &["NODE", &to_id]).await;
    }
}

async fn node(options: &RedisOptions) -> (Redis, Node) {
    let bus = free_port();
    let mut options = options.clone();
    let down_after = DOWN_AFTER.as_millis().to_string();
    let settings = [
        ("cluster-enabled", "yes"),
        ("cluster-port", &bus.to_string()),
        ("cluster-node-timeout", &down_after),
        ("cluster-config-file", "cluster.conf"),
        ("repl-diskless-sync-delay", "0"),
    ];
    options
        .settings
        .extend(settings.iter().flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]));
    let redis = Redis::with(options).await;
    let id = redis.order(&["CLUSTER", "MYID"]).await;
    (redis, Node { id, bus })
}

/// The name by which the sentinels know the master.
const SERVICE: &str = "main";

/// A master, its replica, and three sentinels that watch them.
#[derive(Debug)]
pub struct RedisSentinels {
    url: String,
    /// The first is the master to begin with.
    pub servers: [Redis; 2],
    sentinels: Vec<Sentinel>,
    options: RedisOptions,
    password: Option<String>,
}

#[derive(Debug)]
struct Sentinel {
    port: u16,
    _folder: TempDir,
    _group: Group,
}

impl RedisSentinels {
    /// The servers with these options; the sentinels want this password, if any.
    pub async fn start(options: RedisOptions, password: Option<&str>) -> Self {
        let servers = [Redis::with(options.clone()).await, Redis::with(options.clone()).await];
        servers[1].follow(&servers[0]).await;
        let sentinels: Vec<Sentinel> =
            (0..3).map(|_| Sentinel::start(servers[0].address(), &options, password)).collect();
        let scheme = servers[0].url().split("://").next().expect("a URL");
        let user = options.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        let at: Vec<_> = sentinels.iter().map(|it| format!("127.0.0.1:{}", it.port)).collect();
        let asks = password.map(|password| format!("?sentinelPassword={password}")).unwrap_or_default();
        let url = format!("{scheme}+sentinel://{user}{}/{SERVICE}{asks}", at.join(","));
        let this = Self { url, servers, sentinels, options, password: password.map(str::to_owned) };
        for sentinel in &this.sentinels {
            wait_for("the sentinel knows the others and the replica", LONG, || async {
                let known = sentinel.masters(&this.options, password).await?;
                (known.contains("num-other-sentinels 2") && known.contains("num-slaves 1")).then_some(())
            })
            .await;
        }
        this
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Until the second server follows the first, and the sentinels know of it.
    pub async fn wait_following(&self) {
        wait_for("the replica follows the master", 2 * LONG, || async {
            let follows = self.servers[1].replication().await?.contains("master_link_status:up");
            let mut known = follows;
            for sentinel in &self.sentinels {
                let masters = sentinel.masters(&self.options, self.password.as_deref()).await?;
                let master =
                    format!("port {}", self.servers[0].address().split(':').nth(1).expect("host:port"));
                known &= masters.lines().any(|line| line == master)
                    && masters.lines().any(|line| line == "flags master");
            }
            known.then_some(())
        })
        .await;
    }

    /// Until the second server has taken the first one's place.
    pub async fn wait_promoted(&self) {
        wait_for("the replica is the master", 2 * LONG, || async {
            self.servers[1].replication().await?.contains("role:master").then_some(())
        })
        .await;
    }
}

impl Sentinel {
    fn start(master: &str, options: &RedisOptions, password: Option<&str>) -> Self {
        let (folder, port) = (temporary_folder("sentinel"), free_port());
        let (host, master) = master.split_once(':').expect("host:port");
        let mut lines = vec![
            "bind 127.0.0.1".to_owned(),
            format!("sentinel monitor {SERVICE} {host} {master} 2"),
            format!("sentinel down-after-milliseconds {SERVICE} {}", DOWN_AFTER.as_millis()),
            format!("sentinel failover-timeout {SERVICE} 10000"),
        ];
        if let Some(password) = &options.password {
            lines.push(format!("sentinel auth-pass {SERVICE} {password}"));
        }
        if let Some(password) = password {
            lines.push(format!("requirepass {password}\nsentinel sentinel-pass {password}"));
        }
        match &options.tls {
            Some(them) => lines.push(format!(
                "port 0\ntls-port {port}\ntls-replication yes\ntls-ca-cert-file {}\ntls-cert-file {}\ntls-key-file {}",
                them.authority().display(),
                them.certificate().display(),
                them.key().display()
            )),
            None => lines.push(format!("port {port}")),
        }
        // It keeps what it learns in the same file.
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, lines.join("\n") + "\n").expect("a writable folder");
        let mut command = Command::new("redis-server");
        command.arg(file).arg("--sentinel").current_dir(folder.path());
        let group = Group::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
        Self { port, _folder: folder, _group: group }
    }

    /// What it knows of the master, in pairs of words.
    async fn masters(&self, options: &RedisOptions, password: Option<&str>) -> Option<String> {
        let user = password.map(|password| format!(":{password}@")).unwrap_or_default();
        let scheme = if options.tls.is_some() { "rediss" } else { "redis" };
        let url = format!("{scheme}://{user}127.0.0.1:{}", self.port);
        let client = match &options.tls {
            Some(certificates) => redis::Client::build_with_tls(url, certificates.for_redis()),
            None => redis::Client::open(url),
        };
        let mut connection = client.expect("a URL").get_multiplexed_async_connection().await.ok()?;
        let mut masters = redis::cmd("SENTINEL");
        let known: Vec<Vec<String>> = masters.arg("MASTERS").query_async(&mut connection).await.ok()?;
        let pairs = known.iter().flat_map(|master| master.chunks(2)).map(|pair| pair.join(" "));
        Some(pairs.collect::<Vec<_>>().join("\n"))
    }
}
