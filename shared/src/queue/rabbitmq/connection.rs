//! One supervised connection: connect, declare the topology, hand it over, wait for its end, again.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::{Channel, Connection, ConnectionProperties, ConnectionState, ErrorKind, Event};
use tokio::sync::watch;

use super::topology::{self, TopologyError, closing_code};
use super::{Link, Need, Settings};
use crate::events;
use crate::readiness::Readiness;
use crate::retry::Backoff;

/// A try to connect takes no longer than this; a host that swallows packets would else hold it for minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait between two tries, but for its jitter. The spool's patience with other ingresses counts on it.
const RETRY: Duration = Duration::from_secs(1);

/// A link's end that lapin does not announce (a channel closed by the broker) is found within this.
const LOOK: Duration = Duration::from_millis(250);

/// What a supervisor tells the world about its link.
pub(super) struct Teller {
    pub role: &'static str,
    pub link: watch::Sender<Link>,
    pub readiness: Readiness,
    pub need: Need,
}

impl Teller {
    pub fn tell(&self, link: Link) {
        let may = self.need == Need::May;
        let (word, serves) = match link {
            Link::Away => ("away", may),
            Link::Up => ("up", true),
            Link::Blocked => ("blocked", may),
            Link::Disagrees(_) => ("PARTITIONS disagrees", false),
        };
        self.readiness.set(self.role, word, serves);
        self.link.send_replace(link);
    }
}

/// Keeps a connection up for as long as anybody listens to `teller`. `serve` is given each connection and
/// returns when it can no longer be used.
pub(super) async fn supervise<F>(
    settings: Settings,
    teller: Teller,
    mut serve: impl FnMut(Arc<Connection>) -> F,
) where
    F: Future<Output = String>,
{
    let fresh = || Backoff::new(Duration::from_millis(100), RETRY);
    let (mut waits, mut tries) = (fresh(), 0);
    events::queue_begun(settings.partitions);
    events::broker_begun(teller.role);
    while !teller.link.is_closed() {
        match connect(&settings, teller.role).await {
            Ok(connection) => {
                (tries, waits) = (0, fresh());
                serve_one(connection, &teller, &mut serve).await;
            }
            Err(ConnectError::Topology(TopologyError::Partitions { broker })) => {
                tries += 1;
                events::partitions_disagree(settings.partitions, &broker, tries);
                teller.tell(Link::Disagrees(broker.into()));
            }
            Err(error) => {
                tries += 1;
                teller.tell(Link::Away);
                events::broker_unreachable(teller.role, &error, tries);
            }
        }
        waits.wait().await;
    }
}

async fn serve_one<F>(connection: Connection, teller: &Teller, serve: &mut impl FnMut(Arc<Connection>) -> F)
where
    F: Future<Output = String>,
{
    let connection = Arc::new(connection);
    events::broker_connected(teller.role);
    teller.tell(Link::Up);
    let error = tokio::select! {
        error = serve(connection.clone()) => error,
        error = watch_over(&connection, teller) => error,
    };
    teller.tell(Link::Away);
    if !teller.link.is_closed() {
        events::broker_lost(teller.role, &error);
    }
    // What is left of the connection is closed, so that the broker frees its leases at once.
    let closed = connection.close(200, "rebuilding".into());
    if tokio::time::timeout(Duration::from_secs(1), closed).await.is_err() {
        tracing::debug!(role = teller.role, "the broker did not say goodbye");
    }
}

/// Tells of alarms, and returns when the connection has ended.
async fn watch_over(connection: &Connection, teller: &Teller) -> String {
    let mut happenings = connection.events_listener();
    loop {
        tokio::select! {
            happening = happenings.next() => match happening {
                Some(Event::ConnectionBlocked(reason)) => {
                    events::broker_blocked(&reason);
                    teller.tell(Link::Blocked);
                }
                Some(Event::ConnectionUnblocked) => {
                    events::broker_unblocked();
                    teller.tell(Link::Up);
                }
                // Told of a channel's end too, such as a lease that was refused: only the connection's counts.
                Some(Event::Error(error)) if !connection.status().connected() => return error.to_string(),
                Some(_) => {}
                None => return "the connection is gone".to_owned(),
            },
            () = tokio::time::sleep(LOOK) => {
                if !connection.status().connected() || teller.link.is_closed() {
                    return "the connection is closed".to_owned();
                }
            }
        }
    }
}

/// lapin (4.12.3, `Connection::connector`) connects on a thread of its own and notes only then who waits for it. Where
/// that is refused between the two nobody hears of it, ever: once in 800 starts of `tgw doctor`, eight at a time. So one
/// that takes so long gets another one beside it.
const SECOND_TRY: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error(transparent)]
    Broker(#[from] lapin::Error),
    #[error(transparent)]
    Topology(#[from] TopologyError),
    #[error("no answer within {CONNECT_TIMEOUT:?}")]
    Timeout,
}

async fn connect(settings: &Settings, role: &'static str) -> Result<Connection, ConnectError> {
    let connection = open(settings, role).await?;
    // The first declaration makes every queue and waits for each to elect a leader: no short time-out here.
    let declared = while_it_lives(&connection, topology::declare(&connection, settings)).await;
    declared.ok_or_else(gone)??;
    Ok(connection)
}

/// What the broker answers, or nothing when the connection has ended: lapin (4.12.3) tells it to who asked before, and not
/// to who asks while it notices, whose question is never answered.
pub(super) async fn while_it_lives<T>(connection: &Connection, asking: impl Future<Output = T>) -> Option<T> {
    let ended = async {
        while connection.status().connected() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        biased;
        answer = asking => Some(answer),
        () = ended => None,
    }
}

fn gone() -> lapin::Error {
    ErrorKind::InvalidConnectionState(ConnectionState::Closed).into()
}

/// A channel. What the broker refuses it refuses by closing the channel, and lapin (4.12.3) keeps that as the answer to
/// whatever is asked under the same number later, on another channel too: so those numbers are passed by. Where all of a
/// connection's 2,047 are used up by that it is closed, and whoever supervises it makes another one.
pub(super) async fn open_channel(connection: &Connection) -> Result<Channel, lapin::Error> {
    loop {
        let opened =
            while_it_lives(connection, connection.create_channel()).await.unwrap_or_else(|| Err(gone()));
        match opened {
            // Each number of these is passed by once: lapin takes it for a channel that is open.
            Err(error) if closing_code(&error).is_some() => {}
            Err(error) if matches!(error.kind(), ErrorKind::ChannelsLimitReached) => {
                events::channels_used_up();
                let closed = connection.close(200, "no channel is left".into());
                let _ = tokio::time::timeout(LOOK, closed).await;
                return Err(error);
            }
            opened => return opened,
        }
    }
}

/// A connection that nobody supervises.
pub(super) async fn open(settings: &Settings, role: &'static str) -> Result<Connection, ConnectError> {
    let name = format!("tgw {role}");
    let connection = tokio::time::timeout(CONNECT_TIMEOUT, open_as(settings, &name)).await;
    Ok(connection.map_err(|_| ConnectError::Timeout)??)
}

/// Likewise, by its whole name, for who has a bound of his own.
pub(super) async fn open_as(settings: &Settings, name: &str) -> Result<Connection, lapin::Error> {
    let connect = || {
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        Connection::connect_uri(settings.uri.clone(), properties)
    };
    let mut first = pin!(connect());
    if let Ok(connected) = tokio::time::timeout(SECOND_TRY, &mut first).await {
        return connected;
    }
    tokio::select! {
        connected = first => connected,
        connected = connect() => connected,
    }
}
