//! A Redis of the tests' own, in a temporary folder, on 127.0.0.1. It writes each change to its file
//! before it answers, so that a test can kill it and have the same data back; it waits for no fsync, which
//! beside a busy RabbitMQ can take longer than the gateway waits for Redis.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::certificates::Certificates;
use crate::client::trust_ring;
use crate::group::{Group, temporary_folder, temporary_folder_in};
use crate::ports::free_port;
use crate::wait::wait_for;

const START: Duration = Duration::from_secs(30);

/// For one connection or one command of a test.
const PATIENCE: Duration = Duration::from_secs(10);

/// In bytes: more than all that the tests of a file write.
const ROOM: u64 = 1 << 30;

#[derive(Debug)]
pub struct Redis {
    url: String,
    server: Option<Server>,
}

/// How a server of a test's own differs from a plain one.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    pub password: Option<String>,
    /// Nothing but TLS, and only for clients with a certificate, as is Redis's default.
    pub tls: Option<Arc<Certificates>>,
    /// More of its settings, as on its command line.
    pub settings: Vec<String>,
}

#[derive(Debug)]
struct Server {
    folder: TempDir,
    port: u16,
    options: RedisOptions,
    group: Option<Group>,
}

impl Redis {
    /// The one of `tests/run`, else one for this test process. Not to be stopped by a test.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Redis> = OnceCell::const_new();
        let make = || async {
            match std::env::var("TGW_TEST_REDIS_URL") {
                Ok(url) => Self { url, server: None },
                Err(_) => Self::private().await,
            }
        };
        SHARED.get_or_init(make).await
    }

    /// One of the test's own, to break as it likes.
    pub async fn private() -> Self {
        Self::with(RedisOptions::default()).await
    }

    pub async fn with(options: RedisOptions) -> Self {
        let port = free_port();
        let scheme = if options.tls.is_some() { "rediss" } else { "redis" };
        let user = options.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        let url = format!("{scheme}://{user}127.0.0.1:{port}");
        let server = Server { folder: folder(), port, options, group: None };
        let mut redis = Self { url, server: Some(server) };
        redis.start().await;
        redis
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `host:port`, for a [`crate::Proxy`].
    #[must_use]
    pub fn address(&self) -> &str {
        let (_, rest) = self.url.split_once("://").expect("a URL");
        rest.rsplit_once('@').map_or(rest, |(_, address)| address).trim_end_matches('/')
    }

    /// On the same port and data as before. Ends when it answers PING.
    pub async fn start(&mut self) {
        let server = self.own();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "no"]);
        command.arg("--dir").arg(server.folder.path()).args(server.options.arguments(server.port));
        server.group = Some(Group::spawn(command.stdout(Stdio::null()).stderr(Stdio::null())));
        let this = &*self;
        wait_for("Redis answers PING", START, || async move { this.try_connect().await.map(drop) }).await;
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&mut self) {
        if let Some(mut group) = self.own().group.take() {
            group.signal(Signal::TERM);
            group.wait_exit("Redis ends after SIGTERM", START).await;
        }
    }

    pub fn kill(&mut self) {
        self.own().group = None;
    }

    /// Killed, and started again with nothing in it.
    pub async fn restart_empty(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.own().folder.path().join("appendonlydir")).expect("its data");
        self.start().await;
    }

    /// Follows `master` from now on, and is read-only; ends when it has the same data.
    pub async fn follow(&self, master: &Self) {
        let (host, port) = master.address().split_once(':').expect("host:port");
        if let Some(password) = self.server.as_ref().and_then(|server| server.options.password.as_deref()) {
            self.order(&["CONFIG", "SET", "masterauth", password]).await;
        }
        self.replica_of(host, port).await;
        wait_for("the replica has its master's data", START, || async {
            let mut connection = self.connect().await;
            let role: redis::Value = redis::cmd("ROLE").query_async(&mut connection).await.ok()?;
            format!("{role:?}").contains("connected").then_some(())
        })
        .await;
    }

    /// A command of a test that arranges servers; its answer as text.
    pub async fn order(&self, words: &[&str]) -> String {
        let mut connection = self.connect().await;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let answer: redis::Value = command.query_async(&mut connection).await.unwrap_or_else(|error| {
            panic!("{words:?}: {error}");
        });
        match answer {
            redis::Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            redis::Value::VerbatimString { text, .. } => text,
            other => format!("{other:?}"),
        }
    }

    /// What it says of its master or its replicas. Nothing where it cut the connection over that: a sentinel that changes
    /// a server's role kills its clients in the same breath (`CLIENT KILL TYPE NORMAL`, in its source).
    pub async fn replication(&self) -> Option<String> {
        let mut connection = self.connect().await;
        redis::cmd("INFO").arg("replication").query_async(&mut connection).await.ok()
    }

    /// Follows nobody any more, and takes writes.
    pub async fn promote(&self) {
        self.replica_of("NO", "ONE").await;
    }

    async fn replica_of(&self, host: &str, port: &str) {
        let mut connection = self.connect().await;
        let mut command = redis::cmd("REPLICAOF");
        command.arg(host).arg(port).query_async::<()>(&mut connection).await.expect("REPLICAOF");
    }

    /// Takes connections and answers nothing, as a machine that swaps does.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    /// A connection for a test that looks at keys or sets them.
    pub async fn connect(&self) -> MultiplexedConnection {
        wait_for("the test's Redis answers", START, || self.try_connect()).await
    }

    /// Every key that contains `part`, and its time to live in seconds (-1: for ever).
    pub async fn keys(&self, part: &str) -> Vec<(String, i64)> {
        let mut connection = self.connect().await;
        let names: Vec<String> = connection.keys(format!("*{part}*")).await.expect("KEYS is allowed here");
        let mut keys = Vec::new();
        for name in names {
            let ttl = connection.ttl(&name).await.expect("TTL is allowed here");
            keys.push((name, ttl));
        }
        keys
    }

    async fn try_connect(&self) -> Option<MultiplexedConnection> {
        let certificates = self.server.as_ref().and_then(|server| server.options.tls.as_deref());
        let client = match certificates {
            Some(certificates) => {
                trust_ring();
                redis::Client::build_with_tls(self.url.as_str(), certificates.for_redis())
            }
            None => redis::Client::open(self.url.as_str()),
        }
        .expect("a Redis URL");
        // Longer than the library's own, on a busy machine.
        let patient = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await.ok()?;
        redis::cmd("PING").query_async::<String>(&mut connection).await.ok()?;
        Some(connection)
    }

    fn signal(&mut self, signal: Signal) {
        self.own().group.as_mut().expect("it runs").signal(signal);
    }

    fn own(&mut self) -> &mut Server {
        self.server.as_mut().expect("only a private Redis is the test's to start and stop")
    }
}

/// In memory where there is room: a write to Redis' file can wait behind an fsync of another process to the same disk, and
/// the gateway waits 250 ms for Redis. What was written outlives the process that wrote it in either place.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let is_roomy = rustix::fs::statvfs(memory).is_ok_and(|it| it.f_bavail * it.f_frsize >= ROOM);
    if is_roomy { temporary_folder_in(memory, "redis") } else { temporary_folder("redis") }
}

impl RedisOptions {
    fn arguments(&self, port: u16) -> Vec<String> {
        let mut arguments = self.settings.clone();
        let mut set = |name: &str, value: &str| {
            arguments.extend([format!("--{name}"), value.to_owned()]);
        };
        if let Some(password) = &self.password {
            set("requirepass", password);
            set("masterauth", password);
        }
        match &self.tls {
            Some(certificates) => {
                set("port", "0");
                set("tls-port", &port.to_string());
                set("tls-ca-cert-file", &certificates.authority().display().to_string());
                set("tls-cert-file", &certificates.certificate().display().to_string());
                set("tls-key-file", &certificates.key().display().to_string());
                set("tls-replication", "yes");
                set("tls-cluster", "yes");
            }
            None => set("port", &port.to_string()),
        }
        arguments
    }
}
