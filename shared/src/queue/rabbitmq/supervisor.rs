//! One supervised connection: connect, declare the topology, hand it over, wait for its end, again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::Event;
use tokio::sync::watch;

use super::connection::{ConnectError, Connection, LOOK, gone, open, while_it_lives};
use super::topology::{self, TopologyError};
use super::{Link, Need, Settings};
use crate::events;
use crate::readiness::Readiness;
use crate::retry::Backoff;

/// The longest wait between two tries, but for its jitter. The spool's patience with other ingresses counts on it.
const RETRY: Duration = Duration::from_secs(1);

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

async fn connect(settings: &Settings, role: &'static str) -> Result<Connection, ConnectError> {
    let connection = open(settings, role).await?;
    // The first declaration makes every queue and waits for each to elect a leader: no short time-out here.
    let declared = while_it_lives(&connection, topology::declare(&connection, settings)).await;
    declared.ok_or_else(gone)??;
    Ok(connection)
}
