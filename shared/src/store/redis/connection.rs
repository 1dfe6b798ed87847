//! Connections to Redis in each of its forms, and how they are made.

use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{Client, Cmd, ConnectionAddr, ConnectionInfo, Pipeline, RedisError, RedisFuture, TlsMode, Value};
use tokio::sync::Mutex;

use super::CALL;
use super::settings::{Place, Sentinels, Settings};

/// For making a connection, TLS and password included: longer than a call, which does not wait for it.
const CONNECT: Duration = Duration::from_secs(1);

/// Within a cluster: while one of its nodes is connected to anew, the library holds the others' calls back.
const CONNECT_NODE: Duration = Duration::from_millis(500);

/// For the sentinels to name the master, and for that to say that it is one.
const FIND: Duration = Duration::from_secs(2);

/// A call to a cluster that was moved, asked elsewhere or told to wait is made again so often, within its time.
const MOVES: u32 = 4;
const MOVE_WAIT_MS: (u64, u64) = (10, 50);

/// Cheap to clone: all clones are one connection.
#[derive(Clone)]
pub(super) enum Connection {
    /// To one server, made again after each loss.
    One(ConnectionManager),
    /// To each node of a cluster.
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(commands, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// Makes connections to the place that the settings name.
pub(super) enum Connector {
    One(Box<Client>),
    Sentinels(Box<Mutex<SentinelClient>>),
    Cluster(Box<ClusterClient>),
}

/// A connection, and whom it leads to, where that can change.
pub(super) struct Connected {
    pub connection: Connection,
    pub master: Option<ConnectionAddr>,
}

impl Connector {
    pub fn new(settings: Settings) -> Result<Self, RedisError> {
        let Settings { place, certificates } = settings;
        match place {
            Place::One(one) => Ok(Self::One(Box::new(match certificates {
                Some(certificates) => Client::build_with_tls(one, certificates)?,
                None => Client::open(one)?,
            }))),
            Place::Sentinels(them) => {
                let mut builder = sentinels(&them)?;
                if let Some(certificates) = certificates {
                    builder = builder
                        .set_client_to_redis_certificates(certificates.clone())
                        .set_client_to_sentinel_certificates(certificates);
                }
                Ok(Self::Sentinels(Box::new(Mutex::new(builder.build()?))))
            }
            Place::Cluster(nodes) => {
                let mut builder = ClusterClient::builder(nodes)
                    .connection_timeout(CONNECT_NODE)
                    .response_timeout(CALL)
                    .retries(MOVES)
                    .min_retry_wait(MOVE_WAIT_MS.0)
                    .max_retry_wait(MOVE_WAIT_MS.1);
                if let Some(certificates) = certificates {
                    builder = builder.certs(certificates);
                }
                Ok(Self::Cluster(Box::new(builder.build()?)))
            }
        }
    }

    /// A connection to one server is made when it is first used.
    pub fn at_once(&self) -> Result<Option<Connection>, RedisError> {
        match self {
            Self::One(client) => manager(client).map(Some),
            Self::Sentinels(_) | Self::Cluster(_) => Ok(None),
        }
    }

    pub async fn connect(&self) -> Result<Connected, RedisError> {
        match self {
            Self::One(client) => Ok(Connected { connection: manager(client)?, master: None }),
            Self::Sentinels(_) => {
                let client = self.master().await?;
                let master = Some(client.get_connection_info().addr().clone());
                Ok(Connected { connection: manager(&client)?, master })
            }
            Self::Cluster(client) => {
                let connection = Connection::Cluster(client.get_async_connection().await?);
                Ok(Connected { connection, master: None })
            }
        }
    }

    /// The one server's client; with sentinels, that of the server that they call the master and that agrees.
    pub async fn master(&self) -> Result<Client, RedisError> {
        match self {
            Self::One(client) => Ok(Client::clone(client)),
            Self::Sentinels(sentinels) => {
                let mut sentinels = sentinels.lock().await;
                // One that hangs would be waited for at each step of the way.
                match tokio::time::timeout(FIND, sentinels.async_get_client()).await {
                    Ok(found) => found,
                    Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
                }
            }
            Self::Cluster(_) => {
                Err((redis::ErrorKind::InvalidClientConfig, "a cluster has many masters").into())
            }
        }
    }
}

fn manager(client: &Client) -> Result<Connection, RedisError> {
    let config = ConnectionManagerConfig::new()
        // `Store::guard` gives each call its time.
        .set_response_timeout(None)
        .set_connection_timeout(Some(CONNECT))
        .set_number_of_retries(0);
    ConnectionManager::new_lazy_with_config(client.clone(), config).map(Connection::One)
}

fn sentinels(them: &Sentinels) -> Result<SentinelClientBuilder, RedisError> {
    let at = them.at.iter().map(ConnectionInfo::addr).cloned();
    let master = them.master.redis_settings();
    let mut builder = SentinelClientBuilder::new(at, &them.service, SentinelServerType::Master)?
        .set_client_to_redis_db(master.db())
        .set_client_to_redis_protocol(master.protocol());
    if let Some(user) = master.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = master.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(user) = &them.user {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = them.password() {
        builder = builder.set_client_to_sentinel_password(password);
    }
    Ok(if them.tls { builder.set_client_to_redis_tls_mode(TlsMode::Secure) } else { builder })
}
