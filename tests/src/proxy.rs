//! A TCP proxy to stand before a dependency: the test cuts it, freezes it or slows it down.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::ports::free_port;
use crate::wait::pause;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    Frozen,
    Cut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the gateway to the dependency.
    There,
    /// What the dependency answers.
    Back,
}

#[derive(Debug)]
pub struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    delays: [watch::Sender<Duration>; 2],
    target: watch::Sender<String>,
}

/// What every connection watches.
#[derive(Clone)]
struct Switches {
    mode: watch::Receiver<Mode>,
    delays: [watch::Receiver<Duration>; 2],
    target: watch::Receiver<String>,
}

impl Proxy {
    /// Forwards to `address` (`host:port`), which need not listen yet.
    pub async fn to(address: &str) -> Self {
        let (port, listener) = loop {
            let port = free_port();
            // Another test process may have been faster.
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
                break (port, listener);
            }
        };
        let (mode, mode_seen) = watch::channel(Mode::Open);
        let (there, there_seen) = watch::channel(Duration::ZERO);
        let (back, back_seen) = watch::channel(Duration::ZERO);
        let (target, target_seen) = watch::channel(address.to_owned());
        let switches = Switches { mode: mode_seen, delays: [there_seen, back_seen], target: target_seen };
        tokio::spawn(listen(listener, port, switches));
        Self { port, mode, delays: [there, back], target }
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `url` with this proxy's address in place of `address`.
    #[must_use]
    pub fn before(&self, url: &str, address: &str) -> String {
        assert!(url.contains(address), "{url} does not name {address}");
        url.replace(address, &self.address())
    }

    /// New connections go to another address; those that stand stay where they are, as with a name that
    /// leads elsewhere after a fail-over.
    pub fn lead_to(&self, address: &str) {
        self.target.send_replace(address.to_owned());
    }

    /// Drops what is connected and refuses what comes.
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Connections stay, new ones are taken, and no byte passes.
    pub fn freeze(&self) {
        self.mode.send_replace(Mode::Frozen);
    }

    pub fn resume(&self) {
        self.mode.send_replace(Mode::Open);
    }

    /// Holds each piece of data that goes in this direction for so long.
    pub fn delay(&self, direction: Direction, by: Duration) {
        self.delays[direction as usize].send_replace(by);
    }
}

/// Ends with the [`Proxy`]: its switches are then gone.
async fn listen(first: TcpListener, port: u16, switches: Switches) {
    let mut mode = switches.mode.clone();
    let mut listener = Some(first);
    loop {
        let now = *mode.borrow_and_update();
        match (now, listener.take()) {
            (Mode::Cut, open) => {
                // Closed, not left unanswered: that is what "refused" means.
                drop(open);
                if mode.changed().await.is_err() {
                    return;
                }
            }
            (_, None) => listener = TcpListener::bind(("127.0.0.1", port)).await.ok(),
            (_, Some(open)) => {
                tokio::select! {
                    changed = mode.changed() => if changed.is_err() { return },
                    accepted = open.accept() => if let Ok((stream, _)) = accepted {
                        tokio::spawn(forward(stream, switches.clone()));
                    },
                }
                listener = Some(open);
            }
        }
    }
}

async fn forward(near: TcpStream, switches: Switches) {
    let target = switches.target.borrow().clone();
    let Ok(far) = TcpStream::connect(target).await else {
        return;
    };
    near.set_nodelay(true).ok();
    far.set_nodelay(true).ok();
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let [there, back] = switches.delays;
    let mut mode = switches.mode.clone();
    tokio::select! {
        // Either end's goodbye closes both, which is all that the protocols here need.
        () = pump(near_in, far_out, switches.mode.clone(), there) => (),
        () = pump(far_in, near_out, switches.mode, back) => (),
        _ = mode.wait_for(|mode| *mode == Mode::Cut) => (),
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    delay: watch::Receiver<Duration>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        let by = *delay.borrow();
        if !by.is_zero() {
            pause(by).await;
        }
        if mode.wait_for(|mode| *mode != Mode::Frozen).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
