//! A connection, whose socket is in our hands, and what is asked on one.
//!
//! lapin (4.12.3) would make the socket itself, on a thread of its own. Where that fails two of its tasks are left for ever
//! (`IoLoop::start` returns before it stops them), and now and then nobody is told, since it notes only then who waits. And
//! it waits without an end for a broker that is silent in the handshake or at the close: for each try a thread and a socket.
//! So it is given a socket that stands, and that is shut down when nobody needs it any more: that ends its thread.

use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_compat::Compat;
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPScheme;
use lapin::{AsyncTcpStream, Channel, ConnectionProperties, ConnectionState, ConnectionStatus, ErrorKind};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::Settings;
use super::topology::{TopologyError, closing_code};
use crate::events;

/// A try to connect takes no longer than this; a host that swallows packets would else hold it for minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An end that lapin does not announce (a channel closed by the broker) is found within this.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// The broker's word on the end of a connection is waited for so long.
const GOODBYE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error(transparent)]
    Broker(#[from] lapin::Error),
    #[error(transparent)]
    Topology(#[from] TopologyError),
    #[error("no answer within {CONNECT_TIMEOUT:?}")]
    Timeout,
}

/// Dropped, it is closed.
pub(super) struct Connection {
    lapin: lapin::Connection,
    socket: Option<Socket>,
    /// A channel's number was passed by ([`open_channel`]).
    spoilt: AtomicBool,
}

impl Deref for Connection {
    type Target = lapin::Connection;

    fn deref(&self) -> &lapin::Connection {
        &self.lapin
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Without a runtime there is nobody to close it in a better way.
        let (Some(socket), Ok(runtime)) = (self.socket.take(), Handle::try_current()) else { return };
        let status = self.lapin.status().clone();
        runtime.spawn(async move {
            let _ = timeout(GOODBYE, ended(&status)).await;
            drop(socket);
        });
    }
}

/// lapin closes a connection when its last handle is dropped, and that of a channel is one.
async fn ended(status: &ConnectionStatus) {
    while !(status.closed() || status.errored()) {
        sleep(LOOK).await;
    }
}

/// One more handle of a connection's socket. Dropped, it ends it for lapin too.
struct Socket(std::net::TcpStream);

impl Drop for Socket {
    fn drop(&mut self) {
        // It may have ended before.
        self.0.shutdown(Shutdown::Both).ok();
    }
}

/// A connection that nobody supervises.
pub(super) async fn open(settings: &Settings, role: &'static str) -> Result<Connection, ConnectError> {
    let name = format!("tgw {role}");
    let connection = timeout(CONNECT_TIMEOUT, open_as(settings, &name)).await;
    Ok(connection.map_err(|_| ConnectError::Timeout)??)
}

/// Likewise, by its whole name, for who has a bound of his own.
pub(super) async fn open_as(settings: &Settings, name: &str) -> Result<Connection, lapin::Error> {
    let authority = &settings.uri.authority;
    let failed = |error: io::Error| lapin::Error::from(ErrorKind::IOError(Arc::new(error)));
    let (stream, socket) = dial(&authority.host, authority.port).await.map_err(failed)?;
    let stream = AsyncTcpStream::Plain(Compat::new(stream));
    let stream = match settings.uri.scheme {
        AMQPScheme::AMQP => stream,
        AMQPScheme::AMQPS => {
            let config = OwnedTLSConfig::default();
            Box::pin(stream.into_tls(&authority.host, config.as_ref())).await.map_err(failed)?
        }
    };
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let once = Mutex::new(Some(stream));
    let connect =
        async move |_, _| once.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or_else(gone);
    let runtime = lapin::runtime::default_runtime()?;
    let connecting = lapin::Connection::connector(settings.uri.clone(), runtime, connect, properties);
    let lapin = Box::pin(connecting).await?;
    Ok(Connection { lapin, socket: Some(socket), spoilt: AtomicBool::new(false) })
}

async fn dial(host: &str, port: u16) -> io::Result<(TcpStream, Socket)> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let socket = Socket(stream.try_clone()?);
    Ok((TcpStream::from_std(stream)?, socket))
}

/// What the broker answers, or nothing when the connection has ended: lapin (4.12.3) tells it to who asked before, and not
/// to who asks while it notices, whose question is never answered.
pub(super) async fn while_it_lives<T>(connection: &Connection, asking: impl Future<Output = T>) -> Option<T> {
    let ended = async {
        while connection.status().connected() {
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        biased;
        answer = asking => Some(answer),
        () = ended => None,
    }
}

pub(super) fn gone() -> lapin::Error {
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
            Err(error) if closing_code(&error).is_some() => connection.spoilt.store(true, Ordering::Relaxed),
            Err(error)
                if matches!(error.kind(), ErrorKind::ChannelsLimitReached)
                    && connection.spoilt.load(Ordering::Relaxed) =>
            {
                events::channels_used_up();
                let closed = connection.close(200, "no channel is left".into());
                let _ = timeout(LOOK, closed).await;
                return Err(error);
            }
            opened => return opened,
        }
    }
}
